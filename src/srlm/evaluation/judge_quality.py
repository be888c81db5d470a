"""How well a judge's scores agree with people's order of the same answers (paper, section 3.1.2).

The paper's five figures: pairwise accuracy, 5-best, exact match, Spearman and Kendall; beside each what
preferring the longer text would reach, as length is what a judge most easily mistakes for quality. The
paper does not say what a tie of the judge's scores is, so each policy has a column:

    wrong      a tie is a mistake: the judge had to say which answer is better, and did not
    half       a tie is broken by a fair coin: what choosing by these scores would reach on average
    left_out   only what the judge decided counts; read it beside the number of ties

Only prompts whose answers people did not all call equal have a part in the figures. Scores are compared as
they are: two means are a tie when they are the same float. Shares are 0..1, coefficients -1..1.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from srlm.evaluation.intervals import Estimate, Share, bootstrap

Coefficient = Literal["spearman", "kendall"]

SIMILAR = 0.8
"""Two texts are of similar length when the shorter has at least this share of the longer's characters."""


# The paper's judge had other questions, other answers and 70B weights: a direction, not a line to reach.
@dataclass(frozen=True)
class ScoredPrompt:
    """The answers to one prompt: their lengths in characters, people's places, and the judge's scores.

    `places` is 0 for the best, ties share one (`RankedPrompt.places`); a score is None when nothing could
    be read. Raises ValueError when the three differ in number or a score is not finite.
    """

    lengths: tuple[int, ...]
    places: tuple[int, ...]
    scores: tuple[float | None, ...]

    def __post_init__(self) -> None:
        if not len(self.lengths) == len(self.places) == len(self.scores):
            found = f"{len(self.lengths)} lengths, {len(self.places)} places and {len(self.scores)} scores"
            raise ValueError(f"{found}: each answer needs one of each")
        if any(score is not None and not math.isfinite(score) for score in self.scores):
            raise ValueError(f"scores {self.scores}: an unreadable score is None, not a number")

    @property
    def is_ranked(self) -> bool:
        """Whether people put some answer above another."""
        return len(set(self.places)) > 1

    @property
    def by_length(self) -> "ScoredPrompt":
        """The same answers as a judge would score them who counts characters."""
        return replace(self, scores=tuple(float(length) for length in self.lengths))

    @property
    def readable(self) -> "ScoredPrompt":
        """Only the answers that have a score."""
        kept = [n for n, score in enumerate(self.scores) if score is not None]
        lengths, places, scores = (
            tuple(values[n] for n in kept) for values in (self.lengths, self.places, self.scores)
        )
        return ScoredPrompt(lengths, places, scores)  # type: ignore[arg-type]


@dataclass(frozen=True)
class PairCounts:
    """What became of one prompt's pairs of answers with different human places."""

    right: int
    wrong: int
    tied: int
    unscored: int


def judge_quality(scored: Sequence[ScoredPrompt], top: float = 5, seed: int = 0) -> dict[str, Any]:
    """Every figure of one judge on one set, ready for JSON: an estimate is {value, low, high, num}.

    `coverage`, the share of answers with a score. `pairs`, counts. `pairwise`, `pairwise_by_prompt`,
    `exact_match`: by policy for ties. `top_best`: `share`, the number of top `answers`, and the share by
    `chance`. `spearman`, `kendall`: with an undefined coefficient as `zero` (the headline) or `left_out`.
    `length`: Spearman of score and length; above `longer_wins.spearman`, the judge loves length more than
    people do. `calibration`: a list by grade. `longer_wins`: the figures of preferring the longer text, on
    all pairs, scored or not, so that it is the same line for every judge; `over_longer`, by how much the
    judge beats it. `similar_length`: pairs, pairwise, and longer_wins where length tells little.
    """
    longer = [prompt.by_length for prompt in scored]
    figures = {
        "prompts": len(scored),
        "ranked_prompts": sum(prompt.is_ranked for prompt in scored),
        "answers": sum(len(prompt.scores) for prompt in scored),
        "top": top,
        "coverage": coverage(scored, seed),
        "pairs": _summed([count_pairs(prompt) for prompt in scored]),
        **_agreement(scored, seed),
        "over_longer": over_longer(scored, seed),
        "top_best": top_best(scored, top, seed),
        "length": length_correlation(scored, seed),
        "calibration": calibration(scored, seed),
        "longer_wins": _agreement(longer, seed),
        "similar_length": {
            "ratio": SIMILAR,
            "pairs": _summed([count_pairs(prompt, SIMILAR) for prompt in scored]),
            "pairwise": pairwise(scored, seed, SIMILAR),
            "longer_wins": pairwise(longer, seed, SIMILAR),
        },
    }
    plain: dict[str, Any] = _plain(figures)
    return plain


