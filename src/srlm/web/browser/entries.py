"""From rows of the index to records as pages show them, each read from the run's own file, where it lies."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote

from pydantic import ValidationError

from srlm.records import Example, Judgment, Pair, Prompt, Record, Response
from srlm.web.browser.filling import FORMS
from srlm.web.browser.passages import Passage, passage
from srlm.web.browser.querying import rows_among

T = TypeVar("T")
Row = sqlite3.Row
Read = Callable[[Row], Record | None]

JUDGES = {"round": "the round's judge", "own": "its own judge", "frozen": "M1"}
"""Who says a judgment, by its `word`."""
_NAMES = {
    "prompts": "Prompt of {}",
    "responses": "Response of round {}",
    "judgments": "Judgment, round {}",
    "pairs": "Pair of round {}",
    "answers": "Answer of {}",
    "seeds": "Instruction that people wrote",
}
NO_SCORE = "no score"
_FORMS = {form.kind: form for form in FORMS}


@dataclass(frozen=True)
class Text:
    """A text of a record: what it is, `mark` chosen, rejected or empty, and where all of it is."""

    label: str
    mark: str
    passage: Passage
    address: str


@dataclass(frozen=True)
class Draw:
    """What a judge replied once: its grade, or that there is none, and why in `label`."""

    label: str
    grade: str
    reply: Passage

    @property
    def is_read(self) -> bool:
        return self.grade != NO_SCORE


@dataclass(frozen=True)
class Verdict:
    """A judgment: who says it, what in figures, and draw by draw."""

    title: str
    facts: list[str]
    draws: list[Draw]
    address: str


@dataclass(frozen=True)
class Entry:
    """A record as it is shown; `is_read` is false where its file has changed under the index.

    Addresses are relative to the browser's first page. `trace`: the ids by which its records are found.
    """

    title: str
    address: str
    is_read: bool
    facts: list[str]
    marks: list[str]
    prompt: Passage | None
    prompt_address: str
    texts: list[Text]
    verdicts: list[Verdict]
    trace: dict[str, str]


@dataclass(frozen=True)
class Depth:
    """How much of records is shown: characters of a text and of a reply, None for all; the marked terms."""

    text: int | None
    reply: int | None
    terms: Sequence[str] = ()


@contextmanager
def open_records(folder: Path) -> Iterator[Read]:
    """A function from a row to its record; None where its file has another line there by now, or none."""
    with ExitStack() as stack:
        files: dict[str, BinaryIO] = {}

        def read(row: Row) -> Record | None:
            form, name = _FORMS[row["kind"]], file_of(row)
            try:
                if name not in files:
                    files[name] = stack.enter_context((folder / name).open("rb"))
                files[name].seek(row["offset"])
                found = form.record.model_validate_json(files[name].read(row["size"]))
            except (OSError, ValidationError):
                return None
            return found if found.id == row["key"] else None

        yield read


def file_of(row: Row) -> str:
    """The record file of a row, in the run's folder."""
    name = _FORMS[row["kind"]].name
    return f"{row['model']}/{name}.jsonl" if name else f"{row['step']}.jsonl"


def entries(connection: sqlite3.Connection, read: Read, rows: Sequence[Row], depth: Depth) -> list[Entry]:
    """Rows as they are shown: judgments with the text that they are of."""
    subjects = [row["subject"] for row in rows if row["kind"] == "judgments"]
    about = {
        (row["model"], row["key"]): row
        for row in rows_among(connection, "key", subjects)
        if row["kind"] in {"responses", "answers"}
    }
    return [_entry(read, row, depth, about.get((row["model"], row["subject"]))) for row in rows]


def with_verdicts(
    connection: sqlite3.Connection, read: Read, rows: Sequence[Row], depth: Depth
) -> list[Entry]:
    """Responses or answers as they are shown, with all that was said of them."""
    said: dict[tuple[str, str], list[Verdict]] = {}
    for row in rows_among(connection, "subject", [row["key"] for row in rows]):
        record = read(row) if row["kind"] == "judgments" else None
        if isinstance(record, Judgment):
            said.setdefault((row["model"], row["subject"]), []).append(_verdict(row, record, depth))
    shown = [_entry(read, row, depth, None) for row in rows]
    for row, entry in zip(rows, shown, strict=True):
        entry.verdicts.extend(said.get((row["model"], row["key"]), []))
    return shown


def address_of(row: Row) -> str:
    """Where all of a record is shown."""
    if row["kind"] in {"prompts", "seeds"}:
        return prompt_address(row["key"])
    return f"{row['kind']}/{row['model']}/{quote(row['key'], safe='')}"


def prompt_address(key: str) -> str:
    """Where a prompt is shown with all that belongs to it."""
    return f"prompt/{quote(key, safe='')}"


def figure(value: float | None) -> str:
    """A figure as pages show it; a dash where there is none.

    >>> figure(3.6667), figure(None)
    ('3.67', '–')
    """
    return "–" if value is None else f"{value:,.2f}"


