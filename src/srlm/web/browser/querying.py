"""What is asked of the index by a page's address, and what it finds: filters, an order, pages of rows.

An address is data: every value is checked against what the run has, and reaches SQL as a parameter alone.
"""

import json
import math
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from srlm.errors import DataError
from srlm.web.browser.filling import place
from srlm.web.browser.tables import matching, phrases

A_PAGE = 50
"""Records of a list's page."""
LONGEST = 300
"""Characters of a search."""
MOST_WORDS = 24
"""Words and phrases of a search."""

TITLES = {
    "prompts": "Prompts",
    "responses": "Responses",
    "judgments": "Judgments",
    "pairs": "Pairs",
    "answers": "Held-out answers",
}
"""The kinds of records that have a list."""
LABELS = {
    "q": "Search",
    "in": "Search in",
    "round": "Round",
    "word": "Judged",
    "score_from": "Score from",
    "score_to": "Score to",
    "length_from": "Characters from",
    "length_to": "Characters to",
    "reason": "A draw without a score, because",
    "flagged": "Text in the form of a verdict",
    "role": "In a pair",
    "alarm": "Rounds with an alarm of",
}
_COMMON = ("q", "in", "round", "score_from", "score_to", "length_from", "length_to", "alarm")
FILTERS = {
    "prompts": tuple(name for name in _COMMON if name != "in"),
    "responses": (*_COMMON, "reason", "flagged", "role"),
    "judgments": (*_COMMON, "word", "reason", "flagged"),
    "pairs": _COMMON,
    "answers": (*_COMMON, "reason", "flagged"),
}
CHOICES = {
    "in": {"text": "its own text", "prompt": "its prompt"},
    "word": {
        "round": "a round's responses",
        "own": "held-out answers, by the model's own judge",
        "frozen": "held-out answers, by M1",
    },
    "flagged": {"yes": "found", "no": "not found"},
    "role": {"chosen": "chosen", "rejected": "rejected", "none": "neither"},
}
"""Of the filters that are the same for all runs: value and label."""
_ORDERS = {  # where nothing is known comes last; of falling figures SQLite does so by itself
    "made": ("in order of making", "made"),
    "score": ("highest score first", "score DESC, made"),
    "low_score": ("lowest score first", "score IS NULL, score, made"),
    "longest": ("longest first", "length DESC, made"),
    "shortest": ("shortest first", "length, made"),
    "variance": ("largest variance first", "variance DESC, made"),
    "gap": ("widest gap of scores first", "gap DESC, made"),
    "narrow_gap": ("narrowest gap of scores first", "gap, made"),
}
_PLAIN = ("made", "score", "low_score", "longest", "shortest")
ORDERS = {
    "prompts": _PLAIN,
    "responses": (*_PLAIN, "variance"),
    "judgments": (*_PLAIN, "variance"),
    "pairs": (*_PLAIN, "gap", "narrow_gap"),
    "answers": (*_PLAIN, "variance"),
}
_WORDS = "SELECT rowid FROM search_{0} WHERE search_{0} MATCH :q"
_CONDITIONS = {
    "round": "model = :round",
    "word": "word = :word",
    "score_from": "score >= :score_from",
    "score_to": "score <= :score_to",
    "length_from": "length >= :length_from",
    "length_to": "length <= :length_to",
    "reason": "instr(reasons, :reason)",
    "flagged": "flagged = (:flagged = 'yes')",
    "role": "coalesce(role, 'none') = :role",
    "alarm": "model IN (SELECT value FROM json_each(:alarm))",
}

Given = Mapping[str, str]
"""Filters by name, as they stand in the address."""
Alarms = Mapping[str, Sequence[str]]
"""By a signal's name the rounds on which it alarmed."""


@dataclass(frozen=True)
class Options:
    """What a kind's filters may be in this run: value and label, by the filter's name."""

    kind: str
    choices: Mapping[str, Mapping[str, str]]
    alarms: Alarms


