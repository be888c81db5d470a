"""The first of several runs beside each other one: prompt by prompt, or, of settings, seed by seed.

Runs that differ in nothing but their seed are one setting. Where some setting has several, a seed is the
unit, for another seed may train other models; else the unit is a prompt that both runs' models were asked.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import Any

from srlm.evaluation.differences import corrected, difference, mean_over_seeds, paired
from srlm.evaluation.intervals import Estimate, bootstrap
from srlm.monitors.yardsticks import AGREEMENT, FROZEN_WIN_RATE
from srlm.report.by_prompt import SUITES, Measure, Measures, measures
from srlm.report.cells import Cell, Table, at, differences_table, signed
from srlm.report.collect import Page
from srlm.report.lineage import in_order
from srlm.report.tables import harness_mean

Seeds = Mapping[str, Mapping[int, Page]]
"""By setting and seed the page of a run."""
_SWEPT = re.compile(r"/seed\d+$")
"""As a sweep's runs are called, after their setting."""
LONGEST = 60
"""Characters of a setting's name."""
EARLIER = ("M0", "SFT")
"""Models that no setting of the loop touches, or that are not in it."""
WATCHED = (FROZEN_WIN_RATE.format("M1"), AGREEMENT.format("M1"), "KL to M1")
"""Signals that are figures of a model, beside those by prompt."""
NOTE = (
    "The mean over prompts of the difference within a prompt, with its 95 % bootstrap over prompts; "
    "of shares in percentage points. It holds for these trained models alone: another seed may train "
    "others, which several seeds of each setting would tell. Below about 20 prompts the intervals are "
    "too narrow."
)


@dataclass(frozen=True)
class Pairing:
    """`tables`; in words what could not be paired; and to draw: `curves`, by measure and run or setting the
    figures of its models, and `apart`, by measure how far rows are above the `first`; `shares` are measures
    between 0 and 1; `seeds`, where settings have several, their runs."""

    first: str = ""
    tables: list[Table] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    curves: dict[str, dict[str, list[tuple[float, Estimate]]]] = field(default_factory=dict)
    apart: dict[str, list[tuple[str, Estimate]]] = field(default_factory=dict)
    shares: set[str] = field(default_factory=set)
    seeds: Seeds = field(default_factory=dict)


def pairing(pages: Sequence[Page]) -> Pairing:
    """How far runs are apart; empty for one."""
    if len(pages) < 2:
        return Pairing()
    found = [measures(page) for page in pages]
    seeds = by_setting(pages)
    if len(seeds) < len(pages):
        return _over_seeds(seeds, {page.name: one for page, one in zip(pages, found, strict=True)})
    return _over_prompts(pages, found)


def by_setting(pages: Sequence[Page]) -> Seeds:
    """The runs of each setting by seed.

    A setting is called as its folder in a sweep, or by what it differs in, or by its first run.
    """
    alike: dict[tuple[str, int], list[Page]] = {}
    seen: list[tuple[str, Any]] = []
    for page in pages:
        rest = {key: value for key, value in page.config.items() if key != "seed"}
        # Without a config nobody can say that two are the same; and the same run once more is no other seed.
        name = repr(sorted(rest.items())) if rest else page.name
        one = (name, page.config.get("seed"))
        alike.setdefault((name, seen.count(one)), []).append(page)
        seen.append(one)
    groups = list(alike.values())
    firsts = [group[0].config for group in groups]
    keys = sorted({key for one in firsts for key in one if any(one[key] != two.get(key) for two in firsts)})
    swept = {_SWEPT.sub("", group[0].name) for group in groups if _SWEPT.search(group[0].name)}
    named = len(swept) == len(groups)  # each setting has a folder with its seeds in it
    found: dict[str, dict[int, Page]] = {}
    for group in groups:
        name = ",".join(f"{key}={group[0].config.get(key)}" for key in keys if key != "seed")
        own = _SWEPT.sub("", group[0].name)
        own = own if own not in found else group[0].name
        plain = name and len(name) <= LONGEST and name not in found and not named
        short = name if plain else own
        by_seed = {int(page.config.get("seed", 0)): page for page in group}
        found[short] = dict(sorted(by_seed.items()))
    return found


