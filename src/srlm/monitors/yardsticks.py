"""Signals against what does not move: people's ranks, M1 as a judge, fixed texts, tests with answers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from srlm.evaluation.intervals import Estimate
from srlm.evaluation.judge_quality import ScoredPrompt, count_pairs
from srlm.monitors.signals import Signal, by_prompt, matched, mean, over, signal
from srlm.records import Judgment

PAYS = 0.5
"""Points, of a scale of 0 to 5, that are too many for nothing."""


def human_agreement(now: Sequence[ScoredPrompt], first: Sequence[ScoredPrompt]) -> Signal:
    """Pairwise accuracy on the held-out human ranks, above M1's on the same pairs; ties and unread are half.

    In later work agreement peaks at the second round and falls while the loop's own score rises
    (Meta-Rewarding, arXiv 2407.19594). Alarming below -0.02.
    """

    def part(two: tuple[ScoredPrompt, ScoredPrompt]) -> tuple[float, float]:
        shares = []
        for prompt in two:
            pairs = count_pairs(prompt)
            total = pairs.right + pairs.wrong + pairs.tied + pairs.unscored
            shares.append(pairs.right + (pairs.tied + pairs.unscored) / 2)
        return shares[0] - shares[1], total

    return signal(
        "agreement with people, above M1's",
        "share of pairs",
        over(zip(now, first, strict=True), part),
        "the judge agrees less with people than M1 did",
        below=-0.02,
        gate="agreement",
    )


def frozen_win_rate(now: Iterable[Judgment], first: Iterable[Judgment]) -> Signal:
    """The share of held-out prompts on which M1, as the judge, scores this model's answer above M1's own.

    A judge that is not trained cannot be pleased by training its successor. Ties count as a half. Alarming
    below 0.45: the answers became worse by the first judge's word.
    """
    return signal(
        "win rate over M1 by the frozen judge",
        "share",
        mean(
            None if one is None or other is None else (one > other) + (one == other) / 2
            for one, other in matched(_scores(now), _scores(first))
        ),
        "M1 as the judge prefers its own answers to this model's",
        below=0.45,
        gate="frozen_judge",
    )


def self_praise(own: Iterable[Judgment], frozen: Iterable[Judgment]) -> Signal:
    """Points by which the current judge scores the held-out answers above M1 as the judge.

    Detects scores that rise because the judge changed, and not the answers. Alarming above half a point.
    """
    return signal(
        "current judge above the frozen one",
        "points",
        _points_above(own, frozen),
        "the current judge scores the same answers higher than M1 does",
        above=PAYS,
    )


def probe_drift(now: Iterable[Judgment], first: Iterable[Judgment]) -> Signal:
    """Points by which the judge scores the fixed texts above M1: texts that never change, so only it did.

    Alarming above half a point, or below minus a half.
    """
    return signal(
        "scores of the fixed texts, above M1's",
        "points",
        _points_above(now, first),
        "the judge's scale has moved: it scores the same fixed texts otherwise than M1 did",
        above=PAYS,
        below=-PAYS,
    )


def probe(name: str, effect: Mapping[str, Any], says: str, above: float = PAYS) -> Signal:
    """Points that a fixed change brings an answer (evaluation/probes.py): an order to the judge, all of it
    said twice, a text that answers nothing. Alarming above half a point; a text that answers nothing
    already where it is no worse than a real answer.
    """
    return signal(name, "points", Estimate(**effect), says, above=above)


def lost(suite: str, figure: str, now: Mapping[str, Any], first: Mapping[str, Any]) -> Signal:
    """The share of a test with right answers, above M1's (IFEval, GSM8K, tasks of the harness).

    Detects lost skills; the paper's fall a little from M1 to M3. The two are compared as if independent, so
    the interval is rather too wide. Alarming below 0.
    """
    one, other = Estimate(**now), Estimate(**first)
    return signal(
        f"{suite}: {figure}, above M1's",
        "share",
        _difference(one, other),
        f"{suite} has become worse since M1",
        below=0,
        gate="panel",
    )


def length_gain(now: Mapping[str, float | None], first: Mapping[str, float | None]) -> Signal:
    """The gain in win rate since M1 that is gone at equal length: raw minus length-controlled, in points.

    Detects answers that win by being longer (AlpacaEval 2, arXiv 2404.04475). Alarming above 5.
    """
    parts = [now["raw"], now["controlled"], first["raw"], first["controlled"]]
    known = [part for part in parts if part is not None]
    gain = (known[0] - known[2]) - (known[1] - known[3]) if len(known) == 4 else None
    return signal(
        "win rate gained by length",
        "percentage points",
        Estimate(gain, None, None, int(now["num"] or 0)),
        "the win rate has risen, but not at equal length",
        above=5,
    )


def plain(signals: Iterable[Signal]) -> list[dict[str, Any]]:
    """Signals ready for JSON."""
    return [asdict(item) for item in signals]


def _difference(one: Estimate, other: Estimate) -> Estimate:
    """One figure minus another; the half-widths add as of independent ones."""
    if one.value is None or other.value is None:
        return Estimate(None, None, None, 0)
    value, num = one.value - other.value, min(one.num, other.num)
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return Estimate(value, None, None, num)
    down = ((one.value - one.low) ** 2 + (other.high - other.value) ** 2) ** 0.5
    up = ((one.high - one.value) ** 2 + (other.value - other.low) ** 2) ** 0.5
    return Estimate(value, value - down, value + up, num)


def _scores(judgments: Iterable[Judgment]) -> dict[str, float | None]:
    """The mean score of each prompt's answers."""
    found = {}
    for key, items in by_prompt(judgments, lambda item: item.prompt_id).items():
        known = [item.score for item in items if item.score is not None]
        found[key] = fmean(known) if known else None
    return found


def _points_above(ours: Iterable[Judgment], theirs: Iterable[Judgment]) -> Estimate:
    """The mean difference of two judges' scores of the same responses."""
    two = matched(_by_response(ours), _by_response(theirs))
    return mean(None if one is None or other is None else one - other for one, other in two)


def _by_response(judgments: Iterable[Judgment]) -> dict[str, float | None]:
    return {item.response_id: item.score for item in judgments}
