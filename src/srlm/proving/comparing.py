"""Arms beside each other: by their last models, and by how far each came since its M1."""

from collections.abc import Mapping, Sequence
from typing import Any

from srlm.evaluation.differences import Difference, corrected, difference

Rounds = Sequence[Mapping[str, Any]]
Outcomes = Mapping[str, Mapping[int, Rounds]]
"""By arm and seed the figures of M1, M2 ..., of those that are done."""


def beside_controls(outcomes: Outcomes, controls: Sequence[str], figure: str) -> list[Difference]:
    """Every arm against every control that was run, by the last model's figure; two controls once."""
    known = [control for control in controls if control in outcomes]
    found = [
        difference(arm, control, figure, _paired(outcomes, arm, control, figure))
        for place, control in enumerate(known)
        for arm in outcomes
        if arm not in known[: place + 1]
    ]
    return corrected([one for one in found if one.by_seed])


def since_m1(outcomes: Outcomes, figure: str) -> list[Difference]:
    """How far every arm's last model is above its M1."""
    found = []
    for arm, seeds in outcomes.items():
        changes = [
            rounds[-1][figure] - rounds[0][figure]
            for rounds in seeds.values()
            if None not in (rounds[-1][figure], rounds[0][figure])
        ]
        found.append(difference(arm, "M1", figure, changes))
    return corrected([one for one in found if one.by_seed])


def _paired(outcomes: Outcomes, arm: str, other: str, figure: str) -> list[float]:
    ours, theirs = outcomes[arm], outcomes[other]
    last = [(ours[seed][-1][figure], theirs[seed][-1][figure]) for seed in ours if seed in theirs]
    return [one - another for one, another in last if None not in (one, another)]