def _over_prompts(pages: Sequence[Page], found: Sequence[Measures]) -> Pairing:
    first, mine = pages[0], found[0]
    made = Pairing(
        first.name, curves=_curves({page.name: one for page, one in zip(pages, found, strict=True)})
    )
    rows: list[tuple[str, tuple[Cell, ...]]] = []
    for page, theirs in zip(pages[1:], found[1:], strict=True):
        for title in mine:
            for model in sorted(mine[title].keys() & theirs.get(title, {}).keys(), key=in_order):
                ours, other = mine[title][model], theirs[title][model]
                if why := apart(ours, other):
                    made.refused.append(
                        f"{title} of {model}: {first.name} and {page.name} {why}, not paired."
                    )
                    continue
                one = paired(ours.values, other.values)
                rows.append((f"{page.name} – {first.name}", _paired_cells(title, model, ours, other, one)))
                made.apart.setdefault(title, []).append((f"{page.name} {model}", one))
                made.shares.update([title] if ours.is_share else [])
    heads = (
        "Runs",
        "Measure",
        "Model",
        first.name,
        "the other",
        "difference",
        "higher / equal / lower",
        "prompts",
    )
    if rows:
        made.tables.append(Table(f"Beside {first.name}, on the same prompts", NOTE, heads, tuple(rows)))
    made.refused.extend(_unpaired(pages))
    return made


def apart(ours: Measure, theirs: Measure) -> str:
    """Why two cannot be paired, as a predicate of both runs; empty where they can."""
    if ours.asked != theirs.asked:
        first, other = len(ours.asked - theirs.asked), len(theirs.asked - ours.asked)
        both = (
            f"{len(ours.asked & theirs.asked)} in both, {first} only in the first, {other} only in the second"
        )
        return f"were asked different prompts ({both})"
    if not ours.values.keys() & theirs.values.keys():
        return "have no prompt for which both have a figure"
    return ""


def _paired_cells(title: str, model: str, ours: Measure, theirs: Measure, one: Estimate) -> tuple[Cell, ...]:
    common = sorted(ours.values.keys() & theirs.values.keys())
    times = 100.0 if ours.is_share else 1.0
    changes = [theirs.values[key] - ours.values[key] for key in common]
    counts = (sum(c > 0 for c in changes), changes.count(0), sum(c < 0 for c in changes))
    lost = len(ours.asked) - len(common)
    means = [sum(side.values[key] for key in common) / len(common) for side in (ours, theirs)]
    return (
        Cell(title),
        Cell(model),
        *(Cell(shown(mean, is_share=ours.is_share)) for mean in means),
        Cell(signed(times * (one.value or 0.0), 2), _interval(one, lambda bound: signed(times * bound, 2))),
        Cell(" / ".join(map(str, counts))),
        Cell(f"{len(common)}" + (f" ({lost} without)" if lost else "")),
    )


def shown(value: float, *, is_share: bool) -> str:
    """A figure in words: a share in percent."""
    if is_share:
        return f"{100 * value:.1f} %"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"


def _interval(one: Estimate, form: Callable[[float], str]) -> str:
    return "" if one.low is None or one.high is None else f"[{form(one.low)}, {form(one.high)}]"


def _curves(found: Mapping[str, Measures]) -> dict[str, dict[str, list[tuple[float, Estimate]]]]:
    """By measure and run the mean over prompts of each model, with its interval."""
    made: dict[str, dict[str, list[tuple[float, Estimate]]]] = {}
    for run, mine in found.items():
        for title, models in mine.items():
            made.setdefault(title, {})[run] = [
                (float(model[1:]), bootstrap(list(one.values.values()), lambda value: (value, 1), seed=0))
                for model, one in models.items()
            ]
    return made


def _unpaired(pages: Sequence[Page]) -> list[str]:
    """Suites that keep no value by prompt, in words."""
    names = {title for page in pages for title, (kind, _) in page.results.items() if kind not in SUITES}
    return [f"Not paired, for no value by prompt is kept: {', '.join(sorted(names))}."] if names else []


@dataclass(frozen=True)
class Figure:
    """A figure of one model of one run, and where it is a mean over prompts, what each has."""

    value: float
    measure: Measure | None = None


Figures = dict[str, dict[str, Figure]]
"""By what was measured and model."""


