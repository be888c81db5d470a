"""Figures of a judge as plain text for a terminal."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

PAPER_COLUMN = "paper SFT / M1 (70B, its own data)"
PAPER = {
    "pairwise": "65.1 / 78.7",
    "top_best": "39.6 / 41.5",
    "exact_match": "10.1 / 13.1",
    "spearman": ".253 / .279",
    "kendall": ".233 / .253",
}


_WIDTH, _LABEL, _CELL = 110, 22, 22


def quality_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Plain text of named results of `judge_quality`, one table after another, 110 columns wide.

    Percent with one digit, coefficients with three, the 95 % interval in brackets ([–]: the data cannot
    say), and the paper's figures in a column of their own. The paper's policy for ties is not known.
    """
    return "\n\n".join(_table(name, figures) for name, figures in results.items())


def _table(name: str, figures: Mapping[str, Any]) -> str:
    longer, similar, best = figures["longer_wins"], figures["similar_length"], figures["top_best"]
    title = (
        f"{name}: {figures['ranked_prompts']} ranked prompts of {figures['prompts']}, "
        f"{figures['answers']} answers, {_percent(figures['coverage']['value'])} % scored"
    )
    chance = f"chance {_percent(best['chance']['value'])}, n={best['answers']}"
    rows = [
        _row("a tie of the judge is:", ("", "", ""), PAPER_COLUMN),
        _row("", ("wrong", "half", "left out"), ""),
        _shares("pairwise accuracy %", figures["pairwise"], PAPER["pairwise"]),
        _shares("  longer wins", longer["pairwise"]),
        _row("  judge above that", ("", _cell(figures["over_longer"], _percent)), ""),
        _shares("  mean over prompts", figures["pairwise_by_prompt"]),
        _shares("    longer wins", longer["pairwise_by_prompt"]),
        _shares("  similar length", similar["pairwise"]),
        _shares("    longer wins", similar["longer_wins"]),
        _row(f"{figures['top']:g}-best %", ("", _cell(best["share"], _percent), chance), PAPER["top_best"]),
        _shares("exact match %", figures["exact_match"], PAPER["exact_match"]),
        _shares("  longer wins", longer["exact_match"]),
        _row("undefined counts as:", ("", "0", "left out"), ""),
        _coefficients("Spearman", figures["spearman"], PAPER["spearman"]),
        _coefficients("  longer wins", longer["spearman"]),
        _coefficients("Kendall tau-b", figures["kendall"], PAPER["kendall"]),
        _coefficients("  longer wins", longer["kendall"]),
        _coefficients("score with length", figures["length"]),
    ]
    return "\n".join([*textwrap.wrap(title, _WIDTH), *rows, *_notes(figures)])


def _notes(figures: Mapping[str, Any]) -> list[str]:
    grades = ", ".join(
        f"{item['grade']}: {_decimal(item['place']['value'])} (n={item['answers']})"
        for item in figures["calibration"]
    )
    notes = [
        f"pairs: {_counts(figures['pairs'])}",
        f"of similar length: {_counts(figures['similar_length']['pairs'])}",
        f"mean human place by grade, 0 best to 1 worst: {grades or '–'}",
    ]
    return [line for note in notes for line in textwrap.wrap(note, _WIDTH, subsequent_indent="  ")]


def _counts(pairs: Mapping[str, int]) -> str:
    return f"{sum(pairs.values())}, " + ", ".join(f"{num} {name}" for name, num in pairs.items())


def _shares(label: str, by_policy: Mapping[str, Any], paper: str = "") -> str:
    cells = (_cell(by_policy[name], _percent) for name in ("wrong", "half", "left_out"))
    return _row(label, tuple(cells), paper)


def _coefficients(label: str, by_policy: Mapping[str, Any], paper: str = "") -> str:
    cells = ("", *(_cell(by_policy[name], _decimal) for name in ("zero", "left_out")))
    return _row(label, cells, paper)


def _row(label: str, cells: Sequence[str], paper: str) -> str:
    left = f"{label:<{_LABEL}}" + "".join(f"{cell:<{_CELL}}" for cell in cells)
    return left.rstrip() + f"{paper:>{_WIDTH - len(left.rstrip())}}" if paper else left.rstrip()


def _cell(estimate: Mapping[str, Any], form: Callable[[float | None], str]) -> str:
    if estimate["value"] is None:
        return "–"
    inside = "–" if estimate["low"] is None else f"{form(estimate['low'])}, {form(estimate['high'])}"
    return f"{form(estimate['value'])} [{inside}]"


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{round(100 * share, 1) + 0.0:.1f}"  # + 0.0: no -0.0


def _decimal(value: float | None) -> str:
    """Three digits as the paper writes them: .253."""
    return "–" if value is None else f"{round(value, 3) + 0.0:.3f}".replace("0.", ".", 1)  # no -.000


def probe_table(figures: Mapping[str, Any]) -> str:
    """Plain text: a line a probe with effect, interval, prompts and verdict."""
    rows = [f"{'probe':<42}{'effect':>8}  {'95 % interval':<16}{'prompts':>8}  verdict"]
    for probe in figures["probes"]:
        effect = probe["effect"]
        size = "–" if effect["value"] is None else f"{effect['value']:+.2f}"
        interval = "–" if effect["low"] is None else f"[{effect['low']:+.2f}, {effect['high']:+.2f}]"
        rows.append(f"{probe['name']:<42}{size:>8}  {interval:<16}{effect['num']:>8}  {probe['verdict']}")
    rows.append(
        "Effects are points of the rubric's scale; for position -1 to 1, and a share of decided pairs."
    )
    rows.append(
        f"Nothing could be read of {figures['unreadable_texts']} of {figures['texts']} graded texts and "
        f"{figures['unreadable_comparisons']} of {figures['comparisons']} comparisons."
    )
    return "\n".join(rows)
