"""How sure a figure is: 95 % percentile bootstrap over prompts, the unit that was sampled.

Answers to one prompt, and the pairs they make, rise and fall together, so a prompt is drawn whole (a
cluster). Every figure here is a ratio of sums over prompts: pairs that are right by pairs, or a mean, whose
denominator is 1 a prompt. A resample is then one row of counts, and all resamples are one matrix product.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Share = tuple[float, float]
"""A prompt's part of a figure: its numerator and its denominator; (0, 0) is no part."""

LEVEL = 0.95
_CELLS = 4_000_000  # counts held at once: 32 MB, whatever the number of prompts

G = TypeVar("G")


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; None where the data cannot say; `num` is the prompts it rests on."""

    value: float | None
    low: float | None
    high: float | None
    num: int


def bootstrap(
    groups: Sequence[G], statistic: Callable[[G], Share], resamples: int = 2000, *, seed: int
) -> Estimate:
    """The sum of numerators by the sum of denominators over all groups, with its interval.

    `statistic` gives a group's numerator and denominator. A group whose denominator is 0 has no part in the
    figure and is not drawn (to first order this leaves the width as it is, and no resample is empty).
    `value` is None where no group has a part. The interval is None with fewer than 2 groups, and where every
    group has the same ratio: resamples of 12 right out of 12 are all right, which says nothing about the
    13th. With fewer than about 20 groups a percentile interval is too narrow: read it as a lower bound.

    Equal seeds and equal numbers of groups draw the same groups, so two figures of the same prompts are
    resampled together. Raises ValueError on a negative or non-finite part.
    """
    parts = np.array([statistic(group) for group in groups], dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(parts).all() or (parts[:, 1] < 0).any():
        raise ValueError(
            "a part of a ratio is not finite, or its denominator is negative: mend the statistic"
        )
    parts = parts[parts[:, 1] > 0]
    num = len(parts)
    if not num:
        return Estimate(None, None, None, 0)
    value = float(parts[:, 0].sum() / parts[:, 1].sum())
    ratios = parts[:, 0] / parts[:, 1]
    if np.allclose(ratios, ratios[0], rtol=1e-12, atol=1e-12):  # true of a single one, too
        return Estimate(value, None, None, num)
    sums = np.concatenate([counts @ parts for counts in _draws(num, resamples, seed)])
    low, high = np.quantile(sums[:, 0] / sums[:, 1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high), num)


def _draws(num: int, resamples: int, seed: int) -> Iterator[npt.NDArray[np.float64]]:
    """How often each group is drawn, a resample a row, in bands of rows: multinomial counts.

    Counting uniform draws is the same distribution as `Generator.multinomial`, at a third of its time.
    """
    generator = np.random.Generator(np.random.Philox(seed))
    band = max(1, _CELLS // num)
    for start in range(0, resamples, band):
        rows = min(band, resamples - start)
        drawn = generator.integers(0, num, size=(rows, num))
        drawn += np.arange(rows)[:, None] * num
        counts = np.bincount(drawn.ravel(), minlength=rows * num)
        yield counts.reshape(rows, num).astype(np.float64)
