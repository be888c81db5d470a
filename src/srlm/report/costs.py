"""What a run cost: seconds by step, tokens, memory, and how near it came to the machine's limit."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cost:
    """One step: seconds; tokens written, or trained on; GiB of its process, where it has its own.

    `share`: of what the machine multiplies at, the products of the weights on its tokens.
    """

    step: str
    seconds: float
    tokens: float | None
    memory: float | None
    share: float | None

    @property
    def rate(self) -> float | None:
        return self.tokens / self.seconds if self.tokens and self.seconds else None


@dataclass(frozen=True)
class Training:
    """What a training's own files add: its tokens, and its summary."""

    tokens: float
    summary: Mapping[str, Any]


_MEASURED = {"machine_gflops", "parameters"}
"""What a summary has to say for the share of the machine's limit."""


def costs(
    states: Iterable[Mapping[str, Any]], trainings: Mapping[str, Training], *, local: bool
) -> list[Cost]:
    """Every step that is done; `trainings` by step; `local`: this machine wrote the responses itself."""
    known = (each.summary for each in trainings.values() if each.summary.keys() >= _MEASURED)
    machine = next(known, None)
    return [
        _of_training(state, trainings[state["step"]])
        if state["step"] in trainings
        else _of_writing(state, machine if local else None)
        for state in states
        if state["done"]
    ]


def _of_training(state: Mapping[str, Any], training: Training) -> Cost:
    summary = training.summary
    memory, share = summary.get("peak_memory_gib"), summary.get("utilisation")
    return Cost(state["step"], state["seconds"], training.tokens, memory, share)


def _of_writing(state: Mapping[str, Any], machine: Mapping[str, Any] | None) -> Cost:
    """Of responses alone the share is known: other texts may be another model's, or mostly read."""
    tokens, share = state["counts"].get("tokens"), None
    if machine and tokens and state["seconds"] and state["step"].endswith("/responses"):
        products = 2 * machine["parameters"] * tokens
        share = products / state["seconds"] / 1e9 / machine["machine_gflops"]
    return Cost(state["step"], state["seconds"], tokens, None, share)
