"""The scores by which the responses to one prompt are paired: the judge's, or those of a control.

A self-rewarding gain is only one if it beats these: `random`, the judge's own scores dealt out anew, so that
ties, margins and the number of pairs stay and only the judge's knowledge goes; `consensus`, no judge at all
(ScPO, arXiv 2411.04109). A `checker` is the truth where a program knows it: what a perfect judge would reach.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from srlm.config import PairsSection
from srlm.judging.checkers import Checker
from srlm.records import Judgment, Likelihood, Response, seed_for
from srlm.stages.belief import implicit_reward

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
NONE: Mapping[str, Likelihood] = MappingProxyType({})


@dataclass(frozen=True)
class Ranked:
    """A response, the score that counts, and the variance of that score where it is the judge's."""

    response: Response
    score: float
    variance: float | None = None


def rank(
    section: PairsSection,
    group: list[Response],
    judgments: Mapping[str, Judgment],
    seed: int,
    *,
    likelihoods: Mapping[str, Likelihood] = NONE,
    check: Checker | None = None,
) -> list[Ranked]:
    """The responses to one prompt that have a score, in their order; `rank_by=checker` needs `check`."""
    if section.rank_by == "implicit":
        return [
            Ranked(item, implicit_reward(likelihoods[item.id])) for item in group if item.id in likelihoods
        ]
    if section.rank_by == "checker":
        if not check:
            raise ValueError("rank_by=checker needs the program, and none was given")
        return [Ranked(item, check(item.prompt, item.text)) for item in group]
    counts = Counter(answer_of(item.text, section.same_answer) for item in group)
    alike = [counts[answer_of(item.text, section.same_answer)] for item in group]
    if section.rank_by == "consensus":
        return [Ranked(item, count / len(group)) for item, count in zip(group, alike, strict=True)]
    judged = [
        Ranked(item, score + section.consensus * math.log(count), said.variance)
        for item, count in zip(group, alike, strict=True)
        if (said := judgments.get(item.id)) and (score := said.score) is not None
    ]
    return _dealt_anew(judged, seed) if section.rank_by == "random" else judged


def answer_of(text: str, kind: str) -> str:
    """What of a response is its answer: all of its text, or the last `number` in it, empty where none is."""
    if kind == "text":
        return " ".join(text.split())
    found = _NUMBER.findall(text)
    return found[-1].replace(",", "") if found else ""


def _dealt_anew(judged: list[Ranked], seed: int) -> list[Ranked]:
    scores = [item.score for item in judged]
    draw = seed_for(seed, "random ranking", *(item.response.id for item in judged))
    random.Random(draw).shuffle(scores)  # noqa: S311  not for security
    return [Ranked(item.response, score) for item, score in zip(judged, scores, strict=True)]
