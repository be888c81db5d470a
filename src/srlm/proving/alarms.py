"""What the monitors said of the arms, beside the truth that they cannot see."""

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from srlm.proving.study import Study
from srlm.report.cells import Cell, Table

NOTE = (
    "Seeds in which a signal alarmed after M1, in any round, beside what became of the truth: sampled points "
    "and right greedy answers of the last model above M1's. Signals that alarmed nowhere are left out."
)
Outcome = Mapping[str, Any]


def alarms_table(study: Study) -> Table | None:
    """A row an arm, a column a signal that alarmed anywhere; None where nothing was watched."""
    watched: dict[str, Sequence[Outcome]] = {}
    for arm in study.arms:
        found = (study.outcome(seed, arm) for seed in study.seeds)
        if mine := [one for one in found if one and one.get("alarms")]:
            watched[arm] = mine
    if not watched:
        return None
    heard = {arm: [_after_m1(one["alarms"]) for one in found] for arm, found in watched.items()}
    signals = sorted({name for seeds in heard.values() for one in seeds for name in one})
    rows = tuple(
        (
            arm,
            (
                Cell(f"{_since_m1(found, 'sampled'):+.2f}"),
                Cell(f"{100 * _since_m1(found, 'greedy_right'):+.1f}"),
                *(_heard(name, heard[arm]) for name in signals),
            ),
        )
        for arm, found in watched.items()
    )
    return Table("Alarms", NOTE, ("Arm", "points", "right, greedy", *signals), rows)


def _after_m1(alarms: Mapping[str, Sequence[str]]) -> set[str]:
    return {name for model, names in alarms.items() if model != "M1" for name in names}


def _heard(name: str, seeds: list[set[str]]) -> Cell:
    count = sum(name in one for one in seeds)
    return Cell(f"{count} of {len(seeds)}" if count else "–")


def _since_m1(outcomes: Sequence[Outcome], key: str) -> float:
    return fmean(one["rounds"][-1][key] - one["rounds"][0][key] for one in outcomes)
