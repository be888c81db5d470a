"""Dotted paths into a value of JSON, such as `completions.0.response`, and the nearest name to a wrong one.

A key that has dots or spaces in it is tried whole first, at every level.
"""

import difflib
from functools import lru_cache
from typing import Any

from srlm.seeds.source import Bad, kind_of, listed, shown


class _Missing(KeyError):
    """A path that leads nowhere: the value at which it ended, and what was left of the path."""


def value_at(line: object, path: str) -> Any:
    """The value at a path; raises Bad with the nearest name there is."""
    try:
        return _walk(line, path)
    except _Missing as missing:
        value, left = missing.args
        if isinstance(value, dict):
            raise Bad(f"no field `{path}`{nearest(left.partition('.')[0], tuple(value))}") from None
        size = f"a list of {len(value)}" if isinstance(value, list) else kind_of(value)
        raise Bad(f"no field `{path}`", f"{size} has no {shown(left)!r}") from None


def leads_somewhere(line: object, path: str) -> bool:
    """Whether there is a value at a path."""
    try:
        _walk(line, path)
    except _Missing:
        return False
    return True


@lru_cache(maxsize=256)  # the lines of a file mostly have the same fields
def nearest(name: str, known: tuple[str, ...]) -> str:
    """The end of a sentence: which of the names it may have been."""
    near = difflib.get_close_matches(name, [one for one in known[:200] if len(one) < 100], n=1, cutoff=0.5)
    return f"; the nearest is `{shown(near[0])}`" if near else f"; there is {listed(known)}"


def _walk(value: Any, left: str) -> Any:
    """At every level the whole of what is left is tried as a key, then what stands before the dot."""
    while left:
        head, _, rest = left.partition(".")
        if isinstance(value, dict) and left in value:
            return value[left]
        if isinstance(value, dict) and rest and head in value:
            value, left = value[head], rest
        elif isinstance(value, list) and _is_place(head, value):
            value, left = value[int(head)], rest
        else:
            raise _Missing(value, left)
    return value


def _is_place(text: str, values: list[Any]) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(values)
