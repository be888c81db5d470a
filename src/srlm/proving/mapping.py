"""The phase map: what one round adds to the truth, by how accurate its judge is, by N and by margin."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from srlm.evaluation.differences import Difference, corrected, difference
from srlm.proving.arms import ARMS, MAP
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
    accuracy: float
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
            accuracy = fmean(one.get("ranker", one["rounds"][0]["judge"]) for one in done)
            where = (accuracy, samples_of(arm), margin_of(arm))
            found.append(Place(arm, *where, difference(arm, "M1", FIGURE, gains)))
    gains = corrected([place.gain for place in found])
    whole = [replace(one, gain=gain) for one, gain in zip(found, gains, strict=True)]
    return sorted(whole, key=lambda one: (-round(one.accuracy, 2), one.samples, one.margin))


def samples_of(arm: str) -> int:
    """N of an arm; 8 where it names none."""
    return int(_value(arm, "responses.samples") or 8)


def margin_of(arm: str) -> float:
    """The margin that an arm wants of a pair's scores, in points; 0 where it names none."""
    return float(_value(arm, "pairs.min_margin") or 0)


def _value(arm: str, key: str) -> str:
    found = [one for one in ARMS[arm].overrides if one.startswith(f"{key}=")]
    return found[0].partition("=")[2] if found else ""


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
                Cell(f"{_accuracy(row):.2f}"),
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
        if place.arm not in OWN:
            curves.setdefault(place.column, []).append((place.accuracy, place.gain.mean))
    curves = {column: sorted(points) for column, points in curves.items()}
    return lines(curves, "Phase map: what a round adds", "accuracy of the judge", "sampled points")


def _accuracy(row: Mapping[str, Place]) -> float:
    return fmean(place.accuracy for place in row.values())


def _cell(place: Place | None) -> Cell:
    if place is None:
        return Cell("–")
    gain = place.gain
    interval = "" if gain.low is None else f"[{gain.low:+.2f}, {gain.high:+.2f}]"
    return Cell(f"{gain.mean:+.2f}{'*' if gain.is_sure else ''}", interval)
