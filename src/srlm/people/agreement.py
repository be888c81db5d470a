"""How far annotators say the same, beyond chance: Krippendorff's alpha, Fleiss' and Cohen's kappa.

Labels are whole numbers, so that those of an order can be compared by it. What cannot be computed, because
there is one annotator, one label, or no item that two have seen, is None and never a number. Alpha and the
share of equal pairs have a 95 % interval over items, the unit that was sampled; the kappas have none.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from statistics import fmean
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from srlm.evaluation.intervals import LEVEL, Estimate, Share, bootstrap

Labels = Mapping[str, Mapping[int, int]]
"""By item, what each annotator says of it."""
Level = Literal["nominal", "ordinal", "interval"]
"""Labels are equal or not; are in order; are so many steps apart."""
RESAMPLES = 1000
"""Of figures that are no ratio of sums, each of which costs as much as the figure itself."""

Indices = npt.NDArray[np.int64]


def agreement(labels: Labels, level: Level, seed: int = 0) -> dict[str, Any]:
    """Every figure of one table of labels, ready for JSON; an estimate is {value, low, high, num}.

    `annotators`, who gave a label; `items`, those with two labels or more, on which all figures rest;
    `alpha`; `raw`, the share of equal pairs of labels of one item; `fleiss`, {value, num}: by the `num`
    items that all annotators labelled; `cohen`: `value`, the mean over pairs of annotators with a shared
    item, and the `pairs`, each of them {annotators, value, num}. Cohen's kappa counts the square of the
    distance where labels have an order; Fleiss' looks only at equal or not.
    """
    shared = {item: said for item, said in labels.items() if len(said) > 1}
    annotators = sorted({who for said in labels.values() for who in said})
    return {
        "annotators": len(annotators),
        "items": len(shared),
        "alpha": asdict(krippendorff(labels, level, seed)),
        "raw": asdict(bootstrap(list(shared.values()), _equal_pairs, seed=seed)),
        "fleiss": _fleiss(labels, annotators),
        "cohen": _cohen(labels, annotators, level),
    }


def krippendorff(labels: Labels, level: Level, seed: int = 0) -> Estimate:
    """Krippendorff's alpha: 1 is agreement, 0 is chance; `num` is the items with two labels or more."""
    counts, values = _counts([said for said in labels.values() if len(said) > 1])
    return resampled(len(counts), lambda drawn: _alpha(counts[drawn], values, level), seed)


def cohen(one: Sequence[int], other: Sequence[int], level: Level = "nominal") -> float | None:
    """Cohen's kappa of two lists of labels of the same items; None where both hold no or the same one
    label.
    """
    if len({*one, *other}) < 2:
        return None
    from sklearn.metrics import cohen_kappa_score  # two seconds to load

    weights = None if level == "nominal" else "quadratic"
    labels = range(min(*one, *other), max(*one, *other) + 1)  # so that a label nobody gave keeps its distance
    return float(cohen_kappa_score(one, other, labels=list(labels), weights=weights))


def fleiss(counts: npt.NDArray[np.int64]) -> float | None:
    """Fleiss' kappa of a table items x labels, equally many in each row; None where all are one label."""
    if not len(counts) or counts[0].sum() < 2 or (counts.sum(axis=0) > 0).sum() < 2:
        return None
    from statsmodels.stats.inter_rater import fleiss_kappa

    return float(fleiss_kappa(counts))


def spearman(one: Sequence[float], other: Sequence[float], seed: int = 0) -> Estimate:
    """Spearman's correlation of two figures of the same answers, with its interval over answers."""
    both = np.array([one, other], dtype=np.float64)
    return resampled(both.shape[1], lambda drawn: _spearman(*both[:, drawn]), seed)


def resampled(
    num: int, statistic: Callable[[Indices], float | None], seed: int, resamples: int = RESAMPLES
) -> Estimate:
    """A figure of `num` things with its 95 % percentile bootstrap interval; `statistic` is of those drawn.

    No interval where more than a twentieth of the resamples have no figure, or where all have the same: that
    three of three agree says little about a fourth.
    """
    value = statistic(np.arange(num)) if num else None
    if value is None:
        return Estimate(None, None, None, 0)
    draws = np.random.Generator(np.random.Philox(seed)).integers(0, num, size=(resamples, num))
    known = [found for drawn in draws if (found := statistic(drawn)) is not None]
    if len(known) < LEVEL * resamples or np.ptp(known) < 1e-12:
        return Estimate(value, None, None, num)
    low, high = np.quantile(known, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Estimate(value, float(low), float(high), num)


def _counts(said: Sequence[Mapping[int, int]]) -> tuple[npt.NDArray[np.int64], list[int]]:
    """How often each item got each label, items x labels; and the labels in order."""
    values = sorted({label for one in said for label in one.values()})
    rows = [[list(one.values()).count(label) for label in values] for one in said]
    return np.array(rows, dtype=np.int64).reshape(len(said), len(values)), values


def _alpha(counts: npt.NDArray[np.int64], values: Sequence[int], level: Level) -> float | None:
    if (counts.sum(axis=0) > 0).sum() < 2:
        return None
    from krippendorff import alpha

    return float(alpha(value_counts=counts, value_domain=values, level_of_measurement=level))


def _spearman(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> float | None:
    if len(one) < 2 or not np.ptp(one) or not np.ptp(other):
        return None
    from scipy.stats import rankdata  # spearmanr is what follows, and takes several times as long

    first, second = rankdata([one, other], axis=1) - (len(one) + 1) / 2
    return float(first @ second / np.sqrt((first @ first) * (second @ second)))


def _equal_pairs(said: Mapping[int, int]) -> Share:
    pairs = list(combinations(said.values(), 2))
    return sum(one == other for one, other in pairs), len(pairs)


def _fleiss(labels: Labels, annotators: Sequence[int]) -> dict[str, Any]:
    counts, _ = _counts([said for said in labels.values() if len(said) == len(annotators) > 1])
    return {"value": fleiss(counts), "num": len(counts)}


def _cohen(labels: Labels, annotators: Sequence[int], level: Level) -> dict[str, Any]:
    pairs: list[dict[str, Any]] = []
    for one, other in combinations(annotators, 2):
        both = [said for said in labels.values() if one in said and other in said]
        if both:
            value = cohen([said[one] for said in both], [said[other] for said in both], level)
            pairs.append({"annotators": [one, other], "value": value, "num": len(both)})
    known = [pair["value"] for pair in pairs if pair["value"] is not None]
    return {"value": fmean(known) if known else None, "pairs": pairs}
