"""Figures of answers whose points a program gives: their mean, the share that is right, pass@k."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from srlm.evaluation.gsm8k import pass_at
from srlm.evaluation.intervals import Share, bootstrap

Points = Sequence[float]
"""Of all answers to one prompt."""


def checked_figures(points: Sequence[Points], top: float, seed: int = 0) -> dict[str, Any]:
    """All figures as plain JSON; estimates are {value, low, high, num}, intervals draw prompts.

    `prompts` and `draws` are numbers; `points`, the mean; `right`, the share of answers with `top` points or
    more; `pass_at`, by k = 1, 2, 4 ..., the chance that one of k answers is right (Chen et al. 2021).
    """
    draws = min(map(len, points), default=0)
    return {
        "prompts": len(points),
        "draws": sum(map(len, points)),
        "points": asdict(bootstrap(points, lambda group: (sum(group), len(group)), seed=seed)),
        "right": asdict(bootstrap(points, lambda group: (_right(group, top), len(group)), seed=seed)),
        "pass_at": {
            str(k): asdict(bootstrap(points, lambda group, k=k: _passes(group, top, k), seed=seed))  # type: ignore[misc]
            for k in (2**power for power in range(draws.bit_length()))
        },
    }


def checked_table(figures: Mapping[str, Any]) -> str:
    """The figures as plain text, with 95 % intervals in brackets ([–]: the data cannot say)."""
    rows = [
        f"{figures['draws']} answers to {figures['prompts']} prompts",
        f"points        {_shown(figures['points'], 1)}",
        f"% right       {_shown(figures['right'], 100)}",
    ]
    if len(figures["pass_at"]) > 1:
        rows += [f"% pass@{k:<7}{_shown(found, 100)}" for k, found in figures["pass_at"].items()]
    return "\n".join(rows)


def _right(group: Points, top: float) -> int:
    return sum(one >= top for one in group)


def _passes(group: Points, top: float, k: int) -> Share:
    return pass_at(len(group), _right(group, top), k), 1


def _shown(estimate: Mapping[str, Any], times: float) -> str:
    if estimate["value"] is None:
        return "–"
    low, high = estimate["low"], estimate["high"]
    inside = "–" if low is None or high is None else f"{times * low:.2f}, {times * high:.2f}"
    return f"{times * estimate['value']:.2f} [{inside}]"
