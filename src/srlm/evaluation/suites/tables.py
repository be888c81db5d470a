"""The figures of a suite as plain text: one table of all that were measured, for a terminal or a report."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from srlm.evaluation.alpaca import alpaca_table
from srlm.evaluation.checked import checked_table
from srlm.evaluation.diversity import diversity_table
from srlm.evaluation.fine_grained import fine_grained_table
from srlm.evaluation.gsm8k import gsm8k_table
from srlm.evaluation.head_to_head import head_to_head_table, matrix_table, win_matrix
from srlm.evaluation.ifeval import ifeval_table
from srlm.evaluation.mt_bench import mt_bench_table

Results = Mapping[str, Mapping[str, Any]]
"""The figures of one suite by the name of whom they measure."""


def saved_figures(path: Path) -> dict[str, Any]:
    """The figures that a suite left in a run; those of head_to_head with its matches, steps of their own."""
    figures: dict[str, Any] = json.loads(path.read_text("utf-8"))
    matches = sorted(path.parent.glob("against_*.json"))
    if matches:
        found = (json.loads(one.read_text("utf-8")) for one in matches if not one.name.endswith(".step.json"))
        figures["against"] = {one["models"][1]: one for one in found}
    return figures


def suite_table(suite: str, results: Results) -> str:
    """Plain text for the figures of a suite, in the order of the results."""
    return _TABLES[suite](results)


def win_square(results: Results) -> dict[str, Any]:
    """The win matrix of head_to_head's results, as JSON."""
    return win_matrix(_matches(results), list(results))


def _matches(results: Results) -> list[Mapping[str, Any]]:
    return [match for found in results.values() for match in found.get("against", {}).values()]


def _head_to_head(results: Results) -> str:
    matches = _matches(results)
    if not matches:
        return "No two contestants yet, so nothing was compared."
    parts = [head_to_head_table(matches)]
    if len(results) > 2:
        square = matrix_table(win_square(results))
        parts.append(f"Win rate % of the left one against the one above:\n{square}")
    for match in matches:
        if "by_label" in match:
            parts.append(fine_grained_table(" against ".join(match["models"]), match["by_label"]))
    return "\n\n".join(parts)


def _alpaca_eval(results: Results) -> str:
    parts = [alpaca_table(results)]
    for name, found in results.items():
        if found["unreadable"] or found["unanswered"]:
            parts.append(
                f"{name}: nothing could be read of the judge's word on {found['unreadable']} of "
                f"{found['records']} prompts, which are in no rate; {found['unanswered']} prompts were "
                "too long to be asked and lose."
            )
        if "by_label" in found:
            parts.append(fine_grained_table(f"{name} against the baseline", found["by_label"]))
    return "\n\n".join(parts)


def _harness(results: Results) -> str:
    names = list(results)
    cell = max([22, *(len(name) + 2 for name in names)])
    rows = dict.fromkeys(
        (task, metric)
        for found in results.values()
        for task, row in found["tasks"].items()
        for metric in row["metrics"]
    )
    width = max([len("% [95 %]"), *(len(f"{task} {metric}") for task, metric in rows)])
    lines = [f"{'% [95 %]':<{width}}" + "".join(f"{name:>{cell}}" for name in names) + "   items"]
    for task, metric in rows:
        found = [results[name]["tasks"].get(task, {}) for name in names]
        cells = "".join(f"{_cell(row.get('metrics', {}).get(metric)):>{cell}}" for row in found)
        lines.append(f"{f'{task} {metric}':<{width}}{cells}{found[0].get('items') or '–':>8}")
    return "\n".join(lines)


def _cell(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None:
        return "–"
    inside = "–" if estimate["low"] is None else f"{100 * estimate['low']:.1f}, {100 * estimate['high']:.1f}"
    return f"{100 * estimate['value']:.1f} [{inside}]"


def _one_by_one(table: Callable[[Mapping[str, Any]], str]) -> Callable[[Results], str]:
    def tables(results: Results) -> str:
        return "\n\n".join(f"{name}: {table(found)}" for name, found in results.items())

    return tables


_TABLES: dict[str, Callable[[Results], str]] = {
    "alpaca_eval": _alpaca_eval,
    "diversity": diversity_table,
    "checked": _one_by_one(checked_table),
    "gsm8k": _one_by_one(gsm8k_table),
    "harness": _harness,
    "head_to_head": _head_to_head,
    "ifeval": _one_by_one(ifeval_table),
    "mt_bench": mt_bench_table,
}
