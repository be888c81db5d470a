"""The card of one model of a run: what it came of, what was measured on the way, and every alarm."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from srlm.report.collect import Page
from srlm.report.evidence import evidence, preferences
from srlm.report.lineage import ancestors
from srlm.report.render import environment

BUILTIN = "builtin"


def render_card(page: Page, name: str, base: str, licence: str | None) -> str:
    """The card of one model of a run, without its front matter."""
    own = up_to(page, name)
    return (
        environment("card.md")
        .get_template("card.md.jinja")
        .render(
            page=own,
            name=name,
            base=base,
            licence=licence,
            data=seed_data(page, name),
            watched=[row[name] for row in own.signals.values() if name in row],
            votes=preferences(matches_of(page, name)),
        )
    )


def matches_of(page: Page, name: str) -> dict[str, Any]:
    """People's votes on a model beside those that it came of."""
    known = {*ancestors(name), "SFT"}
    found = page.preferred.items()
    return {title: match for title, match in found if name in match["models"] and known >= {*match["models"]}}


def up_to(page: Page, name: str) -> Page:
    """The page with nothing of what came after a model, or beside it.

    The SFT baseline belongs to those that it taught judging: it scored their answers.
    """
    taught = ["SFT"] if "SFT/judgments" in page.reading.done else []
    kept = {*ancestors(name), *taught}
    rows = {
        title: {model: item for model, item in row.items() if model in kept}
        for title, row in page.signals.items()
    }
    signals = {title: row for title, row in rows.items() if row}
    tables = {
        title: (kind, {model: found for model, found in results.items() if model in kept})
        for title, (kind, results) in page.results.items()
    }
    last = page.trainings[-1].step.split("/")[0] if page.trainings else name
    return replace(
        page,
        verdict=page.verdict if name == last else "",
        evidence=evidence(signals),
        models=[row for row in page.models if row.name in kept],
        results={title: (kind, results) for title, (kind, results) in tables.items() if results},
        signals=signals,
        trainings=[row for row in page.trainings if row.step.split("/")[0] in kept],
    )


def seed_data(page: Page, name: str) -> str:
    """The human data that a model rests on, in words; files by their names alone."""
    first = name if name == "SFT" else "M1"
    counts = next((link.data for link in page.lineage if link.after == first), ())
    instructions, ranked = (_sources(page.config, key) for key in ("data.instructions", "data.ranked"))
    how_many = " and ".join(counts) or "how many is not known"
    return f"instructions of {instructions}, ranked answers of {ranked}; {how_many}"


def _sources(config: Mapping[str, Any], key: str) -> str:
    names = config.get(key) or ["a source that is not known"]
    return " and ".join("srlm's built-in seed" if name == BUILTIN else Path(name).name for name in names)
