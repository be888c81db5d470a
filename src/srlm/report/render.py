"""Write report.md and report.html; everything that a model wrote is escaped."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from srlm.report.cells import Table
from srlm.report.collect import Page, collect
from srlm.report.comparing import Comparison, compare_runs
from srlm.report.figures import SECTIONS, compared_figures, figures, paired_figures
from srlm.report.tables import tables

MOST = 6
"""Runs that a figure shows one by one, as many as there are colours."""


def write_report(folder: Path) -> tuple[Path, Path]:
    """Markdown and HTML pages in ``folder/report``; raises RunError when there is no run."""
    page = collect(folder)
    drawn = page.reading.piece("the figures", partial(figures, page)) or {}  # first: it may miss something
    out = folder / "report"
    out.mkdir(exist_ok=True)
    for name in ("report.md", "report.html"):
        (out / name).write_text(render(page, name, drawn), "utf-8")
    return out / "report.md", out / "report.html"


def render(page: Page, name: str, drawn: Mapping[str, Sequence[str]]) -> str:
    """The text of ``report.md`` or ``report.html``; `drawn` are SVG elements by section."""
    shown = {section: [Markup(svg) for svg in drawn.get(section, ())] for section in SECTIONS}  # noqa: S704
    template = environment(name).get_template(f"{name}.jinja")
    return template.render(page=page, figures=shown, tables=tables(page))


def write_comparison(folders: Sequence[Path], out: Path) -> tuple[Path, Path]:
    """Markdown and HTML pages of several runs side by side, in the folder `out`."""
    return write_pages(compare_runs(folders), out)


def write_pages(comparison: Comparison, out: Path) -> tuple[Path, Path]:
    """Markdown and HTML pages of a comparison, in the folder `out`."""
    out.mkdir(parents=True, exist_ok=True)
    apart = [Markup(svg) for svg in paired_figures(comparison.pairing)]  # noqa: S704  our own
    each = comparison.pages if len(comparison.pages) <= MOST else []
    beside = [Markup(svg) for svg in compared_figures(each)]  # noqa: S704
    for name in ("comparison.md", "comparison.html"):
        template = environment(name).get_template(f"{name}.jinja")
        text = template.render(comparison=comparison, figures=beside, paired_figures=apart)
        (out / name).write_text(text, "utf-8")
    return out / "comparison.md", out / "comparison.html"


def comparison_text(comparison: Comparison) -> str:
    """A comparison for a terminal: how far runs are apart, what was set otherwise, what came of each."""
    otherwise = [comparison.otherwise] if comparison.otherwise.rows else []
    each = [] if comparison.pairing.seeds else comparison.tables  # of many runs a page shows them
    tables = [*comparison.pairing.tables, *otherwise, *each]
    parts = [comparison.name, *map(_plain, tables), "\n".join(comparison.missing)]
    return "\n\n".join(part for part in parts if part)


def _plain(table: Table) -> str:
    """A table in columns of plain text: names to the left, figures to the right."""
    rows = [table.columns]
    for name, cells in table.rows:
        rows.append((name, *(" ".join(part for part in (one.text, one.interval) if part) for one in cells)))
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    are_words = [any(text[:1].isalpha() for text in column[1:]) for column in columns]
    aligned = [
        "  ".join(
            text.ljust(width) if words else text.rjust(width)
            for text, width, words in zip(row, widths, are_words, strict=True)
        )
        for row in rows
    ]
    lines = [line.rstrip() for line in aligned]
    return "\n".join([table.title, *([table.note] if table.note else []), *lines])


def environment(name: str) -> Environment:
    """The templates of this folder, for a page of some name: what is shown in HTML is escaped."""
    environment = Environment(
        loader=PackageLoader("srlm", "report"),
        autoescape=name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "share": _share,
        "number": _number,
        "quote": _quote,
    }
    return environment


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _share(estimate: dict[str, Any]) -> str:
    """A share with its 95 % interval, in percent."""
    if estimate["low"] is None:
        return _percent(estimate["value"])
    return f"{_percent(estimate['value'])} [{100 * estimate['low']:.0f}, {100 * estimate['high']:.0f}]"


def _number(value: Any, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _quote(text: str) -> str:
    """A Markdown block that no text inside can leave: indented four spaces."""
    return "\n".join("    " + line for line in text.splitlines()) or "    (empty)"
