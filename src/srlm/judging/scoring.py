"""From what a judge said, or from the probabilities of its grades, to a score and its variance.

`sampled` is the paper's: the mean of K grades that were written. `expected` reads Σ k·p(k) where the
grade would stand, after a sampled justification or at once (RLAIF, arXiv 2309.00267): few ties.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pvariance

from srlm.judging.rubric import Rubric

LEAST_MASS = 0.5
"""Below this probability of all grades together, their expectation says nothing."""


@dataclass(frozen=True)
class Expectation:
    """Mean and variance of a distribution over grades; `outside` is the probability of all else.

    `score` and `variance` are None when more than half of the probability is outside.
    """

    score: float | None
    variance: float | None
    outside: float


def expectation(probabilities: Sequence[float], rubric: Rubric) -> Expectation:
    """Σ k·p(k) over the rubric's grades, with p scaled to sum to 1 over them."""
    mass = sum(probabilities)
    outside = min(max(1.0 - mass, 0.0), 1.0)
    if mass < LEAST_MASS:
        return Expectation(None, None, outside)
    grades = [float(grade) for grade in rubric.grades]
    mean = sum(grade * p for grade, p in zip(grades, probabilities, strict=True)) / mass
    spread = sum((grade - mean) ** 2 * p for grade, p in zip(grades, probabilities, strict=True)) / mass
    return Expectation(mean, spread, outside)


def sampled_variance(scores: Sequence[float | None]) -> float | None:
    """Population variance of the readable scores; None for fewer than two."""
    readable = [score for score in scores if score is not None]
    return pvariance(readable) if len(readable) > 1 else None


def expected_variance(found: Sequence[Expectation]) -> float | None:
    """Variance of one grade drawn from the mixture: mean within a draw plus variance between draws."""
    within = [item.variance for item in found if item.variance is not None]
    between = [item.score for item in found if item.score is not None]
    return fmean(within) + pvariance(between) if within else None
