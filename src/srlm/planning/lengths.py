"""How long answers are: drawn from a run's own, or from a stated default."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from srlm.errors import RunError
from srlm.records import Judgment, Response
from srlm.store.jsonl import read_records

MEDIAN, SPREAD = 0.3, 0.7
"""The default: log-normal, the median at this share of the budget and this sigma, cut off at the budget.

The paper's answers are 1,092 to 2,552 characters long, 13 to 31 % of the 2,048 tokens of its recipe here.
"""


@dataclass(frozen=True)
class Lengths:
    """Answers as shares of their budget, by kind of step (responses, judgments); `always`: one for all."""

    measured: Mapping[str, np.ndarray[Any, Any]] = field(default_factory=dict)
    always: float | None = None

    def draw(self, kind: str, budget: int, number: int, chance: np.random.Generator) -> np.ndarray[Any, Any]:
        """Lengths of so many answers in tokens, from 1 to the budget."""
        if self.always is not None:
            shares = np.full(number, self.always)
        elif len(self.measured.get(kind, ())):
            shares = chance.choice(self.measured[kind], number)
        else:
            shares = MEDIAN * np.exp(SPREAD * chance.standard_normal(number))
        drawn: np.ndarray[Any, Any] = np.clip(np.rint(shares * budget), 1, budget).astype(int)
        return drawn


def lengths_of_run(folder: Path, budgets: Mapping[str, int]) -> Lengths:
    """The lengths of a run's responses and judgments, as shares of its budgets; raises RunError."""
    found: dict[str, list[float]] = {"responses": [], "judgments": []}
    for path in sorted(folder.glob("M*/responses.jsonl")):
        found["responses"] += [
            item.num_tokens / budgets["responses"] for item in read_records(path, Response)
        ]
    for path in sorted(folder.glob("M*/judgments.jsonl")):
        for item in read_records(path, Judgment):
            replies = len(item.replies) + item.retries  # num_tokens counts those that were asked for again
            found["judgments"] += [item.num_tokens / replies / budgets["judgments"]] * len(item.replies)
    if not found["responses"]:
        raise RunError(
            f"--lengths {folder}",
            "there are no responses of a round in it",
            "name the folder of a run that has come as far as M2/responses, or leave it out",
        )
    return Lengths({kind: np.array(values) for kind, values in found.items()})
