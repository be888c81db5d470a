"""Read a run's folder into plain data for the page; works on unfinished runs too."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from srlm.config import flatten
from srlm.evaluation.suites.tables import suite_table
from srlm.monitors.signals import Signal, watched
from srlm.report.costs import Cost, costs
from srlm.report.evidence import counsel, evidence, findings, preferences, unfinished
from srlm.report.lineage import Link, in_order, lineage
from srlm.report.missing import missing
from srlm.report.people import are_votes, by_name, people_results, study_table
from srlm.report.reading import Reading
from srlm.report.reproducing import command
from srlm.report.rows import (
    ModelRow,
    Results,
    RoundRow,
    TrainingRow,
    model_rows,
    round_row,
    suite_results,
    taught,
    training_row,
)
from srlm.report.samples import Sample, changes, samples
from srlm.store.states import run_states


@dataclass(frozen=True)
class Page:
    """All that the report shows.

    `signals` by their names, of each round by its name; `missing` in words; `results` by suite; `people`,
    what their votes say, by study; `command` makes a run of the same config; `memory`, GiB that the process
    that writes texts held at most.
    """

    reading: Reading
    name: str
    verdict: str
    evidence: str
    findings: list[str]
    lineage: list[Link]
    best: str
    models: list[ModelRow]
    results: Results
    people: dict[str, Any]
    signals: dict[str, dict[str, Signal]]
    taught: str
    rounds: list[RoundRow]
    trainings: list[TrainingRow]
    grades: dict[str, dict[int, int]]
    samples: list[Sample]
    costs: list[Cost]
    memory: float | None
    machine: dict[str, Any]
    config: dict[str, Any]
    origins: dict[str, str]
    command: str

    @property
    def folder(self) -> Path:
        return self.reading.folder

    @property
    def missing(self) -> list[str]:
        return self.reading.missing

    @property
    def signal_rounds(self) -> list[str]:
        """The rounds that were watched, in order."""
        return sorted({name for row in self.signals.values() for name in row}, key=in_order)

    @property
    def suites(self) -> dict[str, str]:
        """The table of every suite as plain text, by its name."""
        return {title: suite_table(kind, results) for title, (kind, results) in self.results.items()}

    def of(self, kind: str) -> dict[str, Any]:
        """The figures by model of the first suite of a kind."""
        return next((results for each, results in self.results.values() if each == kind), {})

    @property
    def matches(self) -> dict[str, Any]:
        """The head-to-heads by their names."""
        return {
            f"{name} against {other}": match
            for name, found in self.of("head_to_head").items()
            for other, match in found.get("against", {}).items()
        }

    @property
    def studies(self) -> dict[str, str]:
        """The table of every study of people's votes as plain text, by its name."""
        return {title: study_table(saved) for title, saved in self.people.items()}

    @property
    def preferred(self) -> dict[str, Any]:
        """What people prefer, by match."""
        return by_name(self.people, "matches")

    @property
    def graded(self) -> dict[str, Any]:
        """How people grade, by model."""
        return by_name(self.people, "models")

    @property
    def alarms(self) -> list[tuple[str, Signal]]:
        """The round and the signal of every alarm, round by round."""
        return [
            (name, row[name])
            for name in self.signal_rounds
            for row in self.signals.values()
            if name in row and row[name].alarm
        ]

    @property
    def to_read(self) -> dict[str, list[Sample]]:
        """The samples by their kind, in order."""
        found: dict[str, list[Sample]] = {}
        for sample in self.samples:
            found.setdefault(sample.kind, []).append(sample)
        return found


