"""Several runs side by side: what was set otherwise, what came of it, and how far they are apart.

`srlm compare RUN RUN ...` and `srlm report RUN RUN ...` show it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from srlm.monitors.yardsticks import AGREEMENT, FROZEN_WIN_RATE
from srlm.report.cells import NOT_MEASURED, SAME, Cell, Table, number, share
from srlm.report.collect import Page, collect
from srlm.report.pairing import Pairing, pairing
from srlm.report.tables import ablations, controlled_win_rate, harness_mean, raw_win_rate, signal_cell, turned

COMPARED = (
    FROZEN_WIN_RATE.format("M1"),
    AGREEMENT.format("M1"),
    "length of answers by M1's",
    "length of chosen by rejected",
    "points for twice the length",
    "current judge above the frozen one",
    "KL to M1",
)
"""Signals that tell whether a setting helped, and what it cost."""
FIRST = ("M0", "SFT", "M1")
"""Models that no pair has trained: signals beside M1 begin after them."""
NAMES = ("Run", "Model")
ABSENT = (NOT_MEASURED, SAME, "")
Columns = Mapping[str, Callable[[Page, str], Cell]]
"""Heads, and from a page and the name of a model its cell."""


@dataclass(frozen=True)
class Comparison:
    """Pages of some runs under names that differ, and the keys not the same in all: by key, values by run.

    `lacking`: runs that should be here and are not, in words.
    """

    pages: list[Page]
    settings: dict[str, list[Any]]
    lacking: Sequence[str] = field(default=())

    @cached_property
    def pairing(self) -> Pairing:
        """The first run beside each other one, prompt by prompt; or settings, seed by seed."""
        return pairing(self.pages)

    @property
    def name(self) -> str:
        """The names of all runs, or of how many settings and seeds they are."""
        seeds = self.pairing.seeds
        if not seeds or len(self.pages) < 4:
            return " beside ".join(page.name for page in self.pages)
        num = len({seed for runs in seeds.values() for seed in runs})
        return f"{len(seeds)} setting{'s' * (len(seeds) > 1)}, {num} seeds"

    @property
    def otherwise(self) -> Table:
        """What was set otherwise: a column a run, or a setting where some have several seeds."""
        seeds = self.pairing.seeds
        columns = {name: next(iter(runs.values())) for name, runs in seeds.items()}
        names, pages = (
            (columns, columns.values()) if seeds else ((page.name for page in self.pages), self.pages)
        )
        places = [self.pages.index(page) for page in pages]
        rows = tuple(
            (key, tuple(Cell(str(values[place])) for place in places))
            for key, values in self.settings.items()
            if not (seeds and key == "seed")
        )
        return Table("What was set otherwise", "", ("Key", *names), rows)

    @property
    def tables(self) -> list[Table]:
        """What was measured and what was watched: a row a model of each run, a column for what one has."""
        found = [
            self._table("What came of it", "In brackets 95 % intervals.", MEASURED),
            self._table("Signals", "Models beside M1 of their own run; in brackets 95 % intervals.", WATCHED),
        ]
        return [table for table in found if len(table.columns) > len(NAMES)]

    @property
    def missing(self) -> list[str]:
        """What is not here, what none of the runs has measured, and then what each lacks, in words."""
        paired = self.pairing.refused  # first: it may find that something cannot be read
        there = {title for table in self.tables for title in table.columns}
        absent = [title for title in (*MEASURED, *WATCHED) if title not in there]
        nowhere = [f"Measured in none of these runs: {', '.join(absent)}."] if absent else []
        return [
            *self.lacking,
            *paired,
            *nowhere,
            *(f"Not in {page.name}: {'; '.join(page.missing)}." for page in self.pages if page.missing),
        ]

    @property
    def ablations(self) -> Table:
        """The paper's own comparisons of this kind."""
        return ablations()

    def _table(self, title: str, note: str, columns: Columns) -> Table:
        rows = [(page, model.name) for page in self.pages for model in page.models]
        cells = {head: [cell(page, name) for page, name in rows] for head, cell in columns.items()}
        there = {head: made for head, made in cells.items() if any(one.text not in ABSENT for one in made)}
        return Table(
            title=title,
            note=note,
            columns=(*NAMES, *there),
            rows=tuple(
                (page.name, (Cell(name), *(made[place] for made in there.values())))
                for place, (page, name) in enumerate(rows)
            ),
        )


def compare_runs(folders: Sequence[Path], lacking: Sequence[str] = ()) -> Comparison:
    """The comparison of some runs, each once; raises RunError when a folder holds none."""
    apart = list(dict.fromkeys(folder.resolve() for folder in folders))
    pages = [replace(collect(folder), name=name) for folder, name in zip(apart, labels(apart), strict=True)]
    keys = dict.fromkeys(key for page in pages for key in page.config)
    values = {key: [page.config.get(key, "–") for page in pages] for key in keys}
    other = {key: found for key, found in values.items() if any(value != found[0] for value in found)}
    return Comparison(pages, other, lacking)


def labels(folders: Sequence[Path]) -> list[str]:
    """The names of different folders, with as many of their parents as tell all of them apart."""
    depth = 1
    while len({folder.parts[-depth:] for folder in folders}) < len(folders):
        depth += 1
    return [str(Path(*folder.parts[-depth:])) for folder in folders]


def _signal(title: str) -> Callable[[Page, str], Cell]:
    def cell(page: Page, name: str) -> Cell:
        item = page.signals.get(title, {}).get(name)
        if item is None:
            return Cell(SAME if name in FIRST else NOT_MEASURED)
        return signal_cell(item)

    return cell


def _model(cell: Callable[[Mapping[str, Any]], Cell]) -> Callable[[Page, str], Cell]:
    """From the figures that every model has."""
    return lambda page, name: cell(next(row.figures for row in page.models if row.name == name))


def _suite(kind: str, cell: Callable[[Mapping[str, Any]], Cell]) -> Callable[[Page, str], Cell]:
    """From the figures of a suite."""
    return lambda page, name: cell(page.of(kind).get(name, {}))


def _pairs(page: Page, name: str) -> Cell:
    made = {row.name: f"{row.pairs:,}" for row in page.rounds}
    return Cell(made.get(name, SAME if name in FIRST else NOT_MEASURED))


def _against_first(page: Page, name: str) -> Cell:
    """The win rate over M1, head to head; of a model before M1 from the other side."""
    if name == "M1":
        return Cell(SAME)
    if before := page.matches.get(f"M1 against {name}"):
        return share("rate")({"rate": turned(before["win_rate"])})
    return share("win_rate")(page.matches.get(f"{name} against M1", {}))


MEASURED: Columns = {
    "Pairs": _pairs,
    "Answer tokens": _model(number("answers.tokens", "{:,.0f}")),
    "Characters": _model(number("answers.characters", "{:,.0f}")),
    "Pairs right": _model(share("judge.pairwise.half")),
    "Head to head: win rate over M1": _against_first,
    "AlpacaEval, %": _suite("alpaca_eval", raw_win_rate),
    "AlpacaEval at equal length, %": _suite("alpaca_eval", controlled_win_rate),
    "MT-Bench": _suite("mt_bench", number("both")),
    "Mean of the NLP tests": _suite("harness", lambda found: share("mean")({"mean": harness_mean(found)})),
}
WATCHED: Columns = {title: _signal(title) for title in COMPARED}
