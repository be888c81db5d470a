"""Step 4 of a round: the best against the worst response of every prompt (paper, section 2.3).

Highest mean score is chosen, lowest rejected; among equals the first draw. No pair comes from equal
scores, from identical texts or from fewer than two scored responses; each is counted. With length control
the shortest response that is about as good as the best stands against the longest about as bad as the worst.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import groupby

from srlm.config import PairsSection
from srlm.records import Judgment, Pair, Response, content_id
from srlm.store.blocks import Block, Resume, Sized, blocks_after

PROMPTS_A_BLOCK = 256


def make_pairs(
    section: PairsSection,
    responses: Sized[Response],
    judgments: Sized[Judgment],
    *,
    seed: int = 0,
    resume: Resume[Pair] | None = None,
) -> Iterator[Block[Pair]]:
    """Blocks of pairs; the counts say what became of every prompt. Nothing is drawn: `seed` is unused."""
    start = resume.blocks if resume else 0
    scores = {item.response_id: item.score for item in judgments}
    groups = (list(group) for _, group in groupby(responses, key=lambda item: item.prompt_id))
    done = 0
    for number, block in enumerate(blocks_after(groups, PROMPTS_A_BLOCK, 0)):
        done += sum(map(len, block))
        if number < start:
            continue
        outcomes = [pair_of(section, group, scores) for group in block]
        pairs = [outcome for outcome in outcomes if isinstance(outcome, Pair)]
        counts = Counter(
            "pair" if isinstance(outcome, Pair) else f"no pair: {outcome}" for outcome in outcomes
        )
        yield Block(pairs, done, len(responses), counts)


def pair_of(section: PairsSection, group: list[Response], scores: dict[str, float | None]) -> Pair | str:
    """The pair of one prompt's responses, or why there is none: unscored, tie, margin, identical."""
    scored = [(score, item) for item in group if (score := scores.get(item.id)) is not None]
    if len(scored) < 2:
        return "unscored"
    high, chosen, low, rejected = _extremes(scored, section.length_control)
    if high == low:
        return "tie"
    if high - low <= section.min_margin:
        return "margin"
    if chosen.text.strip() == rejected.text.strip():
        return "identical"
    return Pair(
        id=content_id("pair", chosen.id, rejected.id),
        prompt_id=chosen.prompt_id,
        prompt=chosen.prompt,
        chosen_id=chosen.id,
        rejected_id=rejected.id,
        chosen=chosen.text,
        rejected=rejected.text,
        chosen_score=high,
        rejected_score=low,
        chosen_finish=chosen.finish,
        rejected_finish=rejected.finish,
    )


def _extremes(scored: list[tuple[float, Response]], rho: float) -> tuple[float, Response, float, Response]:
    """Chosen and rejected with their scores (tiers of ρ: Meta-Rewarding, arXiv 2407.19594, section 2.2).

    Without length control a tier is one score, and among equals the first draw is taken, whatever its length.
    """
    best, worst = (extreme(score for score, _ in scored) for extreme in (max, min))
    reach = rho * (best - worst)
    top = [entry for entry in scored if entry[0] >= best - reach]
    bottom = [entry for entry in scored if entry[0] <= worst + reach]
    if rho:
        top.sort(key=lambda entry: (len(entry[1].text), -entry[0]))
        bottom.sort(key=lambda entry: (-len(entry[1].text), entry[0]))
    return *top[0], *bottom[0]
