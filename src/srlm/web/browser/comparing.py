"""Two models' answers to the same held-out prompts, side by side: which changed most, by score and length."""

import math
import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode

from srlm.errors import DataError
from srlm.web.browser.filling import place
from srlm.web.browser.querying import A_PAGE

ORDERS = {
    "made": ("in order of making", "one.made"),
    "gain": ("largest gain of score first", "gain DESC, one.made"),
    "loss": ("largest loss of score first", "gain IS NULL, gain, one.made"),
    "longer": ("most characters more first", "longer DESC, one.made"),
    "shorter": ("most characters fewer first", "longer, one.made"),
}
VIEWS = {"sides": "side by side", "merged": "as one text"}


@dataclass(frozen=True)
class Couple:
    """Two models to compare, an order or a view of what they answered, and a page or a draw."""

    one: str
    other: str
    order: str = "made"
    page: int = 1
    draw: int = 0
    view: str = "sides"

    def list_address(self, page: int = 1) -> str:
        """The address of the list of their differences."""
        kept = {"one": self.one, "other": self.other}
        kept |= {"sort": self.order} if self.order != "made" else {}
        kept |= {"page": str(page)} if page > 1 else {}
        return f"diff?{urlencode(kept)}"


@dataclass(frozen=True)
class Change:
    """Both answers to a prompt, as rows' ids, with scores by M1 and by the models' own judges.

    `gain` by M1; `longer` in characters.
    """

    prompt: str
    draw: int
    ids: tuple[int, int]
    scores: tuple[float | None, float | None]
    own: tuple[float | None, float | None]
    lengths: tuple[int, int]
    gain: float | None
    longer: int

    @property
    def address(self) -> str:
        return diff_address(self.prompt)


@dataclass(frozen=True)
class Changes:
    """A page of changes; of all of them, how many scores rose, fell and stayed, and how many have none."""

    changes: list[Change]
    number: int
    page: int
    pages: int
    rose: int
    fell: int
    stayed: int

    @property
    def unscored(self) -> int:
        return self.number - self.rose - self.fell - self.stayed


def diff_address(prompt: str) -> str:
    """Where two answers to a prompt are compared; which two, the rest of the address says."""
    return f"diff/{quote(prompt, safe='')}"


def answering(connection: sqlite3.Connection) -> list[str]:
    """The models that answered held-out prompts, in order."""
    rows = connection.execute("SELECT model FROM step WHERE kind = 'answers' AND line > 0")
    return sorted((row[0] for row in rows), key=place)


def couple(models: list[str], address: Mapping[str, str]) -> Couple:
    """What an address asks for; by itself M1 and the last model. Raises DataError for what cannot be."""
    given = {name: value.strip() for name, value in address.items() if value.strip()}
    if unknown := sorted(given.keys() - {"one", "other", "sort", "page", "draw", "view"}):
        raise DataError(unknown[0], "there is no such choice here", "go back to the list of differences")
    if len(models) < 2:
        raise DataError(
            "two models' answers",
            "fewer than two models of this run have answered held-out prompts so far",
            "come back when the next model is measured",
        )
    first = "M1" if "M1" in models[:-1] else models[-2]
    return Couple(
        one=_among(models, "one", given.get("one", first)),
        other=_among(models, "other", given.get("other", models[-1])),
        order=_among(list(ORDERS), "sort", given.get("sort", "made")),
        page=max(_number("page", given.get("page", "1")), 1),
        draw=_number("draw", given.get("draw", "0")),
        view=_among(list(VIEWS), "view", given.get("view", "sides")),
    )


def changes(connection: sqlite3.Connection, asked: Couple) -> Changes:
    """What changed from one model to the other, a page of it."""
    models = {"one": asked.one, "other": asked.other}
    number, *outcomes = connection.execute(
        "SELECT count(*), total(other.score > one.score), total(other.score < one.score), "
        f"total(other.score = one.score) {_BOTH}",
        models,
    ).fetchone()
    pages = max(math.ceil(number / A_PAGE), 1)
    page = min(asked.page, pages)
    rows = connection.execute(
        f"{_CHANGE} {_BOTH} ORDER BY {ORDERS[asked.order][1]} LIMIT {A_PAGE} OFFSET {(page - 1) * A_PAGE}",
        models,
    )
    return Changes([_change(*row) for row in rows], number, page, pages, *map(int, outcomes))


_BOTH = """FROM record AS one JOIN record AS other ON other.prompt = one.prompt AND other.kind = 'answers'
  AND other.draw = one.draw AND other.model = :other WHERE one.kind = 'answers' AND one.model = :one"""
_CHANGE = """SELECT one.prompt, one.draw, one.id, other.id, one.score, other.score, one.own, other.own,
  one.length, other.length, other.score - one.score AS gain, other.length - one.length AS longer"""


def _change(prompt: str, draw: int, *rest: float) -> Change:
    first, second, score, score_of_other, own, own_of_other, length, length_of_other, gain, longer = rest
    return Change(
        prompt,
        draw,
        (int(first), int(second)),
        (score, score_of_other),
        (own, own_of_other),
        (int(length), int(length_of_other)),
        gain,
        int(longer),
    )


def _among(names: list[str], what: str, value: str) -> str:
    if value not in names:
        raise DataError(f"{what}: {value[:80]}", "there is none here", f"take one of {', '.join(names)}")
    return value


def _number(what: str, value: str) -> int:
    if not (value.isascii() and value.isdigit() and len(value) < 8):
        raise DataError(f"{what}: {value[:80]}", "it is no number", "take a whole number, such as 1")
    return int(value)
