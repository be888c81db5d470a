"""The figures of people's votes as plain text, for a terminal."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Figures = Mapping[str, Any]
NONE = "–"


def figures_text(figures: Figures, judges: Figures | None = None) -> str:
    """Tables of comparison_figures or rating_figures, of judge_figures beside them, and of the annotators."""
    parts = [_matches(figures["matches"]) if "matches" in figures else _models(figures)]
    if figures.get("left"):
        parts.append(f"Left answer preferred: {_percent(figures['left'])} % of votes that prefer one.")
    if judges:
        parts.append(_judges(judges))
    return "\n\n".join([*parts, _annotators(figures["annotators"])])


def _matches(matches: Mapping[str, Figures]) -> str:
    rows = [
        [
            name,
            *(_part(match[key], match["prompts"]) for key in ("wins", "ties", "losses")),
            _percent(match["win_rate"]),
            _number(match["sign_test"], "{:.3f}"),
            str(match["prompts"]),
            str(match["annotators"]),
            _number(match["agreement"]["outcome"]["alpha"]),
            _percent(match["length"]["longer"]),
        ]
        for name, match in matches.items()
    ]
    heads = ["match", "win %", "tie %", "loss %", "win rate %", "sign test", "prompts", "annotators"]
    note = (
        "The majority of annotators decides a prompt; a tie is half a win; the sign test leaves ties out.\n"
        "In brackets 95 % intervals over prompts; alpha: Krippendorff's, of win, tie and loss."
    )
    return _table([*heads, "alpha", "longer wins %"], rows) + f"\n{note}"


def _models(figures: Figures) -> str:
    rows = [
        [
            name,
            _number(model["mean"]),
            str(model["answers"]),
            str(model["annotators"]),
            _number(model["length"]),
        ]
        for name, model in figures["models"].items()
    ]
    heads = ["model", "mean grade", "answers", "annotators", "Spearman with length"]
    alpha = _number(figures["agreement"]["alpha"])
    note = f"Grades are 0 to 5; in brackets 95 % intervals. Krippendorff's alpha of all grades: {alpha}"
    return _table(heads, rows) + f"\n{note}"


def _judges(judges: Figures) -> str:
    compares = any("agreement" in found for by_judge in judges.values() for found in by_judge.values())
    heads = ["agrees %", "kappa", "longer wins %"] if compares else ["Spearman"]
    rows = []
    for name, by_judge in judges.items():
        for title, found in by_judge.items():
            if compares:
                shown = [
                    _percent(found["agreement"]),
                    _number(found["kappa"]),
                    _percent(found["length"]["longer"]),
                ]
            else:
                shown = [_number(found["spearman"])]
            lacking = "; ".join(f"{number} × {why}" for why, number in found["lacking"].items())
            rows.append([name, title, *shown, str(found["num"]), lacking])
    first = "match" if compares else "model"
    whose = {title: found["who"] for by_judge in judges.values() for title, found in by_judge.items()}
    told = "\n".join(f"{title}: {who}" for title, who in whose.items())
    return (
        _table([first, "judge", *heads, "with both", "without the judge's word"], rows, left=-1) + f"\n{told}"
    )


def _annotators(annotators: Mapping[str, Figures]) -> str:
    rows = [
        [who, str(found["votes"]), str(found["cannot_judge"]), f"{found['passed']} of {found['checks']}"]
        for who, found in annotators.items()
    ]
    return _table(["annotator", "votes", "cannot judge", "checks passed"], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], left: int | None = None) -> str:
    """Columns as wide as they need, the first to the left, the others to the right but that at `left`."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    aligned: list[Callable[[str, int], str]] = [str.ljust, *[str.rjust] * (len(heads) - 1)]
    if left is not None:
        aligned[left] = str.ljust
    lines = (
        "  ".join(align(cell, width) for align, cell, width in zip(aligned, row, widths, strict=True))
        for row in (heads, *rows)
    )
    return "\n".join(line.rstrip() for line in lines)


def _part(count: int, whole: int) -> str:
    return f"{100 * count / whole:.1f}" if whole else NONE


def _percent(found: Figures) -> str:
    return _interval(found, 100, "{:.1f}")


def _number(found: Any, form: str = "{:.2f}") -> str:
    return _interval(found if isinstance(found, Mapping) else {"value": found}, 1, form)


def _interval(found: Figures, times: float, form: str) -> str:
    if found["value"] is None:
        return NONE
    value = form.format(times * found["value"])
    if found.get("low") is None:
        return value
    return f"{value} [{form.format(times * found['low'])}, {form.format(times * found['high'])}]"
