"""Multiple-choice questions of a local file, as a task of lm-evaluation-harness.

JSON or JSON lines, the form of ARC, OpenBookQA and others on the hub: `question`, `choices` (texts, or
`text` and `label`) and `answer` or `answerKey` (its label, the choice itself, or where there are no labels
a letter or a place from 0). CSV, two forms:
MMLU's (a question, four choices, the answer's letter or place; with a header or without) and TruthfulQA's
(the best answer against the incorrect ones, its mc1).

A question is asked as the harness asks it: of ARC's kind each choice is weighed after ``Question: ...
Answer:`` (`acc`, and `acc_norm` by length); of MMLU's kind the choices are shown, and their letters weighed.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from srlm.errors import DataError
from srlm.seeds.source import Bad, Source, as_object, in_lines, is_unicode, shown, sort_out

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
Form = Literal["choices", "letters"]


@dataclass(frozen=True)
class Question:
    """A question, its choices and the place of the right one, from 0."""

    text: str
    choices: tuple[str, ...]
    answer: int


def read_questions(path: Path) -> tuple[list[Question], Form]:
    """The questions of a file and how they are asked; raises one DataError that names every bad line."""
    form: Form = "choices"
    if path.suffix == ".csv":
        rows = _rows(path)
        is_truthful = bool(rows) and "Best Answer" in rows[0][1]
        form = "choices" if is_truthful else "letters"
        questions, faults = sort_out(rows, _truthful if is_truthful else _mmlu)
    else:
        questions, faults = sort_out(Source.open(path), _object)
    if faults or not questions:
        raise DataError(
            f"questions {shown(str(path), 400)}",
            f"{len(faults)} of its lines are no multiple-choice questions{in_lines(faults)}"
            if faults
            else "it holds no questions",
            'give lines of the form {"question": "...", "choices": ["...", "..."], "answer": 0}, or a CSV of '
            "MMLU's or TruthfulQA's form; none is left out silently",
        )
    return questions, form


def write_task(folder: Path, name: str, questions: Sequence[Question], form: Form) -> Path:
    """A task file for the harness, and its questions beside it: anybody can run ``lm_eval`` on them."""
    import yaml

    folder.mkdir(parents=True, exist_ok=True)
    data = folder / f"{name}.jsonl"
    rows = ({"question": one.text, "choices": one.choices, "answer": one.answer} for one in questions)
    data.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    shown_choices = "{% for choice in choices %}{{ letters[loop.index0] }}. {{ choice }}\n{% endfor %}"
    text, choices = "Question: {{ question }}\nAnswer:", "{{ choices }}"
    metrics = ["acc", "acc_norm"]
    if form == "letters":
        text = "{{ question.strip() }}\n" + shown_choices.replace("letters", f"'{LETTERS}'") + "Answer:"
        choices = f"{{{{ '{LETTERS}'[:choices | length] | list }}}}"
        metrics = ["acc"]
    task = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "output_type": "multiple_choice",
        "test_split": "test",
        "fewshot_split": "test",
        "doc_to_text": text,
        "doc_to_choice": choices,
        "doc_to_target": "answer",
        "metric_list": [
            {"metric": metric, "aggregation": "mean", "higher_is_better": True} for metric in metrics
        ],
        "metadata": {"version": 1.0},
    }
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(task, sort_keys=False, allow_unicode=True), "utf-8")
    return path


def _object(value: object) -> Question:
    fields = as_object(value)
    text, choices = fields.get("question"), fields.get("choices")
    labels: object = ()
    if isinstance(choices, dict):
        pair: dict[str, Any] = choices
        choices, labels = pair.get("text"), pair.get("label", ())
    if not isinstance(text, str) or not text.strip():
        raise Bad("`question` is missing, empty or not text")
    if not isinstance(choices, list) or not all(isinstance(one, str) for one in choices):
        raise Bad("`choices` is missing or not a list of texts")
    if not isinstance(labels, list | tuple) or (labels and len(labels) != len(choices)):
        raise Bad("`choices.label` is not a list of one label a choice")
    given = (fields.get(key) for key in ("answer", "answerKey", "label", "gold"))
    answer = next((one for one in given if one is not None), None)
    return _question(text, choices, answer, _place(answer, choices, list(map(str, labels))))


def _mmlu(row: Mapping[Any, str]) -> Question:
    values = [value or "" for value in row.values()]
    if len(values) != 6:
        raise Bad("it has not the six columns question, four choices, answer", str(len(values)))
    text, *choices, answer = values
    return _question(text, choices, answer, _letter_or_place(answer.strip(), len(choices)))


def _truthful(row: Mapping[Any, str]) -> Question:
    if "Best Answer" not in row:
        raise Bad("it has more or fewer columns than the header", str(len(row)))
    best = (row.get("Best Answer") or "").strip()
    wrong = [part.strip() for part in (row.get("Incorrect Answers") or "").split(";") if part.strip()]
    return _question(row.get("Question") or "", [best, *wrong], 0, 0)


def _question(text: str, choices: Sequence[str], answer: object, place: int | None) -> Question:
    if not text.strip() or len(choices) < 2 or len(choices) > len(LETTERS):
        raise Bad(f"it needs a question and 2 to {len(LETTERS)} choices", f"{len(choices)} choices")
    if not all(choice.strip() for choice in choices):
        raise Bad("one of its choices is empty")
    if not all(map(is_unicode, [text, *choices])):
        raise Bad("it holds half a character (a lone surrogate)")
    if place is None:
        raise Bad("its answer is none of the choices", shown(repr(answer)))
    return Question(text, tuple(choices), place)


def _place(answer: object, choices: Sequence[str], labels: Sequence[str]) -> int | None:
    """The place of an answer of a JSON line: a number is a place; a text a label, a choice, a letter."""
    if isinstance(answer, bool) or not isinstance(answer, int | str):
        return None
    if str(answer) in labels:
        return labels.index(str(answer))
    if isinstance(answer, str) and answer in choices:
        return choices.index(answer)
    return None if labels else _letter_or_place(str(answer), len(choices))


def _letter_or_place(text: str, num: int) -> int | None:
    if len(text) > 2:
        return None
    place = int(text) if text.isdecimal() else LETTERS.find(text) if len(text) == 1 else -1
    return place if 0 <= place < num else None


def _rows(path: Path) -> list[tuple[int, dict[Any, str]]]:
    """The rows of a CSV by column, its header left out; without one the columns are numbers."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.reader(lines, strict=True)
            rows = [(reader.line_num, row) for row in reader if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"questions {shown(str(path), 400)}", f"it cannot be read ({error})", "give a CSV file in UTF-8"
        ) from error
    header = rows[0][1] if rows else []
    if header[:1] != ["question"] and "Best Answer" not in header:
        return [(number, dict(enumerate(row))) for number, row in rows]
    # A row of another length keeps its columns by number, so that their number is what is found wrong.
    return [
        (number, dict(zip(header, row, strict=True)) if len(row) == len(header) else dict(enumerate(row)))
        for number, row in rows[1:]
    ]
