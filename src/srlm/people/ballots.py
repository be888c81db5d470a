"""An annotator's ballots: in which order the items come, and which answer stands at which side.

Both follow from the study's seed, the item and the annotator, so they are the same after a restart and tell
nothing about the models. Of every match half of an annotator's ballots have the first model's answer on the
left, and of two annotators with neighbouring numbers one sees an item the other way round.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from srlm.people.asking import BOTH_BAD, CANNOT_JUDGE, CHOICES, GRADES, Answer, Item
from srlm.records import seed_for


@dataclass(frozen=True)
class Ballot:
    """An item as one annotator sees it; `turned`: its second answer stands on the left."""

    position: int
    item: Item
    turned: bool

    @property
    def answers(self) -> tuple[Answer, ...]:
        """The answers from left to right."""
        return self.item.answers[::-1] if self.turned else self.item.answers


def ballots(items: Sequence[Item], annotator: int, seed: int) -> list[Ballot]:
    """The annotator's ballots in order; their positions are 1, 2, ..."""
    turned = _turned(items, annotator, seed)
    order = sorted(items, key=lambda item: seed_for(seed, "order", annotator, item.id))
    return [Ballot(position, item, turned[item.id]) for position, item in enumerate(order, 1)]


def said(ballot: Ballot, value: str) -> str | None:
    """The choice that a value of the ballot's form means; None for what is no choice of it.

    Of two answers `1` is the left one, clearly, and `5` the right one; of one answer it is the grade.
    """
    if value == CANNOT_JUDGE or (value == BOTH_BAD and len(ballot.item.answers) == 2):
        return value
    if len(ballot.item.answers) == 1:
        return value if value in GRADES else None
    sides = CHOICES[::-1] if ballot.turned else CHOICES
    return dict(zip("12345", sides, strict=True)).get(value)


def shown(ballot: Ballot, choice: str) -> str:
    """The value of the ballot's form that means a choice."""
    if choice not in CHOICES:
        return choice
    return str((CHOICES[::-1] if ballot.turned else CHOICES).index(choice) + 1)


def _turned(items: Sequence[Item], annotator: int, seed: int) -> dict[str, bool]:
    """Whether an item is turned: every other one of each match, in an order that is drawn."""
    matches: dict[tuple[object, ...], list[Item]] = {}
    for item in items:
        matches.setdefault((item.models, item.check), []).append(item)
    found: dict[str, bool] = {}
    for match in matches.values():
        drawn = sorted(match, key=lambda item: seed_for(seed, "side", item.id))
        found |= {item.id: (place + annotator) % 2 == 1 for place, item in enumerate(drawn)}
    return found
