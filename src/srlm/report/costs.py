"""What a run cost: seconds by step, tokens, memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Cost:
    """One step: seconds; tokens written, or trained on; GiB of its process, where it has its own."""

    step: str
    seconds: float
    tokens: float | None
    memory: float | None

    @property
    def rate(self) -> float | None:
        return self.tokens / self.seconds if self.tokens and self.seconds else None


def costs(states: Iterable[Mapping[str, Any]], trainings: Mapping[str, tuple[float, float]]) -> list[Cost]:
    """Every step that is done; `trainings` by step: tokens, and GiB of the process."""
    return [
        Cost(
            state["step"],
            state["seconds"],
            trainings.get(state["step"], (state["counts"].get("tokens"), None))[0],
            trainings.get(state["step"], (None, None))[1],
        )
        for state in states
        if state["done"]
    ]
