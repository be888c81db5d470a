"""The phase map: what one round adds to the truth, by how accurate its judge is and by N."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """One place of the map: an arm, how accurate what ranked there is on the probe, N, and the gain."""

    arm: str
    accuracy: float
    samples: int
    gain: Difference


def phase_map(study: Study) -> list[Place]:
    """Every place of the map that the study has, most accurate first."""
    found = []
    for arm in (arm for arm in study.arms if arm in MAP or arm in OWN):
        outcomes = [outcome for seed in study.seeds if (outcome := study.outcome(seed, arm))]
        done = [one for one in outcomes if len(one.get("rounds", ())) > 1]
        if done:
            gains = [one["rounds"][1][FIGURE] - one["rounds"][0][FIGURE] for one in done]
            accuracy = fmean(one.get("ranker", one["rounds"][0]["judge"]) for one in done)
            found.append(Place(arm, accuracy, samples_of(arm), difference(arm, "M1", FIGURE, gains)))
    gains = corrected([place.gain for place in found])
    whole = [Place(one.arm, one.accuracy, one.samples, gain) for one, gain in zip(found, gains, strict=True)]
    return sorted(whole, key=lambda one: (-round(one.accuracy, 2), one.samples))


def samples_of(arm: str) -> int:
    """N of an arm; 8 where it names none."""
    keys = [key for key in ARMS[arm].overrides if key.startswith("responses.samples=")]
    return int(keys[0].partition("=")[2]) if keys else 8


def map_table(places: Sequence[Place]) -> Table:
    """The map as a table: a row an accuracy, a column an N."""
    columns = sorted({place.samples for place in places})
    rows: dict[str, dict[int, Place]] = {}
    for place in places:
        name = "own judge" if place.arm in OWN else place.arm.rpartition("-n")[0].replace("-", " ")
        rows.setdefault(name, {})[place.samples] = place
    note = (
        "Sampled points of M2 above those of M1, mean over seeds with a 95 % t interval; * where p < .01, "
        "corrected by Holm over the map. Accuracy: pairs in the right order on the fixed probe."
    )
    made = tuple(
        (
            name,
            (
                Cell(f"{_accuracy(row):.2f}"),
                *(_cell(row.get(n)) for n in columns),
            ),
        )
        for name, row in rows.items()
    )
    return Table("Phase map", note, ("Judge", "accuracy", *(f"N = {n}" for n in columns)), made)


def map_figure(places: Sequence[Place]) -> str:
    """The map as curves: gain by accuracy, one for each N, without the model's own judge."""
    there = [place for place in places if place.arm not in OWN]
    curves = {
        f"N = {n}": sorted((one.accuracy, one.gain.mean) for one in there if one.samples == n)
        for n in sorted({one.samples for one in there})
    }
    return lines(curves, "Phase map: what a round adds", "accuracy of the judge", "sampled points")


def _accuracy(row: Mapping[int, Place]) -> float:
    return fmean(place.accuracy for place in row.values())


def _cell(place: Place | None) -> Cell:
    if place is None:
        return Cell("–")
    gain = place.gain
    interval = "" if gain.low is None else f"[{gain.low:+.2f}, {gain.high:+.2f}]"
    return Cell(f"{gain.mean:+.2f}{'*' if gain.is_sure else ''}", interval)