def coverage(scored: Sequence[ScoredPrompt], seed: int = 0) -> Estimate:
    """The share of answers that have a score, over all prompts."""
    return bootstrap(
        scored,
        lambda prompt: (sum(score is not None for score in prompt.scores), len(prompt.scores)),
        seed=seed,
    )


def count_pairs(prompt: ScoredPrompt, similar: float = 0.0) -> PairCounts:
    """How many pairs the judge got right, wrong, tied, or did not score; equal human places make no pair.

    With `similar`, only pairs whose shorter text has at least that share of the longer one's characters.
    """
    lengths = np.array(prompt.lengths, dtype=np.float64)
    near = np.minimum.outer(lengths, lengths) >= similar * np.maximum.outer(lengths, lengths)
    better = _signs([-place for place in prompt.places])
    agrees = (better * _signs([math.nan if score is None else score for score in prompt.scores]))[
        (better > 0) & near  # each pair once, from its better answer
    ]
    return PairCounts(
        right=int((agrees > 0).sum()),
        wrong=int((agrees < 0).sum()),
        tied=int((agrees == 0).sum()),
        unscored=int(np.isnan(agrees).sum()),
    )


def pairs_right(prompt: ScoredPrompt) -> float | None:
    """The share of a prompt's scored pairs that are right, a tie as a half; None where there are none."""
    right, num = _PAIR_POLICIES["half"](count_pairs(prompt))
    return right / num if num else None


def pairwise(scored: Sequence[ScoredPrompt], seed: int = 0, similar: float = 0.0) -> dict[str, Estimate]:
    """Pairwise accuracy by policy for ties, over all pairs of all prompts; unscored pairs are left out."""
    counts = [count_pairs(prompt, similar) for prompt in scored]
    return {name: bootstrap(counts, policy, seed=seed) for name, policy in _PAIR_POLICIES.items()}


def over_longer(scored: Sequence[ScoredPrompt], seed: int = 0) -> Estimate:
    """How much higher the judge's pairwise accuracy is than preferring the longer text; ties are half.

    Both on the same pairs, those with two scores, and resampled together: an interval above 0 says that the
    judge knows more than length, which two intervals side by side can leave open.
    """
    both = [(count_pairs(prompt), count_pairs(prompt.by_length)) for prompt in (p.readable for p in scored)]

    def part(counts: tuple[PairCounts, PairCounts]) -> Share:
        (judge, num), (longer, _) = (_PAIR_POLICIES["half"](pairs) for pairs in counts)
        return judge - longer, num

    return bootstrap(both, part, seed=seed)


def pairwise_by_prompt(scored: Sequence[ScoredPrompt], seed: int = 0) -> dict[str, Estimate]:
    """The mean over prompts of each one's pairwise accuracy: a prompt of ten answers weighs as one of two."""
    counts = [count_pairs(prompt) for prompt in scored]
    return {name: bootstrap(counts, _mean_of(policy), seed=seed) for name, policy in _PAIR_POLICIES.items()}


