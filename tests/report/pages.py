"""Pages of runs for tests: nothing in them but what a test gives."""

import dataclasses
from pathlib import Path
from typing import Any

from srlm.monitors.signals import Signal
from srlm.report.collect import Page
from srlm.report.reading import Reading
from srlm.report.rows import ModelRow

EMPTY = Page(
    reading=Reading(Path("runs/demo"), {}, []),
    name="demo",
    verdict="M1 is trained.",
    evidence="",
    findings=[],
    lineage=[],
    best="",
    models=[],
    results={},
    people={},
    signals={},
    taught="",
    rounds=[],
    trainings=[],
    grades={},
    samples=[],
    costs=[],
    memory=None,
    machine={},
    config={},
    origins={},
    command="",
)


def page(**given: Any) -> Page:
    return dataclasses.replace(EMPTY, **given)


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> dict[str, Any]:
    return {"value": value, "low": low, "high": high, "num": 40}


def model(name: str, **judge: Any) -> ModelRow:
    answers = {"num": 10, "tokens": 90.4, "characters": 1300, "ended": 0.65}
    return ModelRow(name, {"judge": judge, "answers": answers, "heldout_loss": None})


def watched(value: float, low: float | None = None, high: float | None = None, alarm: str = "") -> Signal:
    return Signal("KL to M1", "kl", "nats", value, low, high, 40, "above 0.5", alarm or None)


def match(one: str, other: str, counts: tuple[int, int, int], rate: dict[str, Any]) -> dict[str, Any]:
    """A head-to-head of wins, ties and losses."""
    wins, ties, losses = counts
    return {
        "models": [one, other],
        "prompts": sum(counts),
        "wins": wins,
        "ties": ties,
        "losses": losses,
        "win_rate": rate,
        "sign_test": None,
        "unreadable": 0,
        "missing": 0,
    }


def alpaca(raw: float, level: float) -> dict[str, Any]:
    return {
        "records": 8,
        "usable": 8,
        "unreadable": 0,
        "unanswered": 0,
        "missing": 0,
        "faults": [],
        "empty": 0,
        "win_rate": raw,
        "standard_error": 3.0,
        "interval": estimate(raw, raw - 4, raw + 4),
        "discrete": {"wins": 1, "losses": 7, "draws": 0, "win_rate": raw},
        "length": {"model": 900.0, "baseline": 1000.0},
        "length_controlled": {"win_rate": level, "standard_error": 2.0},
    }


def bench(*both: float) -> dict[str, Any]:
    """MT-Bench's figures with a category a grade; their mean is that of all."""

    def means(value: float) -> dict[str, Any]:
        return {part: estimate(value, value - 1, value + 1) for part in ("turn_1", "turn_2", "both")}

    names = ("writing", "math", "coding")
    return {
        **means(sum(both) / len(both)),
        "categories": {name: means(value) for name, value in zip(names, both, strict=False)},
        "aggregates": {"math, coding, reasoning": means(both[-1])},
        "sound_references": means(sum(both) / len(both)),
        "grades": 6,
        "unreadable": 0,
        "missing": [],
        "wrong_references": [],
    }


def harness(**tasks: dict[str, Any]) -> dict[str, Any]:
    """The harness's figures: by a task's name its metrics."""
    return {
        "tasks": {
            name: {"metrics": metrics, "items": 40, "fewshot": 0, "part_of": None}
            for name, metrics in tasks.items()
        }
    }
