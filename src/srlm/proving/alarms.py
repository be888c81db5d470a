"""What the monitors said of the arms, beside the truth that they cannot see."""

from collections.abc import Mapping
from statistics import fmean

from srlm.proving.comparing import Outcomes, Rounds
from srlm.report.cells import Cell, Table

NOTE = (
    "Seeds in which a signal alarmed after M1, in any round, beside what became of the truth: sampled points "
    "and right greedy answers of the last model above M1's. Signals that alarmed nowhere are left out."
)


def alarms_table(outcomes: Outcomes) -> Table | None:
    """A row an arm, a column a signal that alarmed anywhere; None where nothing was watched."""
    watched: dict[str, Mapping[int, Rounds]] = {}
    for arm, seeds in outcomes.items():
        mine = {seed: rounds for seed, rounds in seeds.items() if "alarms" in rounds[-1]}
        if mine:
            watched[arm] = mine
    if not watched:
        return None
    heard = {arm: [_alarms(rounds) for rounds in seeds.values()] for arm, seeds in watched.items()}
    signals = sorted({name for seeds in heard.values() for one in seeds for name in one})
    rows = tuple(
        (
            arm,
            (
                Cell(f"{_since_m1(seeds, 'sampled'):+.2f}"),
                Cell(f"{100 * _since_m1(seeds, 'greedy_right'):+.1f}"),
                *(_heard(name, heard[arm]) for name in signals),
            ),
        )
        for arm, seeds in watched.items()
    )
    return Table("Alarms", NOTE, ("Arm", "points", "right, greedy", *signals), rows)


def _alarms(rounds: Rounds) -> set[str]:
    """The signals that alarmed after M1."""
    return {name for one in rounds[1:] for name in one.get("alarms", ())}


def _heard(name: str, seeds: list[set[str]]) -> Cell:
    count = sum(name in one for one in seeds)
    return Cell(f"{count} of {len(seeds)}" if count else "–")


def _since_m1(seeds: Mapping[int, Rounds], key: str) -> float:
    return fmean(rounds[-1][key] - rounds[0][key] for rounds in seeds.values())