@dataclass(frozen=True)
class Asked:
    """A list page that is asked for: its filters, all valid, its order and its page, from 1."""

    kind: str
    given: Given
    order: str
    page: int

    @property
    def terms(self) -> list[str]:
        """The words and phrases that are searched."""
        return phrases(self.given.get("q", ""))

    def address(self, *, without: str = "", page: int = 1) -> str:
        """The list's address with these filters but one, and another page."""
        kept = {name: value for name, value in self.given.items() if name != without}
        if without == "q":
            kept.pop("in", None)
        kept |= {"sort": self.order} if self.order != "made" and without != "sort" else {}
        kept |= {"page": str(page)} if page > 1 else {}
        return f"{self.kind}?{urlencode(kept)}" if kept else self.kind


@dataclass(frozen=True)
class Found:
    """Rows of one page, how many there are on all pages, and the pages; `page` is one that is there."""

    rows: list[sqlite3.Row]
    number: int
    page: int
    pages: int


def options(connection: sqlite3.Connection, kind: str, alarms: Alarms) -> Options:
    """What a list of this run can be filtered by."""
    models = [row[0] for row in connection.execute("SELECT DISTINCT model FROM step WHERE kind = ?", [kind])]
    said = connection.execute(
        "SELECT DISTINCT reasons FROM record WHERE kind = ? AND reasons IS NOT NULL", [kind]
    )
    reasons = sorted({reason for row in said for reason in row[0].split("\n") if reason})
    rounds = {name: f"{name} ({', '.join(where)})" for name, where in alarms.items()}
    found = {
        "round": {name: name for name in sorted(models, key=place)},
        "reason": {name: name for name in reasons},
        "alarm": rounds,
    }
    return Options(kind, {**CHOICES, **found}, alarms)


def asked(has: Options, address: Given) -> Asked:
    """The page that an address asks for; raises DataError for what it cannot mean in this run."""
    given = {name: value.strip() for name, value in address.items() if value.strip()}
    order, page = given.pop("sort", "made"), given.pop("page", "1")
    names, orders = FILTERS[has.kind], ORDERS[has.kind]
    for name, value in given.items():
        if name not in names:
            raise _refused(name, value, "there is no such filter here", f"take one of {', '.join(names)}")
        _check(has, name, value)
    if order not in orders:
        raise _refused("sort", order, "there is no such order here", f"take one of {', '.join(orders)}")
    if not (page.isascii() and page.isdigit() and 0 < len(page) < 8 and int(page)):
        raise _refused("page", page, "it is no number of a page", "take 1 for the first page")
    _check_order(given, "score_from", "score_to")
    _check_order(given, "length_from", "length_to")
    if "q" not in given:
        given.pop("in", None)
    return Asked(has.kind, given, order, int(page))


def find(connection: sqlite3.Connection, has: Options, asked: Asked) -> Found:
    """The rows that a page shows, in its order; of a page that is too high those of the last one."""
    where, values = _condition(has, asked)
    (number,) = connection.execute(f"SELECT count(*) FROM record WHERE {where}", values).fetchone()  # noqa: S608
    pages = max(math.ceil(number / A_PAGE), 1)
    page = min(asked.page, pages)
    order = f"{_ORDERS[asked.order][1]} LIMIT {A_PAGE} OFFSET {(page - 1) * A_PAGE}"
    ids = connection.execute(f"SELECT id FROM record WHERE {where} ORDER BY {order}", values)  # noqa: S608
    return Found(rows_of(connection, [row[0] for row in ids]), number, page, pages)


def rows_of(connection: sqlite3.Connection, ids: Sequence[int]) -> list[sqlite3.Row]:
    """Whole rows by their ids, in the order of these."""
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    statement = "SELECT * FROM record WHERE id IN (SELECT value FROM json_each(?))"
    rows = cursor.execute(statement, [json.dumps(ids)])
    found = {row["id"]: row for row in rows}
    return [found[key] for key in ids if key in found]


