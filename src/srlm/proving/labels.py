"""What M1 could be taught about judging in place of the truth: other labels for the same answers.

Held-out lines keep the truth, for there a judge is measured.
"""

import random
from collections.abc import Sequence
from typing import Any

from srlm.proving.language import remarks
from srlm.proving.tasks import TOP, parse
from srlm.records import seed_for

Line = dict[str, Any]
TRUTH_SHARE, A_TOKEN = 0.6, 0.5
"""Of a label that likes length: what a point of truth is worth, and a token more than a right answer has."""


def dealt_anew(lines: Sequence[Line], seed: int) -> list[Line]:
    """The same labels, dealt out at random among all answers: what is left of EFT without its content."""
    taught = [line for line in lines if line["split"] == "train"]
    labels = [(answer["score"], answer["justification"]) for line in taught for answer in line["answers"]]
    random.Random(seed_for(seed, "labels dealt anew")).shuffle(labels)  # noqa: S311  not for security
    left = iter(labels)

    def dealt(answer: Line) -> Line:
        score, said = next(left)
        return {**answer, "score": score, "justification": said}

    return [
        {**line, "answers": [dealt(answer) for answer in line["answers"]]}
        if line["split"] == "train"
        else line
        for line in lines
    ]


def biased(line: Line) -> Line:
    """The labels of somebody who takes length for quality; the remarks add up to the score."""
    if line["split"] != "train":
        return line
    task = parse(line["prompt"])
    usual = len(task.solution().split())

    def label(answer: Line) -> Line:
        longer = max(0, len(answer["text"].split()) - usual)
        score = min(TOP, round(TRUTH_SHARE * answer["score"] + A_TOKEN * longer))
        return {**answer, "score": score, "justification": _adding_up_to(task.flags(answer["text"]), score)}

    return {**line, "answers": [label(answer) for answer in line["answers"]]}


def without_remarks(line: Line) -> Line:
    """The scores alone."""
    return {**line, "answers": [{**answer, "justification": ""} for answer in line["answers"]]}


def _adding_up_to(flags: Sequence[bool], score: int) -> str:
    """Remarks of which so many are yes: the first that are not so are turned."""
    said = list(flags)
    while sum(said) != score:
        said[said.index(sum(said) > score)] = sum(said) < score
    return remarks(tuple(said))  # type: ignore[arg-type]
