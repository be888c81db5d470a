"""What to read of a run: where it gained and lost, where the judge was unsure, what is odd; traceable."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nlargest, nsmallest

from srlm.records import Judgment, Pair, Response
from srlm.report.lineage import called
from srlm.report.reading import Reading

A_KIND = 3
"""Samples of each kind and round."""
SHOWN = 1500
"""Characters of a text that are shown."""


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


def samples(reading: Reading, rounds: Iterable[str], judge: str | None) -> list[Sample]:
    """Samples of every kind, round by round; `judge`: who judges them all, None where each model itself."""
    found: list[Sample] = []
    for name in rounds:
        responses = {item.id: item for item in reading.records(f"{name}/responses", Response)}
        judged = reading.records(f"{name}/judgments", Judgment)
        judgments = {item.response_id: item for item in judged if item.response_id in responses}
        pairs = reading.records(f"{name}/pairs", Pair)
        trace = _made_by(reading, name, judge)
        found += _pairs(name, pairs, judgments, trace)
        found += _disagreements(name, responses, judgments, trace)
        found += _extremes(name, responses, judgments, trace)
        found += _unreadable(name, responses, judgments, trace)
        found += _flagged(name, responses, judgments, trace)
    return found


def changes(reading: Reading, last: str, judge: str | None) -> list[Sample]:
    """The held-out prompts whose answers gained and lost most from M1 to another model, M1 judging both.

    None where M1's word on one of them is not there: no other judge's will do.
    """
    first = "M1"
    before, after = (_judged_answers(reading, name, judge) for name in (first, last))
    if unjudged := [name for name, found in ((first, before), (last, after)) if not found]:
        reading.missing.append(f"best gains and worst losses: no word of M1 on answers of {unjudged[-1]}")
    gains = []
    for key in before.keys() & after.keys():
        one, other = before[key][1].score, after[key][1].score
        if one is not None and other is not None:
            gains.append((other - one, key))
    found = []
    for kind, chosen in (("best gains", nlargest(A_KIND, gains)), ("worst losses", nsmallest(A_KIND, gains))):
        for gain, key in chosen:
            if (gain > 0) == (kind == "best gains") and gain:
                two = (before[key], after[key])
                sides = tuple(
                    Side(f"{name}, {_score(judgment)}", cut(response.text))
                    for name, (response, judgment) in zip((first, last), two, strict=True)
                )
                trace = {
                    "prompt": key,
                    "answers": ", ".join(response.id for response, _ in two),
                    "judgments": ", ".join(judgment.id for _, judgment in two),
                    "answered by": f"{called(reading.done, first)}, {called(reading.done, last)}",
                    "judged by": called(reading.done, first),
                }
                found.append(Sample(kind, last, after[key][0].prompt, sides, trace))
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
        both = (pair.chosen_id, pair.rejected_id)
        ids |= {"responses": ", ".join(both)}
        ids |= {"judgments": ", ".join(judgments[key].id for key in both if key in judgments)}
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


def _made_by(reading: Reading, name: str, judge: str | None) -> dict[str, str]:
    """Who answered and who judged in a round: the model before it, unless a judge is set."""
    before = called(reading.done, f"M{int(name[1:]) - 1}")
    return {"answered by": before, "judged by": judge} if judge else {"answered and judged by": before}


def _judged_answers(reading: Reading, name: str, judge: str | None) -> dict[str, tuple[Response, Judgment]]:
    """The held-out answers of a model with M1's word on them, by prompt.

    M1's own word on its own answers is asked once where it judges itself, and again where another does.
    """
    step = "own" if name == "M1" and not judge else "frozen"
    judged = {item.response_id: item for item in reading.records(f"{name}/watch/{step}", Judgment)}
    answers = reading.records(f"{name}/evaluation/answers", Response)
    return {item.prompt_id: (item, judged[item.id]) for item in answers if item.id in judged}