def collect(folder: Path) -> Page:
    """The page of a run; raises RunError when the folder holds none.

    What cannot be read, or is not there, costs only its own piece and is named in `missing`.
    """
    states = run_states(folder)
    reading = Reading(folder, {state["step"]: state for state in states if state["done"]}, [])
    for state in states:
        if "unread" in state:
            reading.lacks(f"{state['step']}.step.json", state["unread"])
    saved = reading.values("config.json")
    config = flatten(saved.get("config") or {})
    outcome = reading.values("outcome.json") if (folder / "outcome.json").exists() else {}
    names = _measurable(reading.done)
    models = model_rows(reading, names)
    results = suite_results(reading, config.get("evaluation.suites") or [], names)
    people = people_results(reading)
    signals = signal_table(reading)
    rounds = _rounds(reading)
    steps = [step for step in reading.done if step.endswith(("/sft", "/dpo"))]
    trainings = [training_row(reading, step) for step in steps]
    voted = are_votes(reading, people)
    reading.missing.extend(missing(reading.done, config, names, results, signals, voted=voted))
    judge, written = config.get("judge.judge"), [row.name for row in rounds]
    last = models[-1].name if models else "M1"
    gains = changes(reading, last, judge) if last not in {"M0", "SFT", "M1"} else []
    return Page(
        reading=reading,
        name=folder.resolve().name,
        verdict=outcome.get("verdict") or unfinished(states),
        evidence=evidence(signals),
        findings=[*preferences(by_name(people, "matches")), *findings(models), *counsel(models, config)],
        lineage=lineage(reading.done, {row.step: row.summary for row in trainings}),
        best=outcome.get("best") or _linked(folder),
        models=models,
        results=results,
        people=people,
        signals=signals,
        taught=taught(reading.done.get("M1/eft", {}).get("counts", {})),
        rounds=rounds,
        trainings=trainings,
        grades={
            name: reading.piece(f"grades of {name}", partial(_grades, reading, name)) or {}
            for name in written
        },
        samples=[*gains, *samples(reading, written, judge)],
        costs=costs(
            states,
            {row.step: row.cost for row in trainings},
            local=config.get("engine.kind") == "local",
        ),
        memory=outcome.get("peak_memory_gib"),
        machine=reading.values("run.json"),
        config=config,
        origins=saved.get("origins") or {},
        command=reading.piece("the line to reproduce the run", partial(command, config)) or "",
    )


def signal_table(reading: Reading) -> dict[str, dict[str, Signal]]:
    """What was watched: by a signal's name, then by the round's."""
    table: dict[str, dict[str, Signal]] = {}
    unread: list[str] = []
    for name, signals in watched(reading.folder, unread).items():
        for item in signals:
            table.setdefault(item.name, {})[name] = item
    for name in unread:
        reading.lacks(f"{name}/monitors.json", "it is cut short, or of another version")
    for step in reading.done:
        if step.endswith("/monitors") and not (reading.folder / f"{step}.json").exists():
            reading.lacks(f"{step}.json", "it is not there")
    return table


def _measurable(done: Iterable[str]) -> list[str]:
    """The models that are there, in order: trained, or measured."""
    named = {
        step.split("/")[0] for step in done if re.match(r"(SFT|M\d+)/(sft$|dpo$|evaluation/|watch/)", step)
    }
    return sorted(named, key=in_order)


def _rounds(reading: Reading) -> list[RoundRow]:
    """The rounds that have made pairs."""
    named = {step.split("/")[0] for step in reading.done if re.fullmatch(r"M\d+/(pairs|dpo)", step)}
    rows = []
    for name in sorted(named, key=in_order):
        row = reading.piece(f"round {name}", partial(round_row, reading.done, name))
        rows += [row] if row else []
    return rows


def _grades(reading: Reading, name: str) -> dict[int, int]:
    """How often the round's judge gave each grade; none where the round was not watched."""
    if f"{name}/monitors" not in reading.done:
        return {}
    counts = reading.values(f"{name}/monitors.json").get("grades", {})
    return {int(grade): number for grade, number in counts.items()}


def _linked(folder: Path) -> str:
    """The model that the link `best` leads to; empty where there is none."""
    link = folder / "best"
    return link.readlink().name if link.is_symlink() else ""
