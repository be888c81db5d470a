"""Signals in what the judge said of a round's responses, and in the pairs that came of it."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import fmean

from srlm.evaluation.intervals import Estimate
from srlm.monitors.signals import Signal, by_prompt, mean, number, over, signal
from srlm.records import Judgment, Pair, Response


def unreadable(judgments: Iterable[Judgment]) -> Signal:
    """The share of the judge's replies without a readable score, retries included.

    Detects a judge that loses the form of a verdict, as a model does that is trained away from it.
    Alarming above 20 %: what is left is no fair sample of the responses.
    """
    found = over(
        by_prompt(judgments, lambda item: item.prompt_id).values(),
        lambda items: (
            sum(reason is not None for item in items for reason in item.reasons),
            sum(len(item.reasons) for item in items),
        ),
    )
    return signal(
        "unreadable replies",
        "share",
        found,
        "the judge's replies often hold no score that can be read",
        above=0.2,
    )


def ties(outcomes: Mapping[str, int]) -> Signal:
    """The share of a round's prompts on which all scored responses have one score.

    Detects a judge that cannot separate (without EFT the paper gets 541 and 429 pairs of prompts that give
    3,964 and 6,942 with it). Alarming above a half: most of the round's work teaches nothing.
    """
    found = over(_flags(outcomes, "no pair: tie"), lambda flag: (flag, 1))
    return signal("ties", "share", found, "the judge gives most prompts' responses one score", above=0.5)


def discarded(outcomes: Mapping[str, int]) -> Signal:
    """The share of a round's prompts that gave no pair, for whatever reason.

    Detects a round that works for nothing. Alarming above three quarters.
    """
    found = over(_flags(outcomes, "pair"), lambda flag: (1 - flag, 1))
    return signal("prompts without a pair", "share", found, "most prompts gave no pair", above=0.75)


def histogram(judgments: Iterable[Judgment]) -> dict[int, int]:
    """How often each whole grade was given, by all draws; an expected score counts as the nearest grade."""
    grades = Counter(
        math.floor(score + 0.5)
        for item in judgments
        for score in (item.expected if item.scoring == "expected" else item.scores)
        if score is not None
    )
    return dict(sorted(grades.items()))


def entropy(judgments: Sequence[Judgment]) -> Signal:
    """Entropy of the grades given, in bits: 0 when there is only one, 2.6 when all six are as frequent.

    Detects a judge that falls back on one grade; taught with too many judging pairs, judges have been
    seen to say 5 always. Alarming below half a bit: nine of ten grades are one. Expected scores, which lie
    near each other by nature, are not alarming.
    """
    counts = histogram(judgments)
    total = sum(counts.values())
    bits = -sum(n / total * math.log2(n / total) for n in counts.values()) if total else None
    says = f"nearly all grades are {max(counts, key=lambda grade: counts[grade])}" if counts else ""
    prompts = len({item.prompt_id for item in judgments})
    whole = any(item.scoring == "sampled" for item in judgments)
    return signal("entropy of grades", "bits", number(bits, prompts), says, below=0.5 if whole else None)


def score(judgments: Iterable[Judgment]) -> Signal:
    """The mean score of a round's responses: the loop's own, which rises whether they are better or not.

    In later work it rises while agreement with people falls (Meta-Rewarding, arXiv 2407.19594). Not alarming
    by itself; read it beside the frozen judge and the human ranks.
    """
    return signal("mean score", "points", _mean_by_prompt(judgments, lambda item: item.score))


def disagreement(judgments: Iterable[Judgment]) -> Signal:
    """The mean variance of a grade over the draws of one response.

    Detects a judge that grows sure of itself: it falls to 0 with the entropy of grades. Not alarming by
    itself, for a judge at temperature 0 has none.
    """
    return signal("variance of the judge", "points²", _mean_by_prompt(judgments, lambda item: item.variance))


def score_gap(pairs: Sequence[Pair]) -> Signal:
    """The mean difference of chosen and rejected scores.

    It shrinks about nine times over three rounds where both come from one model (Temporal Self-Rewarding,
    arXiv 2508.06026), and with it what a round can teach. Not alarming by itself.
    """
    return signal(
        "score gap of pairs", "points", mean(pair.chosen_score - pair.rejected_score for pair in pairs)
    )


def length_gap(pairs: Sequence[Pair]) -> Signal:
    """Characters of all chosen responses by those of all rejected ones.

    Detects pairs that teach length. The paper's answers grew from 1,092 to 2,552 characters. Alarming above
    1.25: act with `pairs.length_control` or the length switches of `dpo`.
    """
    found = over(pairs, lambda pair: (len(pair.chosen), max(len(pair.rejected), 1)))
    return signal(
        "length of chosen by rejected",
        "ratio",
        found,
        "chosen responses are longer than rejected ones, so the round teaches length",
        above=1.25,
    )


def length_slope(responses: Iterable[Response], judgments: Iterable[Judgment]) -> Signal:
    """Points that go with twice the length, among responses to one prompt: a slope by least squares.

    Detects a judge that takes length for quality (verbosity bias); prompts that want long answers do not
    count, for each is compared with its own mean. Alarming above half a point.
    """
    scores = {item.response_id: item.score for item in judgments}
    points = by_prompt(
        (
            (item.prompt_id, math.log2(max(len(item.text), 1)), value)
            for item in responses
            if (value := scores.get(item.id)) is not None
        ),
        lambda point: point[0],
    )

    def part(group: list[tuple[str, float, float]]) -> tuple[float, float]:
        x, y = fmean(point[1] for point in group), fmean(point[2] for point in group)
        return (
            sum((point[1] - x) * (point[2] - y) for point in group),
            sum((point[1] - x) ** 2 for point in group),
        )

    return signal(
        "points for twice the length",
        "points",
        over(points.values(), part),
        "the judge pays for length: longer responses to the same prompt score higher",
        above=0.5,
    )


def _mean_by_prompt(judgments: Iterable[Judgment], value: Callable[[Judgment], float | None]) -> Estimate:
    """The mean over judgments, those of one prompt drawn together."""

    def part(items: list[Judgment]) -> tuple[float, float]:
        known = [found for item in items if (found := value(item)) is not None]
        return sum(known), len(known)

    return over(by_prompt(judgments, lambda item: item.prompt_id).values(), part)


def _flags(counts: Mapping[str, int], wanted: str) -> list[float]:
    """One number a prompt: 1 for those that are counted under `wanted`, 0 for the others."""
    number_of = counts.get(wanted, 0)
    return [1.0] * number_of + [0.0] * (sum(counts.values()) - number_of)
