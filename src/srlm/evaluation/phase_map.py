"""What one round adds to the truth by how accurate its judge is, by N and margin: the evidence behind advice.

Measured in the small world whose truth a program knows (`srlm prove map --seeds 8`, docs/proving-ground.md),
with judges whose errors stay with an answer. It says where a judge was too weak for an N there, not what any
other world will give.
"""

from dataclasses import dataclass
from itertools import takewhile


@dataclass(frozen=True)
class Place:
    """The gain in points (of 5), and its 95 % interval, of a judge by its accuracy, at an N and a margin."""

    accuracy: float
    samples: int
    margin: float
    gain: float
    low: float
    high: float


MEASURED: tuple[Place, ...] = (
    Place(0.963, 2, 0, 0.062, 0.044, 0.079),
    Place(0.963, 4, 0, 0.117, 0.091, 0.142),
    Place(0.963, 8, 0, 0.154, 0.135, 0.173),
    Place(0.963, 8, 2, 0.131, 0.109, 0.152),
    Place(0.963, 8, 4, 0.040, 0.031, 0.049),
    Place(0.859, 2, 0, 0.046, 0.032, 0.059),
    Place(0.859, 4, 0, 0.083, 0.061, 0.106),
    Place(0.859, 8, 0, 0.100, 0.078, 0.122),
    Place(0.859, 8, 2, 0.097, 0.081, 0.113),
    Place(0.859, 8, 4, 0.059, 0.037, 0.081),
    Place(0.726, 2, 0, 0.024, 0.007, 0.042),
    Place(0.726, 4, 0, 0.040, 0.024, 0.056),
    Place(0.726, 8, 0, 0.031, 0.014, 0.047),
    Place(0.726, 8, 2, 0.033, 0.009, 0.058),
    Place(0.726, 8, 4, 0.039, 0.020, 0.057),
    Place(0.664, 2, 0, 0.019, 0.007, 0.030),
    Place(0.664, 4, 0, 0.012, -0.004, 0.027),
    Place(0.664, 8, 0, 0.005, -0.009, 0.019),
    Place(0.664, 8, 2, 0.002, -0.010, 0.013),
    Place(0.664, 8, 4, 0.008, -0.008, 0.025),
    Place(0.588, 2, 0, -0.001, -0.019, 0.016),
    Place(0.588, 4, 0, -0.025, -0.037, -0.012),
    Place(0.588, 8, 0, -0.038, -0.053, -0.024),
    Place(0.588, 8, 2, -0.029, -0.041, -0.018),
    Place(0.588, 8, 4, -0.029, -0.040, -0.018),
)
"""Most accurate first. Unequal answers alone count in the accuracy; ties of the judge as half."""


def nearest(accuracy: float, samples: int, margin: float = 0.0) -> Place:
    """The place that was measured nearest to a judge, an N and a margin; N counts first, then the margin."""
    return min(
        MEASURED,
        key=lambda one: (abs(one.samples - samples), abs(one.margin - margin), abs(one.accuracy - accuracy)),
    )


def least_accuracy(samples: int, margin: float = 0.0) -> float | None:
    """How accurate the weakest judge was that still added something there; None where none did."""
    there = _column(samples, margin)
    return min((one.accuracy for one in takewhile(lambda one: one.low > 0, there)), default=None)


def before_a_run(samples: int, margin: float = 0.0) -> str:
    """What a plan says of the judge that an N and a margin want."""
    least, at = least_accuracy(samples, margin), nearest(1.0, samples, margin)
    if least is None:
        return ""
    asked, there = _where(samples, margin), _where(at.samples, at.margin)
    return (
        f"{asked}: in the small world a judge had to be right on about {least:.0%} of held-out pairs before "
        f"a round at {there} added anything (docs/proving-ground.md). Measure yours: srlm eval judge."
    )


def warning(accuracy: float, samples: int, margin: float = 0.0) -> str:
    """Why a judge is too weak for an N and a margin, with the nearest place; empty where it is not.

    Too weak is one below the weakest that still added something (`least_accuracy`).
    """
    least = least_accuracy(samples, margin)
    if least is None or accuracy >= least:
        return ""
    weak = [one for one in _column(samples, margin) if one.accuracy < least]
    place = min(weak, key=lambda one: abs(one.accuracy - accuracy))
    asked, there = _where(samples, margin), _where(place.samples, place.margin)
    return (
        f"A judge that is right on {accuracy:.0%} of held-out pairs is weak for {asked}: in the small world "
        f"one right on {place.accuracy:.0%} changed the truth at {there} by {place.gain:+.2f} "
        f"[{place.low:+.2f}, {place.high:+.2f}] of 5 points (docs/proving-ground.md)."
    )


def _column(samples: int, margin: float) -> list[Place]:
    """The places at the nearest N and margin, the best judge first."""
    at = nearest(1.0, samples, margin)
    there = [one for one in MEASURED if (one.samples, one.margin) == (at.samples, at.margin)]
    return sorted(there, key=lambda one: -one.accuracy)


def _where(samples: int, margin: float) -> str:
    return f"N = {samples}" + (f" and a margin of {margin:g}" if margin else "")
