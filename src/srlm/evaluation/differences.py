"""How far two are apart: over seeds by a paired t test, over prompts by a paired bootstrap.

Seeds are independent and draws within one are not, so over seeds a seed is the unit: one difference each, a
t interval over them, a paired t test, and Holm's correction over all comparisons of a table. Of two models
alone the unit is a prompt that both answered, and what is found holds for these two models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from srlm.evaluation.intervals import Estimate, bootstrap

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

    @property
    def estimate(self) -> Estimate:
        """The mean with its interval."""
        return Estimate(self.mean, self.low, self.high, len(self.by_seed))


def difference(arm: str, other: str, figure: str, values: Sequence[float]) -> Difference:
    """The difference of two arms from its value on every seed."""
    from scipy import stats

    if len(values) < 2 or len(set(values)) == 1:  # a t test of equal values divides by nothing
        return Difference(arm, other, figure, tuple(values))
    test = stats.ttest_1samp(values, 0.0)
    interval = test.confidence_interval(0.95)
    return Difference(
        arm, other, figure, tuple(values), float(interval.low), float(interval.high), float(test.pvalue)
    )


def corrected(found: Sequence[Difference]) -> list[Difference]:
    """The same with p values that allow for how many were looked at (Holm 1979)."""
    from statsmodels.stats.multitest import multipletests

    tested = [one for one in found if one.p is not None]
    if not tested:
        return list(found)
    values = iter(multipletests([one.p for one in tested], method="holm")[1])
    return [one if one.p is None else replace(one, p=float(next(values))) for one in found]


def mean_over_seeds(values: Sequence[float]) -> Estimate:
    """The mean of a figure over seeds with its 95 % t interval; `num` is the seeds."""
    return difference("", "", "", values).estimate


def paired(ours: Mapping[str, float], theirs: Mapping[str, float]) -> Estimate:
    """How far theirs is above ours: the mean over the prompts that both have, every prompt once.

    With a 95 % bootstrap over prompts, which draws both values of a prompt together.
    """
    changes = [theirs[prompt] - value for prompt, value in sorted(ours.items()) if prompt in theirs]
    return bootstrap(changes, lambda change: (change, 1), seed=0)