def top_best(scored: Sequence[ScoredPrompt], top: float = 5, seed: int = 0) -> dict[str, Any]:
    """Of the answers with the top grade, the share that are people's best: the paper's 5-best.

    An answer has the top grade when its score rounds to it, `score >= top - 0.5`: means and expected scores
    are hardly ever exactly 5. All answers that share the first human place are best. `answers` counts the top
    grades; `chance` is the share of best among all answers of the same set, what random top grades reach.
    Prompts that people did not rank are left out: each of their answers would be best for nothing.
    """
    ranked = [prompt for prompt in scored if prompt.is_ranked]

    def best_of_top(prompt: ScoredPrompt) -> Share:
        answers = zip(prompt.places, prompt.scores, strict=True)
        places = [place for place, score in answers if score is not None and score >= top - 0.5]
        return places.count(min(prompt.places)), len(places)

    return {
        "share": bootstrap(ranked, best_of_top, seed=seed),
        "answers": int(sum(best_of_top(prompt)[1] for prompt in ranked)),
        "chance": bootstrap(
            ranked, lambda prompt: (prompt.places.count(min(prompt.places)), len(prompt.places)), seed=seed
        ),
    }


def exact_match(scored: Sequence[ScoredPrompt], seed: int = 0) -> dict[str, Estimate]:
    """The share of prompts whose whole order is people's, by policy for ties of the judge.

    Over ranked prompts with every answer scored. Answers that people tied may come in any order. A judge's
    tie matters only between answers of different human places: `wrong` makes the prompt a miss; `half` is
    the chance of the human order when ties are broken at random; `left_out` drops the prompt even if it
    holds a mistake elsewhere, as otherwise prompts with ties could count as misses but never as hits.
    """
    orders = [_order(prompt) for prompt in scored]
    return {name: bootstrap(orders, policy, seed=seed) for name, policy in _ORDER_POLICIES.items()}


def correlation(scored: Sequence[ScoredPrompt], kind: Coefficient, seed: int = 0) -> dict[str, Estimate]:
    """The mean over prompts of the coefficient of score and human order; positive is agreement.

    Over each prompt's scored answers, where people put one above another. The coefficient is undefined where
    all scores are equal: as `zero` a judge that cannot separate has no correlation; or `left_out`.
    """
    found = [
        _coefficient(kind, [-place for place in prompt.places], prompt.scores)
        for prompt in (item.readable for item in scored)
    ]
    return {name: bootstrap(found, policy, seed=seed) for name, policy in _UNDEFINED_POLICIES.items()}


def length_correlation(scored: Sequence[ScoredPrompt], seed: int = 0) -> dict[str, Estimate]:
    """The mean over prompts of Spearman of score and length: how far the judge follows verbosity.

    Over the scored answers of every prompt, ranked or not, whose lengths differ; `zero` and `left_out` as in
    `correlation`.
    """
    found = [
        _coefficient("spearman", prompt.lengths, prompt.scores)
        for prompt in (item.readable for item in scored)
    ]
    return {name: bootstrap(found, policy, seed=seed) for name, policy in _UNDEFINED_POLICIES.items()}


def calibration(scored: Sequence[ScoredPrompt], seed: int = 0) -> list[dict[str, Any]]:
    """For each whole grade (score rounded, half up), lowest first: `grade`, `answers` and mean `place`.

    A place is 0 for the best of its prompt and 1 for the worst, and answers that people tied share the mean
    of their places, so that the mean within any prompt is 0.5. A useful judge's places fall as grades rise.
    """
    graded = [_places_by_grade(prompt) for prompt in scored if prompt.is_ranked]
    grades = sorted({grade for places in graded for grade in places})

    def part(grade: int) -> Callable[[dict[int, list[float]]], Share]:
        return lambda places: (sum(places.get(grade, ())), len(places.get(grade, ())))

    return [
        {
            "grade": grade,
            "answers": sum(len(places.get(grade, ())) for places in graded),
            "place": bootstrap(graded, part(grade), seed=seed),
        }
        for grade in grades
    ]


def rank_correlations(one: Sequence[float], other: Sequence[float]) -> tuple[float, float] | None:
    """Spearman with average ranks and Kendall's tau-b; None where either side is all equal."""
    if len(set(one)) < 2 or len(set(other)) < 2:
        return None
    from scipy.stats import kendalltau, spearmanr  # 0.8 s, which `srlm status` need not wait for

    return float(spearmanr(one, other).statistic), float(kendalltau(one, other).statistic)


