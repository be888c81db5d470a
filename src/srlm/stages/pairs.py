"""Step 4 of a round: the best against the worst response of every prompt (paper, section 2.3).

Highest score is chosen, lowest rejected; among equals the first draw. No pair comes from equal scores, from
identical texts or from fewer than two scored responses; each is counted. Every other rule is a key of `pairs`
(docs/methods.md); who gives the scores stands in ranking.py.
"""

import math
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby

from srlm.config import PairsSection
from srlm.judging.checkers import Checker
from srlm.records import Judgment, Likelihood, Pair, Response, seed_for
from srlm.stages.belief import belief
from srlm.stages.ranking import Ranked, rank
from srlm.store.blocks import Block, Resume, Sized, blocks_after

PROMPTS_A_BLOCK = 256


def make_pairs(
    section: PairsSection,
    responses: Sized[Response],
    judgments: Sized[Judgment],
    likelihoods: Iterable[Likelihood] = (),
    check: Checker | None = None,
    *,
    seed: int = 0,
    resume: Resume[Pair] | None = None,
) -> Iterator[Block[Pair]]:
    """Blocks of pairs; the counts say what became of every prompt.

    `likelihoods` of the responses are needed where `section.needs_likelihoods`, `check` where a program
    ranks.
    """
    start = resume.blocks if resume else 0
    said = {item.response_id: item for item in judgments}
    likely = {item.response_id: item for item in likelihoods}

    def pairs_among(group: list[Response]) -> list[Pair] | str:
        return pairs_of(section, rank(section, group, said, seed, likelihoods=likely, check=check), seed)

    believe = belief(section, likely, _by_prompt(responses), pairs_among)
    done = 0
    for number, block in enumerate(blocks_after(_by_prompt(responses), PROMPTS_A_BLOCK, 0)):
        done += sum(map(len, block))
        if number < start:
            continue
        outcomes: list[Pair | str] = []
        for found in map(pairs_among, block):
            outcomes += [found] if isinstance(found, str) else map(believe, found)
        yield block_of(outcomes, done, len(responses))


def block_of(outcomes: Sequence[Pair | str], done: int, total: int) -> Block[Pair]:
    """The pairs among some outcomes, and counted why the others are none."""
    pairs = [outcome for outcome in outcomes if isinstance(outcome, Pair)]
    counts = Counter(f"no pair: {outcome}" for outcome in outcomes if isinstance(outcome, str))
    counts["pair"] = len(pairs)
    return Block(pairs, done, total, +counts)


def trained_again(section: PairsSection, earlier: Iterable[Pair], seed: int) -> list[Pair]:
    """Of the pairs of earlier rounds the share that is trained on again (none in the paper)."""
    return [pair for pair in earlier if _share(seed, pair.id) < section.earlier]


def _share(seed: int, key: str) -> float:
    """A draw from 0 to 1 that depends on a key alone."""
    return random.Random(seed_for(seed, "pooled", key)).random()  # noqa: S311  not for security


def _by_prompt(responses: Iterable[Response]) -> Iterator[list[Response]]:
    return (list(group) for _, group in groupby(responses, key=lambda item: item.prompt_id))


def pairs_of(section: PairsSection, ranked: list[Ranked], seed: int = 0) -> list[Pair] | str:
    """The pairs of one prompt's responses, or why there is none: unscored, tie, margin ..."""
    if len(ranked) < 2:
        return "unscored"
    outcomes = [pair_of(section, *couple) for couple in _couples(section, ranked, seed)]
    pairs = [outcome for outcome in outcomes if isinstance(outcome, Pair)]
    return pairs or str(outcomes[0])


def _couples(section: PairsSection, ranked: list[Ranked], seed: int) -> Sequence[tuple[Ranked, Ranked]]:
    """Who stands against whom, chosen first; at least one couple."""
    if section.length_control:
        return [_tiers(ranked, section.length_control)]
    down = sorted(ranked, key=lambda item: (-item.score, _doubt(section, item)))
    up = sorted(ranked, key=lambda item: (item.score, _doubt(section, item)))
    if section.per_prompt > 1:
        return list(zip(down, up, strict=True))[: max(1, min(section.per_prompt, len(ranked) // 2))]
    chance = random.Random(seed_for(seed, "pair", down[0].response.prompt_id))  # noqa: S311  not for security
    near = [item for item in down if item.score >= down[0].score - section.chosen_within]
    chosen = chance.choice(near) if section.chosen_within else down[0]
    others = [item for item in up if item is not chosen]
    return [(chosen, chance.choice(others) if section.rejected == "random" else others[0])]


def _doubt(section: PairsSection, item: Ranked) -> float:
    """What orders equal scores: the variance, unknown ones last; or nothing, so that the first draw leads."""
    if section.ties == "first":
        return 0.0
    return math.inf if item.variance is None else item.variance


def _tiers(ranked: list[Ranked], rho: float) -> tuple[Ranked, Ranked]:
    """The shortest of the top tier and the longest of the bottom tier (arXiv 2407.19594, section 2.2)."""
    best, worst = (extreme(item.score for item in ranked) for extreme in (max, min))
    reach = rho * (best - worst)
    top = [item for item in ranked if item.score >= best - reach]
    bottom = [item for item in ranked if item.score <= worst + reach]
    shortest = min(top, key=lambda item: (len(item.response.text), -item.score))
    return shortest, min(bottom, key=lambda item: (-len(item.response.text), item.score))


def pair_of(section: PairsSection, chosen: Ranked, rejected: Ranked) -> Pair | str:
    """The pair of two responses, or why they make none."""
    gap = chosen.score - rejected.score
    if gap <= 0:
        return "tie"
    if section.min_deviations and (chosen.variance is None or rejected.variance is None):
        return "unknown variance"
    spread = math.sqrt((chosen.variance or 0.0) + (rejected.variance or 0.0))
    if gap <= max(section.min_margin, section.min_deviations * spread):
        return "margin"
    one, other = chosen.response, rejected.response
    if one.text.strip() == other.text.strip():
        return "identical"
    weight = gap if section.weights == "votes" else 1.0
    return Pair.of(one, other, (chosen.score, rejected.score), weight=weight)
