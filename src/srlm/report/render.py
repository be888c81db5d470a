"""Write report.md and report.html; everything that a model wrote is escaped."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from srlm.monitors.signals import Signal
from srlm.report.collect import Page, collect

WIDTH, HEIGHT = 300, 90


def write_report(folder: Path) -> tuple[Path, Path]:
    """Markdown and HTML pages in ``folder/report``; raises RunError when there is no run."""
    page = collect(folder)
    out = folder / "report"
    out.mkdir(exist_ok=True)
    for name in ("report.md", "report.html"):
        (out / name).write_text(render(page, name), "utf-8")
    return out / "report.md", out / "report.html"


def render(page: Page, name: str) -> str:
    """The text of ``report.md`` or ``report.html``."""
    return _environment(name).get_template(f"{name}.jinja").render(page=page, curve=curve)


def render_card(page: Page, name: str, licence: str | None) -> str:
    """The card of one model of a run, without its front matter."""
    watched = [row[name] for row in page.signals.values() if name in row]
    return (
        _environment("card.md")
        .get_template("card.md.jinja")
        .render(
            page=page,
            name=name,
            base=page.config["model.name"],
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


def curve(log: list[dict[str, float]], key: str) -> str:
    """The points of an SVG polyline of one figure over the steps, in a box of 300 by 90."""
    values = [line[key] for line in log if key in line]
    if not values:
        return ""
    low, high = min(values), max(values)
    across = WIDTH / max(len(values) - 1, 1)
    return " ".join(
        f"{index * across:.1f},{HEIGHT - 8 - (value - low) / ((high - low) or 1) * (HEIGHT - 16):.1f}"
        for index, value in enumerate(values)
    )


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