def _entry(read: Read, row: Row, depth: Depth, about: Row | None) -> Entry:
    """A row as it is shown; `about`: the row of the text that a judgment is of."""
    record = read(row)
    response = read(about) if about else None
    answers = response or record if isinstance(response or record, Response | Pair) else None
    return Entry(
        title=_NAMES[row["kind"]].format(row["model"]),
        address=address_of(row),
        is_read=record is not None,
        facts=_facts(row, record),
        marks=_marks(row, record),
        prompt=passage(prompt_text(answers), depth.terms, depth.text) if answers else None,
        prompt_address=prompt_address(row["prompt"]),
        texts=_texts(about or row, response or record, depth),
        verdicts=[_verdict(row, record, depth)] if isinstance(record, Judgment) else [],
        trace=_trace(row, record),
    )


def prompt_text(record: Record | None) -> str:
    """The text of a prompt, or of the prompt that a record answers; empty where it holds none."""
    match record:
        case Prompt():
            return record.text
        case Response() | Pair() | Example():
            return record.prompt
    return ""


def _texts(row: Row, record: Record | None, depth: Depth) -> list[Text]:
    """The texts of a record, and what they are."""

    def text(label: str, mark: str, words: str, address: str) -> Text:
        return Text(label, mark, passage(words, depth.terms, depth.text), address)

    match record:
        case Prompt():
            return [text("prompt", "", record.text, address_of(row))]
        case Response():
            mark = row["role"] or ""
            return [text(f"response, {mark}" if mark else "response", mark, record.text, address_of(row))]
        case Example():
            where = address_of(row)
            return [text("prompt", "", record.prompt, where), text("answer", "", record.response, where)]
        case Pair():
            return [
                text(
                    f"{mark}, score {figure(score)}",
                    mark,
                    words,
                    f"responses/{row['model']}/{quote(key, safe='')}",
                )
                for mark, score, words, key in (
                    ("chosen", record.chosen_score, record.chosen, record.chosen_id),
                    ("rejected", record.rejected_score, record.rejected, record.rejected_id),
                )
            ]
    return []


def _verdict(row: Row, judgment: Judgment, depth: Depth) -> Verdict:
    return Verdict(
        title=f"Judged by {JUDGES[row['word']]}",
        facts=_said(judgment),
        draws=[_draw(judgment, number, depth) for number in range(_draws(judgment))],
        address=address_of(row),
    )


def _said(judgment: Judgment) -> list[str]:
    """What a judgment says in figures."""
    variance = [f"variance {figure(judgment.variance)}"] if judgment.variance is not None else []
    again = [f"asked again {judgment.retries} times"] if judgment.retries else []
    return [_score(judgment.score), *variance, *again, judgment.rubric]


def _score(value: float | None) -> str:
    return NO_SCORE if value is None else f"score {figure(value)}"


def _draws(judgment: Judgment) -> int:
    return max(map(len, (judgment.replies, judgment.reasons, judgment.scores, judgment.expected)))


def _draw(judgment: Judgment, number: int, depth: Depth) -> Draw:
    """A draw of a judgment: what it gave by the way of scoring, and the reply, where one was written."""
    grades = judgment.expected if judgment.scoring == "expected" else judgment.scores
    grade, reason = _at(grades, number), _at(judgment.reasons, number)
    said = f"score {grade:.4g}" if grade is not None else f"{NO_SCORE}: {reason or 'for no reason given'}"
    cut = ", cut off" if _at(judgment.finishes, number) == "length" else ""
    reply = passage(_at(judgment.replies, number) or "", depth.terms, depth.reply)
    return Draw(f"Draw {number + 1}: {said}{cut}", NO_SCORE if grade is None else f"{grade:.4g}", reply)


def _at(items: Sequence[T], number: int) -> T | None:
    return items[number] if number < len(items) else None


def _facts(row: Row, record: Record | None) -> list[str]:
    """What is known of a record in figures, one by one."""
    length = f"{row['length']:,} characters"
    match record:
        case Response():
            by_m1 = row["kind"] == "answers" and row["score"] is not None
            facts = [_score(row["score"]) + (" by M1" if by_m1 else "")]
            facts += [f"{figure(row['own'])} by its own judge"] if row["own"] is not None else []
            facts += [f"variance {figure(row['variance'])}"] if row["variance"] is not None else []
            return [*facts, length, f"{record.num_tokens:,} tokens", f"draw {record.draw}"]
        case Prompt():
            mean = "mean " if row["score"] is not None else ""
            return [mean + _score(row["score"]), length, f"attempt {record.attempt}"]
        case Pair():
            return [f"gap {figure(row['gap'])}"]
        case Judgment():
            return [*_said(record), f"by {JUDGES[row['word']]}", f"{length} of replies"]
    return [length]


def _marks(row: Row, record: Record | None) -> list[str]:
    """What is to be seen at once of a record."""
    marks = [row["role"]] if row["role"] else []
    marks += ["text in the form of a verdict"] if row["flagged"] else []
    marks += ["cut off"] if isinstance(record, Response) and record.finish == "length" else []
    return marks


def _trace(row: Row, record: Record | None) -> dict[str, str]:
    """The ids of a record and of its parents, and where it lies."""
    found = {"id": row["key"]}
    found |= {"prompt": row["prompt"]} if row["prompt"] != row["key"] else {}
    if isinstance(record, Judgment):
        found |= {"response": record.response_id, "rubric": record.rubric, "scoring": record.scoring}
    if isinstance(record, Pair):
        found |= {"chosen": record.chosen_id, "rejected": record.rejected_id}
    return found | {"file": f"{file_of(row)}, line {row['line']}"}
