"""What one round adds to the truth by how accurate its judge is and by N: the evidence behind advice.

Measured in the small world whose truth a program knows (`srlm prove map --seeds 8`, docs/proving-ground.md),
with judges whose errors stay with an answer. It says where a judge was too weak for an N there, not what any
other world will give.
"""

from dataclasses import dataclass
from itertools import takewhile


@dataclass(frozen=True)
class Place:
    """The gain in points (of 5) with its 95 % interval, of a judge right on so many pairs, at an N."""

    accuracy: float
    samples: int
    gain: float
    low: float
    high: float


MEASURED: tuple[Place, ...] = (
    Place(0.963, 2, 0.062, 0.044, 0.079),
    Place(0.963, 4, 0.117, 0.091, 0.142),
    Place(0.963, 8, 0.154, 0.135, 0.173),
    Place(0.859, 2, 0.046, 0.032, 0.059),
    Place(0.859, 4, 0.083, 0.061, 0.106),
    Place(0.859, 8, 0.100, 0.078, 0.122),
    Place(0.726, 2, 0.024, 0.007, 0.042),
    Place(0.726, 4, 0.040, 0.024, 0.056),
    Place(0.726, 8, 0.031, 0.014, 0.047),
    Place(0.664, 2, 0.019, 0.007, 0.030),
    Place(0.664, 4, 0.012, -0.004, 0.027),
    Place(0.664, 8, 0.005, -0.009, 0.019),
    Place(0.588, 2, -0.001, -0.019, 0.016),
    Place(0.588, 4, -0.025, -0.037, -0.012),
    Place(0.588, 8, -0.038, -0.053, -0.024),
)
"""Most accurate first. Unequal answers alone count in the accuracy; ties of the judge as half."""


def nearest(accuracy: float, samples: int) -> Place:
    """The place that was measured nearest to a judge and an N; N counts first."""
    return min(MEASURED, key=lambda one: (abs(one.samples - samples), abs(one.accuracy - accuracy)))


def least_accuracy(samples: int) -> float | None:
    """How accurate the weakest judge was that still added something at the nearest N; None where none did."""
    there = [one for one in MEASURED if one.samples == nearest(1.0, samples).samples]
    best_first = sorted(there, key=lambda one: -one.accuracy)
    return min((one.accuracy for one in takewhile(lambda one: one.low > 0, best_first)), default=None)


def before_a_run(samples: int) -> str:
    """What a plan says of the judge that an N wants."""
    least, at = least_accuracy(samples), nearest(1.0, samples).samples
    if least is None:
        return ""
    return (
        f"N = {samples}: in the small world a judge had to be right on about {least:.0%} of held-out pairs "
        f"before a round at N = {at} added anything (docs/proving-ground.md). Measure yours: srlm eval judge."
    )


def warning(accuracy: float, samples: int) -> str:
    """Why a judge is too weak for an N, with the nearest place of the map; empty where it is not.

    Too weak is one below the weakest that still added something (`least_accuracy`).
    """
    least, at = least_accuracy(samples), nearest(1.0, samples).samples
    if least is None or accuracy >= least:
        return ""
    weak = [one for one in MEASURED if one.samples == at and one.accuracy < least]
    place = min(weak, key=lambda one: abs(one.accuracy - accuracy))
    return (
        f"A judge that is right on {accuracy:.0%} of held-out pairs is weak for N = {samples}: in the small "
        f"world one right on {place.accuracy:.0%} changed the truth at N = {place.samples} by "
        f"{place.gain:+.2f} [{place.low:+.2f}, {place.high:+.2f}] of 5 points (docs/proving-ground.md)."
    )