def rows_among(connection: sqlite3.Connection, column: str, values: Sequence[str]) -> list[sqlite3.Row]:
    """The rows whose `column` (key, subject, prompt) has one of these values, in order of making."""
    cursor = connection.cursor()
    cursor.row_factory = sqlite3.Row
    statement = f"SELECT * FROM record WHERE {column} IN (SELECT value FROM json_each(?)) ORDER BY made"  # noqa: S608
    return cursor.execute(statement, [json.dumps(values)]).fetchall()


def shown_value(name: str, value: str, has: Options) -> str:
    """A filter's value in words."""
    return has.choices[name][value] if name in has.choices else value


def order_names(kind: str) -> dict[str, str]:
    """The orders of a kind's list, value and label."""
    return {name: _ORDERS[name][0] for name in ORDERS[kind]}


def _condition(has: Options, asked: Asked) -> tuple[str, dict[str, object]]:
    """Filters as SQL with named parameters, and their values."""
    values: dict[str, object] = {"kind": asked.kind}
    parts = []
    for name, value in asked.given.items():
        if name == "q":
            values["q"] = matching(value)
            parts.append(_searched(asked))
        elif name in _CONDITIONS:
            values[name] = _parameter(has, name, value)
            parts.append(_CONDITIONS[name])
    # A plus keeps SQLite from going through a whole kind where a few rows are found by their words.
    kind = "+kind = :kind" if "q" in asked.given else "kind = :kind"
    return " AND ".join([kind, *parts]), values


def _parameter(has: Options, name: str, value: str) -> object:
    """A filter's value as SQL compares it."""
    if name.startswith(("score_", "length_")):
        return float(value)
    if name == "reason":
        return f"\n{value}\n"
    return json.dumps(has.alarms[value]) if name == "alarm" else value


def _searched(asked: Asked) -> str:
    """The condition of a search: on a record's own words, or on those of its prompt."""
    if asked.kind == "prompts" or asked.given.get("in") == "prompt":
        return f"prompt IN (SELECT key FROM prompt WHERE id IN ({_WORDS.format('prompts')}))"  # noqa: S608
    return f"id IN ({_WORDS.format(asked.kind)})"


def _check(has: Options, name: str, value: str) -> None:
    """Raises DataError for a value that a filter cannot have."""
    if name in has.choices and value not in has.choices[name]:
        known = ", ".join(has.choices[name]) or "none, for this run has none"
        raise _refused(name, value, "this run has no such value", f"take one of these: {known}")
    if name.startswith("score_"):
        _number(name, value)
    elif name.startswith("length_") and not (value.isascii() and value.isdigit() and len(value) < 12):
        raise _refused(name, value, "it is no number of characters", "write a whole number, such as 200")
    elif name == "q":
        _check_search(value)


def _check_search(value: str) -> None:
    if len(value) > LONGEST:
        raise _refused("q", value, f"it has more than {LONGEST} characters", "search for fewer words")
    terms = phrases(value)
    if not terms:
        todo = 'search for words, or for a "phrase of words" in quotation marks'
        raise _refused("q", value, "it has neither a letter nor a digit", todo)
    if len(terms) > MOST_WORDS:
        raise _refused("q", value, f"it has more than {MOST_WORDS} words", "search for fewer words")


def _check_order(given: Given, low: str, high: str) -> None:
    if low in given and high in given and float(given[low]) > float(given[high]):
        said = f"from {given[low]} to {given[high]}"
        raise _refused(LABELS[low].split()[0].lower(), said, "nothing lies between them", "exchange the two")


def _number(name: str, value: str) -> float:
    try:
        found = float(value)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise _refused(name, value, "it is no number", "write a number, such as 3.5")
    return found


def _refused(name: str, value: str, why: str, todo: str) -> DataError:
    shown = value if len(value) <= 80 else f"{value[:80]} …"
    return DataError(f"{LABELS.get(name, name)}: {shown}", why, todo)
