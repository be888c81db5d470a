"""The browser's first page in plain data: what each round and model has, and what of the run is not shown."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from srlm.monitors.signals import Signal, watched
from srlm.web.browser.filling import place


@dataclass(frozen=True)
class Mean:
    """Of a kind of records: how many, their mean score and mean length in characters; None where unknown."""

    number: int = 0
    score: float | None = None
    length: float | None = None


@dataclass(frozen=True)
class RoundRow:
    """A model, and the round that made it: its records by kind, and the signals that alarm."""

    name: str
    kinds: dict[str, Mean] = field(default_factory=dict)
    alarms: list[Signal] = field(default_factory=list)

    def of(self, kind: str) -> Mean:
        return self.kinds.get(kind, Mean())


def round_rows(connection: sqlite3.Connection, signals: Mapping[str, list[Signal]]) -> list[RoundRow]:
    """Every model that has records or signals, in order; of judgments those of the round's responses."""
    found = connection.execute(
        "SELECT model, kind, count(*), avg(score), avg(length) FROM record "
        "WHERE kind != 'seeds' AND word IN ('', 'round') GROUP BY model, kind"
    )
    kinds: dict[str, dict[str, Mean]] = {name: {} for name in signals}
    for model, kind, *figures in found:
        kinds.setdefault(model, {})[kind] = Mean(*figures)
    return [
        RoundRow(name, kinds[name], [item for item in signals.get(name, []) if item.alarm])
        for name in sorted(kinds, key=place)
    ]


def alarms_by_name(folder: Path) -> dict[str, list[str]]:
    """The rounds on which each signal alarmed, by its name."""
    found: dict[str, list[str]] = {}
    for name, signals in watched(folder).items():
        for item in signals:
            if item.alarm:
                found.setdefault(item.name, []).append(name)
    return found


def under_way(connection: sqlite3.Connection) -> list[str]:
    """The steps that are begun and not done, with their records so far, in words."""
    rows = connection.execute("SELECT name, line FROM step WHERE digest = '' ORDER BY name")
    return [f"{name} ({line:,} so far)" for name, line in rows]


def problems(connection: sqlite3.Connection, unread: Mapping[str, str]) -> list[str]:
    """What of the run is not shown and why; `unread`: steps whose state says nothing."""
    found = [f"{step}.step.json: {why}" for step, why in unread.items()]
    found += [f"{file}: {why}" for file, why in connection.execute(_LACKING)]
    for file, number, line, why in connection.execute(_FAULTS):
        more = f", and {number - 1:,} more lines" if number > 1 else ""
        found.append(f"{file}, line {line}: {why}{more}")
    return found


_LACKING = "SELECT file, lacking FROM step WHERE lacking != '' ORDER BY file"
_FAULTS = (
    "SELECT file, count(*), min(fault.line), fault.why FROM fault JOIN step ON step.name = fault.step "
    "GROUP BY file ORDER BY file"
)
