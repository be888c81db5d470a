"""Several runs side by side: what was set otherwise, and what came of it (`srlm report RUN RUN ...`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srlm.monitors.signals import Signal
from srlm.report.collect import Page, collect

COMPARED = (
    "win rate over M1 by the frozen judge",
    "agreement with people, above M1's",
    "length of answers by M1's",
    "length of chosen by rejected",
    "points for twice the length",
    "current judge above the frozen one",
    "KL to M1",
)
"""Signals that tell whether a setting helped, and what it cost."""


@dataclass(frozen=True)
class Comparison:
    """Pages of some runs, and the keys that are not the same in all: by key, the values by run."""

    pages: list[Page]
    settings: dict[str, list[Any]]

    @property
    def rows(self) -> list[tuple[Page, str, dict[str, Signal | None]]]:
        """Run, model and its compared signals, for every model that was watched."""
        return [
            (page, name, {key: page.signals.get(key, {}).get(name) for key in COMPARED})
            for page in self.pages
            for name in page.signal_rounds
            if name != "M1"
        ]


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """The comparison of some runs; raises RunError when a folder holds none."""
    pages = [collect(folder) for folder in folders]
    keys = dict.fromkeys(key for page in pages for key in page.config)
    values = {key: [page.config.get(key, "–") for page in pages] for key in keys}
    other = {key: found for key, found in values.items() if any(value != found[0] for value in found)}
    return Comparison(pages, other)