@dataclass(frozen=True)
class _Order:
    """How a judge's order of one prompt relates to people's: `chance` of it with ties broken at random."""

    chance: float
    has_tie: bool


@dataclass(frozen=True)
class _Found:
    """A coefficient of a prompt that has one to ask for; None where the scores leave it undefined."""

    value: float | None


_PAIR_POLICIES: dict[str, Callable[[PairCounts], Share]] = {
    "wrong": lambda pairs: (pairs.right, pairs.right + pairs.wrong + pairs.tied),
    "half": lambda pairs: (pairs.right + pairs.tied / 2, pairs.right + pairs.wrong + pairs.tied),
    "left_out": lambda pairs: (pairs.right, pairs.right + pairs.wrong),
}
_ORDER_POLICIES: dict[str, Callable[[_Order | None], Share]] = {
    "wrong": lambda order: (float(order.chance == 1), 1) if order else (0, 0),
    "half": lambda order: (order.chance, 1) if order else (0, 0),
    "left_out": lambda order: (order.chance, 1) if order and not order.has_tie else (0, 0),
}
_UNDEFINED_POLICIES: dict[str, Callable[[_Found | None], Share]] = {
    "zero": lambda found: (found.value or 0.0, 1) if found else (0, 0),
    "left_out": lambda found: (found.value, 1) if found and found.value is not None else (0, 0),
}


def _agreement(scored: Sequence[ScoredPrompt], seed: int) -> dict[str, dict[str, Estimate]]:
    return {
        "pairwise": pairwise(scored, seed),
        "pairwise_by_prompt": pairwise_by_prompt(scored, seed),
        "exact_match": exact_match(scored, seed),
        "spearman": correlation(scored, "spearman", seed),
        "kendall": correlation(scored, "kendall", seed),
    }


def _mean_of(policy: Callable[[PairCounts], Share]) -> Callable[[PairCounts], Share]:
    def part(pairs: PairCounts) -> Share:
        numerator, denominator = policy(pairs)
        return (numerator / denominator, 1) if denominator else (0, 0)

    return part


def _signs(values: Sequence[float]) -> npt.NDArray[np.float64]:
    """1 where the row's value is above the column's, -1 below, 0 equal, NaN where either is NaN."""
    column = np.array(values, dtype=np.float64)[:, None]
    return np.sign(column - column.T)


def _coefficient(
    kind: Coefficient, reference: Sequence[float], scores: Sequence[float | None]
) -> _Found | None:
    if len(set(reference)) < 2:
        return None
    both = rank_correlations(reference, [score for score in scores if score is not None])
    return _Found(both[kind == "kendall"] if both else None)


def _order(prompt: ScoredPrompt) -> _Order | None:
    if not prompt.is_ranked or None in prompt.scores:
        return None
    pairs = count_pairs(prompt)
    return _Order(0.0 if pairs.wrong else _chance(prompt), pairs.tied > 0)


def _chance(prompt: ScoredPrompt) -> float:
    """How likely random order within each group of equal scores is the human one, the groups being right.

    A group of m answers has m! orders, of which those count that put the k answers of each place together.
    """
    answers = sorted(zip(prompt.scores, prompt.places, strict=True))
    chance = 1.0
    for _, group in groupby(answers, key=lambda answer: answer[0]):
        alike = Counter(place for _, place in group)
        chance *= math.prod(map(math.factorial, alike.values())) / math.factorial(alike.total())
    return chance


def _places_by_grade(prompt: ScoredPrompt) -> dict[int, list[float]]:
    below = len(prompt.places) - 1
    middle = (_signs(prompt.places).sum(axis=1) + below) / (2 * below)
    places: dict[int, list[float]] = {}
    for score, place in zip(prompt.scores, middle, strict=True):
        if score is not None:
            places.setdefault(math.floor(score + 0.5), []).append(float(place))
    return places


def _summed(pairs: Sequence[PairCounts]) -> dict[str, int]:
    return {
        name: sum(getattr(item, name) for item in pairs) for name in ("right", "wrong", "tied", "unscored")
    }


def _plain(value: Any) -> Any:
    if isinstance(value, Estimate):
        return asdict(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value
