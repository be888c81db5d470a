"""The figures of IFEval: by prompt, by instruction and by kind of instruction, each with its interval."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from srlm.evaluation.ifeval.verifying import Verdict
from srlm.evaluation.intervals import Share, bootstrap

Mode = Literal["strict", "loose"]
MODES: tuple[Mode, ...] = ("strict", "loose")


def ifeval_figures(verdicts: Sequence[Verdict], seed: int = 0) -> dict[str, Any]:
    """All figures as plain JSON; an estimate is {value, low, high, num}, shares are 0..1.

    `prompts`, `instructions` and `empty` (responses without text, which count as fails) are numbers;
    `strict` and `loose` hold `prompt`, the share of prompts all of whose instructions are followed, and
    `instruction`, the share of instructions; `kinds` the share of each kind's instructions. Intervals
    resample prompts, so the instructions of one prompt stay together.
    """
    kinds = sorted({item.id for verdict in verdicts for item in verdict.task.instructions})
    return {
        "prompts": len(verdicts),
        "instructions": sum(len(verdict.strict) for verdict in verdicts),
        "empty": sum(verdict.is_empty for verdict in verdicts),
        **{mode: _both_levels(verdicts, mode, seed) for mode in MODES},
        "kinds": {kind: {mode: _of_kind(verdicts, kind, mode, seed) for mode in MODES} for kind in kinds},
    }


def _both_levels(verdicts: Sequence[Verdict], mode: Mode, seed: int) -> dict[str, Any]:
    followed = [getattr(verdict, mode) for verdict in verdicts]
    return {
        "prompt": asdict(bootstrap(followed, lambda each: (all(each), 1), seed=seed)),
        "instruction": asdict(bootstrap(followed, lambda each: (sum(each), len(each)), seed=seed)),
    }


def _of_kind(verdicts: Sequence[Verdict], kind: str, mode: Mode, seed: int) -> dict[str, Any]:
    def part(verdict: Verdict) -> Share:
        both = zip(verdict.task.instructions, getattr(verdict, mode), strict=True)
        followed = [is_followed for item, is_followed in both if item.id == kind]
        return sum(followed), len(followed)

    return asdict(bootstrap(verdicts, part, seed=seed))


def ifeval_table(figures: Mapping[str, Any]) -> str:
    """The figures as plain text: percent, with the 95 % interval in brackets ([–]: the data cannot say)."""
    rows = [
        f"IFEval: {figures['prompts']} prompts, {figures['instructions']} instructions, "
        f"{figures['empty']} responses empty",
        _row("% followed", "strict", "loose", "prompts"),
        *(_figures(name, {mode: figures[mode][level] for mode in MODES}) for level, name in _LEVELS.items()),
        *(_figures(f"  {kind}", by_mode) for kind, by_mode in figures["kinds"].items()),
    ]
    return "\n".join(rows)


_LEVELS = {"prompt": "prompts, all of whose instructions", "instruction": "instructions"}


def _figures(name: str, by_mode: Mapping[str, Any]) -> str:
    strict, loose = (percent(by_mode[mode]) for mode in MODES)
    return _row(name, strict, loose, str(by_mode["strict"]["num"]))


def _row(name: str, strict: str, loose: str, num: str) -> str:
    return f"{name:<49}{strict:<21}{loose:<21}{num:>8}"


def percent(estimate: Mapping[str, Any]) -> str:
    """A share as percent with two digits, as the paper prints it, and its interval with one."""
    if estimate["value"] is None:
        return "–"
    low, high = estimate["low"], estimate["high"]
    inside = "–" if low is None or high is None else f"{100 * low:.1f}, {100 * high:.1f}"
    return f"{100 * estimate['value']:.2f} [{inside}]"
