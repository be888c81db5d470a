"""What people are asked: two answers to compare, or one to rate; the words that they may say."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from srlm.records import content_id

Kind = Literal["comparison", "rating"]
Check = Literal["", "same", "bad"]
"""An attention check: two equal answers, or one that answers another prompt."""

CHOICES = ("first_clearly", "first_slightly", "tie", "second_slightly", "second_clearly")
"""Of two answers, from the first's side to the second's."""
BOTH_BAD, CANNOT_JUDGE, SKIPPED, WITHDRAWN = "both_bad", "cannot_judge", "skipped", "withdrawn"
GRADES = ("0", "1", "2", "3", "4", "5")
"""Of one answer, by the rubric."""
REASONS = ("correct", "complete", "clear", "too long", "unsafe")
"""Tags that a vote may have."""


@dataclass(frozen=True)
class Answer:
    """A model's answer: whose, the id of its response, and its text."""

    model: str
    id: str
    text: str


@dataclass(frozen=True)
class Item:
    """A prompt with two answers to compare or one to rate; `check`: an attention check, and which."""

    prompt_id: str
    prompt: str
    answers: tuple[Answer, ...]
    check: Check = ""

    @cached_property
    def id(self) -> str:
        return content_id("item", self.prompt_id, [[one.model, one.id] for one in self.answers], self.check)

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(one.model for one in self.answers)


@dataclass(frozen=True)
class Vote:
    """What an annotator (1, 2, ...) says of an item.

    `choice` is one of CHOICES, by the item's answers and not by sides, BOTH_BAD or CANNOT_JUDGE; of one
    answer a grade or CANNOT_JUDGE. `at`: UTC, ISO 8601.
    """

    item: str
    annotator: int
    choice: str
    reasons: tuple[str, ...] = ()
    note: str = ""
    at: str = ""


def choices_of(kind: Kind) -> tuple[str, ...]:
    """All that may be said of an item of a kind."""
    return (*CHOICES, BOTH_BAD, CANNOT_JUDGE) if kind == "comparison" else (*GRADES, CANNOT_JUDGE)
