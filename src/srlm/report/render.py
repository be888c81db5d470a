"""Write report.md and report.html; everything that a model wrote is escaped."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from srlm.monitors.signals import Signal
from srlm.report import paper
from srlm.report.collect import Page, collect
from srlm.report.comparing import COMPARED, compare_runs
from srlm.report.figures import SECTIONS, compared_figures, figures


def write_report(folder: Path) -> tuple[Path, Path]:
    """Markdown and HTML pages in ``folder/report``; raises RunError when there is no run."""
    page = collect(folder)
    out = folder / "report"
    out.mkdir(exist_ok=True)
    for name in ("report.md", "report.html"):
        drawn = figures(page) if name.endswith(".html") else {}
        (out / name).write_text(render(page, name, drawn), "utf-8")
    return out / "report.md", out / "report.html"


def render(page: Page, name: str, drawn: Mapping[str, Sequence[str]]) -> str:
    """The text of ``report.md`` or ``report.html``; `drawn` are SVG elements by section."""
    shown = {section: [Markup(svg) for svg in drawn.get(section, ())] for section in SECTIONS}  # noqa: S704
    template = _environment(name).get_template(f"{name}.jinja")
    return template.render(page=page, figures=shown, known=vars(paper))


def write_comparison(folders: Sequence[Path], out: Path) -> tuple[Path, Path]:
    """Markdown and HTML pages of several runs side by side, in the folder `out`."""
    comparison = compare_runs(folders)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("comparison.md", "comparison.html"):
        template = _environment(name).get_template(f"{name}.jinja")
        drawn = [Markup(svg) for svg in compared_figures(comparison.pages)] if name.endswith("html") else []  # noqa: S704
        text = template.render(comparison=comparison, compared=COMPARED, figures=drawn)
        (out / name).write_text(text, "utf-8")
    return out / "comparison.md", out / "comparison.html"


def render_card(page: Page, name: str, base: str, licence: str | None) -> str:
    """The card of one model of a run, without its front matter."""
    watched = [row[name] for row in page.signals.values() if name in row]
    return (
        _environment("card.md")
        .get_template("card.md.jinja")
        .render(
            page=page,
            name=name,
            base=base,
            licence=licence,
            watched=watched,
            alarms=[item for item in watched if item.alarm],
        )
    )


def _environment(name: str) -> Environment:
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
        "coefficient": _coefficient,
        "number": _number,
        "quote": _quote,
        "signal": _signal,
    }
    return environment


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _share(estimate: dict[str, Any]) -> str:
    """A share with its 95 % interval, in percent."""
    if estimate["low"] is None:
        return _percent(estimate["value"])
    return f"{_percent(estimate['value'])} [{100 * estimate['low']:.0f}, {100 * estimate['high']:.0f}]"


def _coefficient(estimate: dict[str, Any]) -> str:
    """A correlation with its 95 % interval."""
    if estimate["low"] is None:
        return _number(estimate["value"])
    return f"{_number(estimate['value'])} [{estimate['low']:.2f}, {estimate['high']:.2f}]"


def _signal(item: Signal) -> str:
    """A signal's figure with its interval."""
    return _coefficient({"value": item.value, "low": item.low, "high": item.high})


def _number(value: Any, digits: int = 2) -> str:
    return "–" if value is None else f"{value:,.{digits}f}"


def _quote(text: str) -> str:
    """A Markdown block that no text inside can leave: indented four spaces."""
    return "\n".join("    " + line for line in text.splitlines()) or "    (empty)"
