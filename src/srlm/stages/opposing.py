"""Pairs of responses that different models wrote, or a person and a model.

Temporal anchors (arXiv 2508.06026): the best response of one model against the worst of another. SPIN
(arXiv 2401.01335): the seed's answer against a sample of the model's.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from srlm.config import PairsSection
from srlm.judging.checkers import Checker
from srlm.records import Example, Judgment, Pair, Prompt, Response, content_id
from srlm.stages.pairs import block_of, pair_of
from srlm.stages.ranking import Ranked, rank
from srlm.store.blocks import Block, Resume
from srlm.store.jsonl import Records


@dataclass(frozen=True)
class Side:
    """What one model answered, and what the judge said of it; `digest` is that of both."""

    responses: Records[Response]
    judgments: Records[Judgment]

    @property
    def digest(self) -> str:
        return content_id("side", self.responses.digest, self.judgments.digest)


def oppose(
    section: PairsSection,
    better: Side,
    worse: Side,
    check: Checker | None = None,
    *,
    seed: int = 0,
    resume: Resume[Pair] | None = None,
) -> Iterator[Block[Pair]]:
    """One block with a pair a prompt: the best of `better` against the worst of `worse`; others counted."""
    if resume and resume.blocks:
        return
    best, worst = (_ranked(section, side, seed, check) for side in (better, worse))
    outcomes = [
        pair_of(
            section,
            max(ours, key=lambda item: item.score),
            min(worst[key], key=lambda item: item.score),
        )
        if ours and worst.get(key)
        else "unscored"
        for key, ours in best.items()
    ]
    yield block_of(outcomes, len(outcomes), len(outcomes))


def oppose_seed(
    section: PairsSection,
    answers: Sequence[Example],
    responses: Iterable[Response],
    *,
    seed: int = 0,
    resume: Resume[Pair] | None = None,
) -> Iterator[Block[Pair]]:
    """One block with a pair a prompt: the seed's answer, scored 1, against the first sample, scored 0."""
    if resume and resume.blocks:
        return
    right: dict[str, str] = {}
    for item in answers:
        right.setdefault(Prompt.of(item.prompt, (), 0).id, item.response)
    outcomes = []
    for key, group in groupby(responses, key=lambda item: item.prompt_id):
        sample = next(group)
        prompt = Prompt.of(sample.prompt, (), 0)
        answer = Response.given(content_id("seed answer", key, right[key]), prompt, right[key])
        outcomes.append(pair_of(section, Ranked(answer, 1.0), Ranked(sample, 0.0)))
    yield block_of(outcomes, len(outcomes), len(outcomes))


def _ranked(section: PairsSection, side: Side, seed: int, check: Checker | None) -> dict[str, list[Ranked]]:
    said = {item.response_id: item for item in side.judgments}
    groups = groupby(side.responses, key=lambda item: item.prompt_id)
    return {key: rank(section, list(group), said, seed, check=check) for key, group in groups}
