"""The phase map: what one round adds to the truth, by how accurate its judge is, by N and by margin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from srlm.evaluation.differences import Difference, corrected, difference
from srlm.proving.arms import MAP
from srlm.proving.study import Study
from srlm.report.cells import Cell, Table
from srlm.report.charts import lines

OWN = ("n2", "n4", "judge")
"""Arms of the model's own judge that lie on the same map."""
FIGURE = "sampled"


@dataclass(frozen=True)
class Place:
    """A place of the map: an arm, how accurate what ranked there is on the probe, N, margin, the gain."""

    arm: str
    accuracy: float | None
    samples: int
    margin: float
    gain: Difference

    @property
    def column(self) -> str:
        """N, and the margin where there is one."""
        return f"N = {self.samples}" + (f", margin {self.margin:g}" if self.margin else "")


def phase_map(study: Study) -> list[Place]:
    """Every place of the map that the study has, most accurate first."""
    found = []
    for arm in (arm for arm in study.arms if arm in MAP or arm in OWN):
        outcomes = [outcome for seed in study.seeds if (outcome := study.outcome(seed, arm))]
        done = [one for one in outcomes if len(one.get("rounds", ())) > 1]
        if done:
            gains = [one["rounds"][1][FIGURE] - one["rounds"][0][FIGURE] for one in done]
            judges = [one.get("ranker", one["rounds"][0]["judge"]) for one in done]
            known = [right for right in judges if right is not None]
            where = (fmean(known) if known else None, done[0]["samples"], done[0]["margin"])
            found.append(Place(arm, *where, difference(arm, "M1", FIGURE, gains)))
    gains = corrected([place.gain for place in found])
    whole = [replace(one, gain=gain) for one, gain in zip(found, gains, strict=True)]
    return sorted(whole, key=lambda one: (-round(one.accuracy or 0, 2), one.samples, one.margin))


def map_table(places: Sequence[Place]) -> Table:
    """The map as a table: a row an accuracy, a column an N and a margin."""
    across = sorted(places, key=lambda one: (one.samples, one.margin))
    columns = list(dict.fromkeys(place.column for place in across))
    rows: dict[str, dict[str, Place]] = {}
    for place in places:
        name = "own judge" if place.arm in OWN else place.arm.rpartition("-n")[0].replace("-", " ")
        rows.setdefault(name, {})[place.column] = place
    note = (
        "Sampled points of M2 above those of M1, mean over seeds with a 95 % t interval; * where p < .01, "
        "corrected by Holm over the map. Accuracy: pairs in the right order on the fixed probe."
    )
    made = tuple(
        (
            name,
            (
                _accuracy(row),
                *(_cell(row.get(column)) for column in columns),
            ),
        )
        for name, row in rows.items()
    )
    return Table("Phase map", note, ("Judge", "accuracy", *columns), made)


def map_figure(places: Sequence[Place]) -> str:
    """The map as curves: gain by accuracy, one a column, without the model's own judge."""
    across = sorted(places, key=lambda one: (one.samples, one.margin))
    curves: dict[str, list[tuple[float, float]]] = {}
    for place in across:
        if place.arm not in OWN and place.accuracy is not None:
            curves.setdefault(place.column, []).append((place.accuracy, place.gain.mean))
    curves = {column: sorted(points) for column, points in curves.items()}
    return lines(curves, "Phase map: what a round adds", "accuracy of the judge", "sampled points")


def _accuracy(row: Mapping[str, Place]) -> Cell:
    known = [place.accuracy for place in row.values() if place.accuracy is not None]
    return Cell(f"{fmean(known):.2f}" if known else "–")


def _cell(place: Place | None) -> Cell:
    if place is None:
        return Cell("–")
    gain = place.gain
    interval = "" if gain.low is None else f"[{gain.low:+.2f}, {gain.high:+.2f}]"
    return Cell(f"{gain.mean:+.2f}{'*' if gain.is_sure else ''}", interval)
