"""Which prompts are shown as examples when the model writes new ones (paper, section 2.3, step 1).

The paper draws them. `hard` shows those of the model's own prompts on which its answers differ most in the
judge's eyes, for there is most to learn; `diverse` shows examples that are unlike each other.
"""

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from srlm.config import PromptsSection
from srlm.records import Judgment, Prompt
from srlm.similarity import closest

SHARE_OF_HARD = 0.25
"""Of the prompts of earlier rounds, those furthest apart in their scores, among which `hard` draws."""
LOOKED_AT = 32
"""Candidates among which `diverse` looks for the most unlike, of seeds and of the model's own each."""


class Shown(NamedTuple):
    """An example: a seed's or the model's own."""

    id: str
    text: str


def spreads_of(section: PromptsSection, judgments: Iterable[Judgment]) -> dict[str, float]:
    """By prompt, in the judge's points, the highest score of its responses less the lowest.

    A prompt with fewer than two readable scores has none, and where they steer nothing there are none at all:
    so a step that does not look at the judgments does not rest on them.
    """
    if section.demonstrate != "hard":
        return {}
    scores: dict[str, list[float]] = {}
    for item in judgments:
        if item.score is not None:
            scores.setdefault(item.prompt_id, []).append(item.score)
    return {key: max(found) - min(found) for key, found in scores.items() if len(found) > 1}


def hardest(section: PromptsSection, earlier: Sequence[Prompt], spreads: Mapping[str, float]) -> list[Shown]:
    """The quarter of earlier prompts with the largest spreads, ties by id; none where too few have one."""
    known = [item for item in earlier if item.id in spreads]
    if len(known) < section.generated_demonstrations:
        return []
    known.sort(key=lambda item: (-spreads[item.id], item.id))
    quarter = math.ceil(SHARE_OF_HARD * len(known))
    return [Shown(item.id, item.text) for item in known[: max(quarter, section.generated_demonstrations)]]


def draw_demonstrations(
    section: PromptsSection, seeds: Sequence[Shown], own: Sequence[Shown], chance: random.Random
) -> list[Shown]:
    """Examples for one attempt, in shuffled order; seeds fill in where too few are the model's own.

    Seeds and the model's own are drawn without regard to each other, or, with `diverse`, each unlike those
    that are picked already.
    """
    own_wanted = min(section.generated_demonstrations, len(own))
    seeds_wanted = min(section.demonstrations + section.generated_demonstrations - own_wanted, len(seeds))
    if section.demonstrate == "diverse":
        picked = unlike(own, own_wanted, (), chance)
        picked += unlike(seeds, seeds_wanted, picked, chance)
    else:
        picked_own = chance.sample(own, own_wanted)  # before the seeds, so that a run draws as it ever did
        picked = chance.sample(seeds, seeds_wanted) + picked_own
    chance.shuffle(picked)
    return picked


def unlike(
    candidates: Sequence[Shown], count: int, beside: Sequence[Shown], chance: random.Random
) -> list[Shown]:
    """So many of the candidates, unlike each other and those beside them.

    Each next one has the lowest ROUGE-L F to whichever of those picked is nearest to it, out of a random
    sample of the candidates; the first, where nothing is beside, is any.
    """
    left = chance.sample(candidates, min(max(LOOKED_AT, count), len(candidates)))
    nearest = _likeness(left, beside)
    picked: list[Shown] = []
    for _ in range(count):
        place = min(range(len(left)), key=nearest.__getitem__)
        picked.append(left.pop(place))
        del nearest[place]
        nearest = [max(pair) for pair in zip(nearest, _likeness(left, picked[-1:]), strict=True)]
    return picked


def _likeness(some: Sequence[Shown], others: Sequence[Shown]) -> list[float]:
    """For each of some the highest ROUGE-L F with any of the others; 0 where there are none."""
    return [near or 0.0 for near in closest([item.text for item in some], [item.text for item in others])]
