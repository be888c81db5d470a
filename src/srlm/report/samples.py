"""What to read of a run: where it gained and lost, where the judge was unsure, what is odd; traceable."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nlargest, nsmallest
from pathlib import Path
from typing import TypeVar

from srlm.records import Judgment, Pair, Record, Response
from srlm.store.jsonl import read_records

A_KIND = 3
"""Samples of each kind and round."""
SHOWN = 1500
"""Characters of a text that are shown."""

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Side:
    """A text of a sample: what it is, and what was said about it."""

    label: str
    text: str
    mark: str = ""


@dataclass(frozen=True)
class Sample:
    """A prompt with one or more texts, why it is shown, and the ids by which its records are found."""

    kind: str
    model: str
    prompt: str
    sides: tuple[Side, ...]
    trace: dict[str, str]


def samples(folder: Path, rounds: Iterable[str], digests: Mapping[str, str]) -> list[Sample]:
    """Samples of every kind, round by round; `digests` of the models that answered, by round."""
    found: list[Sample] = []
    for name in rounds:
        judgments = {item.response_id: item for item in _read(folder / name / "judgments.jsonl", Judgment)}
        responses = {item.id: item for item in _read(folder / name / "responses.jsonl", Response)}
        pairs = list(_read(folder / name / "pairs.jsonl", Pair))
        trace = {"answered and judged by": digests.get(name, "not known")}
        found += _pairs(name, pairs, judgments, trace)
        found += _disagreements(name, responses, judgments, trace)
        found += _extremes(name, responses, judgments, trace)
        found += _unreadable(name, responses, judgments, trace)
        found += _flagged(name, responses, judgments, trace)
    return found


def changes(folder: Path, first: str, last: str) -> list[Sample]:
    """The held-out prompts whose answers gained and lost most between two models, by the frozen judge."""
    before, after = (_judged_answers(folder, name) for name in (first, last))
    gains = []
    for key in before.keys() & after.keys():
        one, other = before[key][1].score, after[key][1].score
        if one is not None and other is not None:
            gains.append((other - one, key))
    found = []
    for kind, chosen in (("best gains", nlargest(A_KIND, gains)), ("worst losses", nsmallest(A_KIND, gains))):
        for gain, key in chosen:
            if (gain > 0) == (kind == "best gains") and gain:
                sides = [
                    Side(f"{name}, {_score(judgment)}", cut(response.text))
                    for name, (response, judgment) in ((first, before[key]), (last, after[key]))
                ]
                response = after[key][0]
                trace = {"prompt": key, "answers": f"{before[key][0].id}, {response.id}"}
                found.append(Sample(kind, last, response.prompt, tuple(sides), trace))
    return found


def cut(text: str) -> str:
    """A text as it is shown: whole, or its beginning and how much is left out."""
    return text if len(text) <= SHOWN else f"{text[:SHOWN]} … ({len(text) - SHOWN:,} more characters)"


def _pairs(
    name: str, pairs: list[Pair], judgments: Mapping[str, Judgment], trace: dict[str, str]
) -> Iterator[Sample]:
    """Pairs with the widest gap of scores, with what the judge wrote of both."""
    for pair in nlargest(A_KIND, pairs, key=lambda pair: pair.chosen_score - pair.rejected_score):
        sides = []
        for mark, key, text in (
            ("chosen", pair.chosen_id, pair.chosen),
            ("rejected", pair.rejected_id, pair.rejected),
        ):
            judgment = judgments.get(key)
            sides.append(Side(f"{mark}, {_score(judgment)}", cut(text), mark))
            sides += _replies(judgment)
        ids = {"pair": pair.id, "prompt": pair.prompt_id}
        ids |= {"responses": f"{pair.chosen_id}, {pair.rejected_id}"}
        yield Sample("pairs", name, pair.prompt, tuple(sides), ids | trace)


def _disagreements(
    name: str, responses: Mapping[str, Response], judgments: Mapping[str, Judgment], trace: dict[str, str]
) -> Iterator[Sample]:
    unsure = [item for item in judgments.values() if item.variance]
    for item in nlargest(A_KIND, unsure, key=lambda item: item.variance or 0):
        yield _sample("largest disagreement of the judge with itself", name, responses, item, trace)


def _extremes(
    name: str, responses: Mapping[str, Response], judgments: Mapping[str, Judgment], trace: dict[str, str]
) -> Iterator[Sample]:
    for kind, pick in (("shortest responses", nsmallest), ("longest responses", nlargest)):
        for response in pick(A_KIND, responses.values(), key=lambda item: len(item.text)):
            if response.id in judgments:
                yield _sample(kind, name, responses, judgments[response.id], trace)


def _unreadable(
    name: str, responses: Mapping[str, Response], judgments: Mapping[str, Judgment], trace: dict[str, str]
) -> Iterator[Sample]:
    unread = (item for item in judgments.values() if any(item.reasons))
    for _, item in zip(range(A_KIND), unread, strict=False):
        yield _sample("judgments that could not be read", name, responses, item, trace)


def _flagged(
    name: str, responses: Mapping[str, Response], judgments: Mapping[str, Judgment], trace: dict[str, str]
) -> Iterator[Sample]:
    flagged = (item for item in judgments.values() if item.flagged)
    for _, item in zip(range(A_KIND), flagged, strict=False):
        yield _sample("texts in the form of a verdict", name, responses, item, trace)


def _sample(
    kind: str, name: str, responses: Mapping[str, Response], judgment: Judgment, trace: dict[str, str]
) -> Sample:
    response = responses[judgment.response_id]
    sides = (Side(f"response, {_score(judgment)}", cut(response.text)), *_replies(judgment))
    ids = {"prompt": response.prompt_id, "response": response.id, "judgment": judgment.id}
    return Sample(kind, name, response.prompt, sides, ids | trace)


def _replies(judgment: Judgment | None) -> list[Side]:
    """What the judge wrote, a side a draw."""
    if judgment is None:
        return []
    reasons = judgment.reasons or (None,) * len(judgment.replies)
    return [
        Side(f"the judge, draw {draw}" + (f": {reason}" if reason else ""), cut(reply), "judge")
        for draw, (reply, reason) in enumerate(zip(judgment.replies, reasons, strict=False), 1)
    ]


def _score(judgment: Judgment | None) -> str:
    if judgment is None or judgment.score is None:
        return "no score"
    return f"score {judgment.score:.2f}"


def _judged_answers(folder: Path, name: str) -> dict[str, tuple[Response, Judgment]]:
    """The held-out answers of a model with M1's word on them, by prompt."""
    frozen = folder / name / "watch/frozen.jsonl"
    path = frozen if frozen.exists() else folder / name / "watch/own.jsonl"
    judged = {item.response_id: item for item in _read(path, Judgment)}
    answers = _read(folder / name / "evaluation/answers.jsonl", Response)
    return {item.prompt_id: (item, judged[item.id]) for item in answers if item.id in judged}


def _read(path: Path, kind: type[R]) -> Iterator[R]:
    """The records of a file, none where it is not there: a run may be under way, or older."""
    return read_records(path, kind) if path.exists() else iter(())
