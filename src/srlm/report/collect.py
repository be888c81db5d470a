"""Read a run's folder into plain data for the page; works on unfinished runs too."""

import json
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from srlm.config import flatten
from srlm.records import Pair
from srlm.store.jsonl import read_records
from srlm.store.run import run_states

SAMPLES = 3


@dataclass(frozen=True)
class ModelRow:
    """The figures of one model."""

    name: str
    figures: dict[str, Any]


@dataclass(frozen=True)
class RoundRow:
    """What one round made of its prompts."""

    name: str
    prompts: int
    attempts: int
    dropped: dict[str, int]
    responses: int
    replies: int
    unreadable: dict[str, int]
    flagged: int
    pairs: int
    no_pair: dict[str, int]
    samples: list[Pair]

    @property
    def tie_rate(self) -> float | None:
        total = self.pairs + sum(self.no_pair.values())
        return self.no_pair.get("tie", 0) / total if total else None

    @property
    def unreadable_rate(self) -> float | None:
        return sum(self.unreadable.values()) / self.replies if self.replies else None


@dataclass(frozen=True)
class TrainingRow:
    """One training: its summary and the figures of its steps."""

    step: str
    summary: dict[str, Any]
    log: list[dict[str, float]]


@dataclass(frozen=True)
class Page:
    """All that the report shows."""

    name: str
    verdict: str
    findings: list[str]
    models: list[ModelRow]
    rounds: list[RoundRow]
    trainings: list[TrainingRow]
    seconds: dict[str, float]
    machine: dict[str, Any]
    config: dict[str, Any]
    origins: dict[str, str]


def collect(folder: Path) -> Page:
    """The page of a run; raises RunError when the folder holds none."""
    states = run_states(folder)
    saved = json.loads((folder / "config.json").read_text("utf-8"))
    done = {state["step"]: state for state in states if state["done"]}
    outcome = folder / "outcome.json"
    verdict = json.loads(outcome.read_text("utf-8"))["verdict"] if outcome.exists() else _unfinished(states)
    names = sorted({step.split("/")[0] for step in done}, key=lambda name: int(name[1:]))
    models = [
        ModelRow(name, _json(folder / name / "evaluation/figures.json"))
        for name in names
        if f"{name}/evaluation/figures" in done
    ]
    return Page(
        name=folder.resolve().name,
        verdict=verdict,
        findings=findings(models),
        models=models,
        rounds=[_round(folder, name, done) for name in names if f"{name}/pairs" in done],
        trainings=[_training(folder, step) for step in done if step.endswith(("/sft", "/dpo"))],
        seconds={step: state["seconds"] for step, state in done.items()},
        machine=_json(folder / "run.json"),
        config=flatten(saved["config"]),
        origins=saved["origins"],
    )


def findings(models: list[ModelRow]) -> list[str]:
    """What became of judging and answering from M1 to the last model, in sentences."""
    if len(models) < 2:
        return []
    first, last = models[1], models[-1]
    return _judging(first, last) + _answering(first, last)


def _judging(first: ModelRow, last: ModelRow) -> list[str]:
    judge, longer = last.figures["judge"], last.figures["judge"]["longer_wins"]
    if judge["accuracy"] is None:
        return [f"{last.name} as a judge wrote no readable score on the held-out answers."]
    before = first.figures["judge"]["accuracy"]
    change = (
        f", after {100 * before:.1f} % of {first.name}" if first is not last and before is not None else ""
    )
    said = (
        f"{last.name} as a judge is right on {100 * judge['accuracy']:.1f} % of {judge['pairs']} held-out "
        f"pairs{change}; always preferring the longer answer gets {100 * longer:.1f} %."
    )
    error = (judge["accuracy"] * (1 - judge["accuracy"]) / judge["pairs"]) ** 0.5
    if judge["accuracy"] - 2 * error <= max(longer, 0.5):
        said += " That does not clear the line to beat by two standard errors: its scores prove little."
    return [said]


def _answering(first: ModelRow, last: ModelRow) -> list[str]:
    one, other = first.figures["answers"], last.figures["answers"]
    if first is last or not one["num"] or not other["num"]:
        return []
    return [
        f"Answers to held-out prompts went from {one['tokens']:.0f} tokens to {other['tokens']:.0f} on "
        f"average; {100 * one['ended']:.0f} % and then {100 * other['ended']:.0f} % ended by themselves."
    ]


def _unfinished(states: list[dict[str, Any]]) -> str:
    open_steps = [state["step"] for state in states if not state["done"]]
    where = f"stopped in {open_steps[-1]}" if open_steps else "stopped between two steps"
    return f"The run is not finished: {where}. Run the same command again to go on."


def _round(folder: Path, name: str, done: dict[str, Any]) -> RoundRow:
    made, judged, paired = (done[f"{name}/{stage}"] for stage in ("prompts", "judgments", "pairs"))
    return RoundRow(
        name=name,
        prompts=made["records"],
        attempts=made["counts"].get("attempts", 0),
        dropped=_prefixed(made["counts"], "dropped: "),
        responses=done[f"{name}/responses"]["records"],
        replies=judged["counts"].get("replies", 0),
        unreadable=_prefixed(judged["counts"], "unreadable: "),
        flagged=judged["counts"].get("flagged", 0),
        pairs=paired["records"],
        no_pair=_prefixed(paired["counts"], "no pair: "),
        samples=list(islice(read_records(folder / name / "pairs.jsonl", Pair), SAMPLES)),
    )


def _training(folder: Path, step: str) -> TrainingRow:
    lines = (folder / step / "log.jsonl").read_text("utf-8").splitlines()
    return TrainingRow(step, _json(folder / step / "summary.json"), [json.loads(line) for line in lines])


def _prefixed(counts: dict[str, int], prefix: str) -> dict[str, int]:
    return {
        key.removeprefix(prefix): number for key, number in sorted(counts.items()) if key.startswith(prefix)
    }


def _json(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return values
