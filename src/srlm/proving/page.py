"""The report of a study: a verdict in words, tables of truth, judge and pairs, paired differences, curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from markupsafe import Markup

from srlm.evaluation.differences import SURE, Difference
from srlm.proving.alarms import alarms_table
from srlm.proving.arms import ARMS, CONTROLS, MAP
from srlm.proving.comparing import Outcomes, Rounds, beside_controls, since_m1
from srlm.proving.mapping import Place, map_figure, map_table, phase_map
from srlm.proving.study import Study
from srlm.report.cells import Cell, Table, differences_table
from srlm.report.charts import lines
from srlm.report.render import environment

TRUTH = {
    "greedy": "greedy, points",
    "greedy_right": "greedy, right",
    "sampled": "sampled, points",
    "sampled_right": "sampled, right",
    "pass_8": "pass@8",
    "judge": "judge, pairs",
    "tokens": "tokens",
    "ended": "ended",
}
PAIRS = {
    "pairs": "pairs",
    "ties": "ties",
    "chosen": "chosen, points",
    "rejected": "rejected, points",
    "chosen_right": "chosen, right",
    "pair_right": "order right",
    "no_task": "no task",
    "judge_pairs": "judge pairs",
    "judge_pair_right": "nearer the truth",
    "longer": "chosen longer by",
}
CURVES = ("greedy", "sampled", "judge", "tokens")
SHARES = {
    "greedy_right",
    "sampled_right",
    "pass_8",
    "judge",
    "ended",
    "ties",
    "chosen_right",
    "pair_right",
    "no_task",
    "judge_pair_right",
}


@dataclass(frozen=True)
class Page:
    """What a study says: sentences, what is missing, tables, and SVG figures."""

    title: str
    verdicts: list[str]
    missing: list[str]
    arms: Mapping[str, str]
    tables: list[Table]
    figures: list[str]


def write_page(page: Page, folder: Path) -> tuple[Path, Path]:
    """The page as Markdown and HTML in a folder."""
    for name in ("study.md", "study.html"):
        figures = [Markup(svg) for svg in page.figures] if name.endswith("html") else []  # noqa: S704  our own
        text = environment(name).get_template(f"{name}.jinja").render(page=page, figures=figures)
        (folder / name).write_text(text, "utf-8")
    return folder / "study.md", folder / "study.html"


def page_of(study: Study) -> Page:
    """All of a study that is done, put together."""
    everything, places = outcomes_of(study), _map_of(study)
    outcomes = {arm: found for arm, found in everything.items() if arm not in MAP}
    differences = beside_controls(outcomes, CONTROLS, "sampled")
    judges = since_m1(outcomes, "judge")
    gains, alarms = since_m1(outcomes, "sampled"), alarms_table(study)
    return Page(
        title=f"A proving ground: {_counted(len(everything), 'arm')}, {_counted(len(study.seeds), 'seed')}",
        verdicts=[*verdicts(outcomes, differences), *_judging(judges)],
        missing=missing(study),
        arms={arm: ARMS[arm].asks for arm in study.arms if arm not in MAP},
        tables=[
            _differences("Beside the controls", differences),
            _differences("The last model beside M1: points", gains),
            _differences("The last model beside M1: its judge, pairwise accuracy", judges),
            *([map_table(places)] if places else []),
            _figures("Truth, round by round", TRUTH, everything),
            _figures("Pairs", PAIRS, everything, skip=1),
            *([alarms] if alarms else []),
        ],
        figures=[*([map_figure(places)] if places else []), *_curves(outcomes)],
    )


def _map_of(study: Study) -> list[Place]:
    """The phase map, where any arm of it was run."""
    return phase_map(study) if any(arm in MAP for arm in study.arms) else []


def outcomes_of(study: Study) -> Outcomes:
    """The rounds of every arm and seed that has them."""
    found: dict[str, dict[int, Any]] = {}
    for arm in study.arms:
        for seed in study.seeds:
            outcome = study.outcome(seed, arm)
            if outcome and "rounds" in outcome:
                found.setdefault(arm, {})[seed] = outcome["rounds"]
    return found


def verdicts(outcomes: Outcomes, differences: Sequence[Difference]) -> list[str]:
    """What may be said, in words: which arms beat which control, which not, and by how much."""
    said = []
    for arm in outcomes:
        mine = [one for one in differences if one.arm == arm]
        if mine:
            said.append(f"{arm}: {'; '.join(map(_said, mine))}.")
    return said


def missing(study: Study) -> list[str]:
    """What is not in the figures and why: failed seeds, crashed arms, what is not done."""
    said = []
    for seed in study.seeds:
        found = {arm: study.outcome(seed, arm) for arm in study.arms}
        if any(one and one.get("ground") for one in found.values()):
            why = next(one["failure"] for one in found.values() if one and one.get("ground"))
            said.append(f"Seed {seed} is in no figure: {why}.")
            continue
        said += [
            f"{arm}, seed {seed}: {one['failure']}" for arm, one in found.items() if one and "failure" in one
        ]
        said += [f"{arm}, seed {seed}: not done yet." for arm, one in found.items() if one is None]
    return said


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _said(one: Difference) -> str:
    how = f"{one.mean:+.2f} points against {one.other}"
    if one.p is None:
        return f"{how} (one seed, or all alike: nothing can be said)"
    verdict = "beats" if one.mean > 0 else "is worse than"
    shown = f"{verdict} {one.other}" if one.is_sure else f"no difference to {one.other} shown"
    return f"{shown}, {one.mean:+.2f} [{one.low:+.2f}, {one.high:+.2f}] points (p = {one.p:.2g})"


def _judging(judges: Sequence[Difference]) -> list[str]:
    if all(one.p is None for one in judges):
        return []  # one seed, or none: nothing can be said
    better = [one.arm for one in judges if one.is_sure and one.mean > 0]
    worse = [one.arm for one in judges if one.is_sure and one.mean < 0]
    said = "Judging on the fixed probe"
    if not better and not worse:
        return [f"{said} changes in no arm (p < {SURE})."]
    parts = [f"improves in {', '.join(better)}"] if better else []
    parts += [f"falls in {', '.join(worse)}"] if worse else []
    return [f"{said} {' and '.join(parts)} (p < {SURE})."]


def _differences(title: str, found: Sequence[Difference]) -> Table:
    return differences_table(title, "Arm", {f"{one.arm} – {one.other}": one for one in found})


def _figures(title: str, columns: Mapping[str, str], outcomes: Outcomes, skip: int = 0) -> Table:
    """Means over seeds, a row a model; without the columns of what no arm has."""
    every = [one for seeds in outcomes.values() for rounds in seeds.values() for one in rounds]
    columns = {key: head for key, head in columns.items() if any(key in one for one in every)}
    rows = []
    for arm, seeds in outcomes.items():
        for place in range(skip, max(map(len, seeds.values()))):
            rounds = [one[place] for one in seeds.values() if place < len(one)]
            cells = tuple(_mean(key, [one.get(key) for one in rounds]) for key in columns)
            rows.append((f"{arm} {rounds[0]['model']}", (Cell(str(len(rounds))), *cells)))
    return Table(title, "Means over seeds.", ("Arm", "seeds", *columns.values()), tuple(rows))


def _mean(key: str, values: Sequence[float | None]) -> Cell:
    known = [value for value in values if value is not None]
    if not known:
        return Cell("–")
    return Cell(f"{100 * fmean(known):.1f} %" if key in SHARES else f"{fmean(known):.2f}")


def _curves(outcomes: Outcomes) -> list[str]:
    """Means over seeds by model, of the figures in which arms part."""
    drawn = []
    for key in CURVES:
        paths = {arm: path for arm, seeds in outcomes.items() if (path := _path(seeds, key))}
        if paths:
            drawn.append(lines(paths, f"{TRUTH[key]}, mean over seeds", "model M", TRUTH[key]))
    return drawn


def _path(seeds: Mapping[int, Rounds], key: str) -> list[tuple[float, float]]:
    """(number of the model, mean figure), without the models for which no seed has one."""
    found = []
    for place in range(max(map(len, seeds.values()))):
        values = [one[place].get(key) for one in seeds.values() if place < len(one)]
        known = [value for value in values if value is not None]
        if known:
            found.append((place + 1.0, fmean(known)))
    return found
