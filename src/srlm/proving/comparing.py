"""Arms beside each other: differences within a seed, their mean over seeds, and what chance would do.

Seeds are independent (each has an M0, documents and data of its own), draws within one are not, so a seed is
the unit: one difference each, a t interval over them, a paired t test, and Holm's correction over all
comparisons of a table.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

Rounds = Sequence[Mapping[str, Any]]
Outcomes = Mapping[str, Mapping[int, Rounds]]
"""By arm and seed the figures of M1, M2 ..., of those that are done."""

SURE = 0.01
"""Corrected p below which a difference is called one."""


@dataclass(frozen=True)
class Difference:
    """How far one arm is above another in a figure, over the seeds that both have.

    `low` and `high`, the 95 % t interval, and `p`, two-sided and corrected, are None where fewer than two
    seeds have it or all of them the same.
    """

    arm: str
    other: str
    figure: str
    by_seed: tuple[float, ...]
    low: float | None = None
    high: float | None = None
    p: float | None = None

    @property
    def mean(self) -> float:
        return fmean(self.by_seed)

    @property
    def is_sure(self) -> bool:
        return self.p is not None and self.p < SURE


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


def corrected(found: Sequence[Difference]) -> list[Difference]:
    """The same with p values that allow for how many were looked at (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    tested = [one for one in found if one.p is not None]
    if not tested:
        return list(found)
    values = iter(multipletests([one.p for one in tested], method="holm")[1])
    return [one if one.p is None else replace(one, p=float(next(values))) for one in found]


def _paired(outcomes: Outcomes, arm: str, other: str, figure: str) -> list[float]:
    ours, theirs = outcomes[arm], outcomes[other]
    last = [(ours[seed][-1][figure], theirs[seed][-1][figure]) for seed in ours if seed in theirs]
    return [one - another for one, another in last if None not in (one, another)]


def difference(arm: str, other: str, figure: str, values: Sequence[float]) -> Difference:
    """The difference that some seeds' values make, with its interval and an uncorrected p."""
    from scipy import stats

    if len(values) < 2 or len(set(values)) == 1:  # a t test of equal values divides by nothing
        return Difference(arm, other, figure, tuple(values))
    test = stats.ttest_1samp(values, 0.0)
    interval = test.confidence_interval(0.95)
    return Difference(
        arm, other, figure, tuple(values), float(interval.low), float(interval.high), float(test.pvalue)
    )
