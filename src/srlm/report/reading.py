"""Reading of a run's folder by a report: a piece that cannot be read is named, and the rest is shown.

A run may be under way, cut short, copied in part, or made by another version; no piece of it may cost the
others.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from srlm.errors import SrlmError
from srlm.records import Record
from srlm.store.jsonl import read_log, read_records

R = TypeVar("R", bound=Record)
T = TypeVar("T")


@dataclass(frozen=True)
class Reading:
    """A run's folder, the states of its steps that are done, and in words what could not be read of it."""

    folder: Path
    done: Mapping[str, Mapping[str, Any]]
    missing: list[str]

    def piece(self, what: str, read: Callable[[], T]) -> T | None:
        """What `read` returns; None where it fails, and then `what` is named."""
        try:
            return read()
        except Exception as error:  # what may be wrong with a file of another version has no list
            self.lacks(what, reason(error))
            return None

    def lacks(self, what: str, why: str) -> None:
        """Name a piece that cannot be read, once."""
        if (said := f"{what} cannot be read ({why})") not in self.missing:
            self.missing.append(said)

    def values(self, name: str) -> dict[str, Any]:
        """A JSON object by the name of its file; empty where it cannot be read."""

        def read() -> dict[str, Any]:
            found = json.loads((self.folder / name).read_text("utf-8"))
            if not isinstance(found, dict):
                raise TypeError("it holds no JSON object")
            return found

        return self.piece(name, read) or {}

    def records(self, step: str, kind: type[R]) -> list[R]:
        """The records of a step that is done, none of one that is not: its last line may be half written."""
        num = self.done[step].get("records") if step in self.done else 0
        if num == 0:
            return []
        found = self.lines(f"{step}.jsonl", kind)
        if found and num and len(found) != num:
            self.lacks(f"the rest of {step}.jsonl", f"it has {len(found)} of {num} records")
        return found

    def lines(self, name: str, kind: type[R]) -> list[R]:
        """The records of a file that is whole; none where it cannot be read."""

        def read() -> list[R]:
            found = list(read_records(self.folder / name, kind))
            if not found:
                raise ValueError("it is empty")
            return found

        return self.piece(name, read) or []

    def log(self, name: str) -> list[dict[str, Any]]:
        """The steps of a training's log, as many as are whole."""
        found = self.piece(name, lambda: read_log(self.folder / name))
        if found and not (found[0] and found[1]):
            self.lacks(f"the end of {name}", "it is cut short")
        return found[0] if found else []


def reason(error: Exception) -> str:
    """Why something cannot be read, in one line."""
    if isinstance(error, SrlmError):
        return error.why
    if isinstance(error, FileNotFoundError):
        return "it is not there"
    if isinstance(error, json.JSONDecodeError):
        return "it is cut short, or no JSON"
    if isinstance(error, KeyError):
        return f"it has no {error.args[0]}"
    return (str(error).splitlines() or [type(error).__name__])[0]


def filled(found: Any, shape: Mapping[str, Any], place: str = "") -> tuple[dict[str, Any], list[str]]:
    """Figures with every key of a shape, the shape's own value where there is none, and those dotted keys.

    >>> filled({"a": {"b": 1}}, {"a": {"b": None, "c": None}})
    ({'a': {'b': 1, 'c': None}}, ['a.c'])
    """
    whole: dict[str, Any] = dict(found) if isinstance(found, Mapping) else {}
    lacking = []
    for key, empty in shape.items():
        if key not in whole or (isinstance(empty, Mapping) and not isinstance(whole[key], Mapping)):
            whole[key] = empty
            lacking.append(f"{place}{key}")
        elif isinstance(empty, Mapping):
            whole[key], below = filled(whole[key], empty, f"{place}{key}.")
            lacking += below
    return whole, lacking
