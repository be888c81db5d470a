"""Wins by what the prompt is about, how hard it is and how long an answer it wants."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from srlm.evaluation.intervals import bootstrap
from srlm.records import Label
from srlm.stages.labels import ASPECTS

UNLABELLED = "unlabelled"


def by_label(values: Mapping[str, float | None], labels: Iterable[Label], seed: int = 0) -> dict[str, Any]:
    """Mean value, 0..1, of the prompts with each label, by aspect; in the order of the options.

    `values` are wins by prompt id (a tie is .5; None could not be read, and has no part in a mean but
    counts in `prompts`). A label: `prompts` and `win_rate` as {value, low, high, num}. Prompts without a
    label stand under "unlabelled"; labels of other prompts are not looked at.
    """
    found: dict[str, dict[str, str]] = {aspect.name: {} for aspect in ASPECTS}
    for label in labels:
        if label.value is not None:
            found[label.aspect][label.prompt_id] = label.value
    return {
        aspect.name: _groups(values, found[aspect.name], (*aspect.options, UNLABELLED), seed)
        for aspect in ASPECTS
    }


def _groups(
    values: Mapping[str, float | None], labels: Mapping[str, str], options: Sequence[str], seed: int
) -> dict[str, Any]:
    groups: dict[str, list[float | None]] = {option: [] for option in options}
    for prompt_id, value in values.items():
        groups.setdefault(labels.get(prompt_id, UNLABELLED), []).append(value)
    return {
        option: {
            "prompts": len(members),
            "win_rate": asdict(
                bootstrap([one for one in members if one is not None], lambda win: (win, 1), seed=seed)
            ),
        }
        for option, members in groups.items()
        if members
    }


def fine_grained_table(name: str, found: Mapping[str, Any]) -> str:
    """Plain text: a line a label with its win rate in percent, interval and prompts."""
    lines = [f"{name:<30}  {'win rate % [95 %]':<22}{'prompts':>8}"]
    for aspect, groups in found.items():
        lines.append(aspect)
        lines += [
            f"  {option:<28}  {_interval(group['win_rate']):<22}{group['prompts']:>8}"
            for option, group in groups.items()
        ]
    return "\n".join(lines)


def _interval(rate: Mapping[str, Any]) -> str:
    if rate["value"] is None:
        return "–"
    inside = "–" if rate["low"] is None else f"{100 * rate['low']:.1f}, {100 * rate['high']:.1f}"
    return f"{100 * rate['value']:.1f} [{inside}]"