def figures_of(page: Page, mine: Measures) -> Figures:
    """Every figure of a run: means over prompts, signals, and suites that keep no values by prompt."""
    found: Figures = {
        title: {model: Figure(fmean(one.values.values()), one) for model, one in row.items() if one.values}
        for title, row in mine.items()
    }
    for title in WATCHED:
        found[title] = _known({name: item.value for name, item in page.signals.get(title, {}).items()})
    for title, (kind, results) in page.results.items():
        if kind in SINGLE:
            found[title] = _known({name: SINGLE[kind](one) for name, one in results.items()})
    return {title: row for title, row in found.items() if row}


def _known(values: Mapping[str, float | None]) -> dict[str, Figure]:
    return {
        name: Figure(value) for name, value in values.items() if value is not None and name not in EARLIER
    }


SINGLE: dict[str, Callable[[Mapping[str, Any]], float | None]] = {
    "mt_bench": lambda found: at(found, "both", "value"),
    "harness": lambda found: at(harness_mean(found) or {}, "value"),
}
"""The one figure of a suite that keeps no values by prompt."""


def _over_seeds(seeds: Seeds, found: Mapping[str, Measures]) -> Pairing:
    first, *others = seeds
    figures = {
        name: {seed: figures_of(page, found[page.name]) for seed, page in runs.items()}
        for name, runs in seeds.items()
    }
    titles = list(dict.fromkeys(title for runs in figures.values() for one in runs.values() for title in one))
    made = Pairing(first, seeds=seeds)
    made.shares.update(title for mine in found.values() for title in mine if _is_share(mine[title]))
    differences = []
    for name in others:
        for title in titles:
            changes = _changes(made, (first, name), (figures[first], figures[name]), title)
            differences += [difference(name, first, title, changes)] if changes else []
    rows = {f"{one.arm} – {one.other}: {one.figure}": one for one in corrected(differences)}
    if rows:
        title, units = f"The last models beside {first}, seed by seed", dict.fromkeys(made.shares, 100.0)
        table = differences_table(title, "Settings", rows, units)
        made.tables.append(replace(table, note=f"{table.note} Of shares in percentage points."))
    for one in rows.values():
        made.apart.setdefault(one.figure, []).append((one.arm, one.estimate))
    _add_means(made, figures, titles)
    return made


def _is_share(row: Mapping[str, Measure]) -> bool:
    return any(one.is_share for one in row.values())


def _changes(
    made: Pairing,
    names: tuple[str, str],
    runs: tuple[Mapping[int, Figures], Mapping[int, Figures]],
    title: str,
) -> list[float]:
    """How far the second setting's last model is above the first's, on each seed that both have.

    A seed on which the two were asked different prompts is said and left out.
    """
    found = []
    for seed in runs[0]:
        mine, theirs = (one.get(seed, {}).get(title, {}) for one in runs)
        last = max(mine.keys() & theirs.keys(), key=in_order, default="")
        if not last:
            continue
        ours, other = mine[last], theirs[last]
        if ours.measure and other.measure and (why := apart(ours.measure, other.measure)):
            made.refused.append(f"{title} of {last}: {' and '.join(names)}, seed {seed}, {why}, not paired.")
        else:
            found.append(other.value - ours.value)
    return found


def _add_means(made: Pairing, figures: Mapping[str, Mapping[int, Figures]], titles: Sequence[str]) -> None:
    """A row for every setting and model, and the same to draw."""
    rows = []
    for name, runs in figures.items():
        models = {model for one in runs.values() for row in one.values() for model in row}
        for model in sorted(models, key=in_order):
            cells = []
            for title in titles:
                values = [one[title][model].value for one in runs.values() if model in one.get(title, {})]
                mean = mean_over_seeds(values) if values else Estimate(None, None, None, 0)
                made.curves.setdefault(title, {}).setdefault(name, []).append((float(model[1:]), mean))
                cells.append(_mean_cell(mean, is_share=title in made.shares))
            rows.append((name, (Cell(model), Cell(str(len(runs))), *cells)))
    note = "Means over seeds; in brackets 95 % t intervals, which are wide where seeds are few."
    made.tables.append(Table("Settings", note, ("Setting", "Model", "seeds", *titles), tuple(rows)))


def _mean_cell(mean: Estimate, *, is_share: bool) -> Cell:
    if mean.value is None:
        return Cell("–")

    def form(value: float) -> str:
        return f"{100 * value:.0f}" if is_share else shown(value, is_share=False)

    return Cell(shown(mean.value, is_share=is_share), _interval(mean, form))
