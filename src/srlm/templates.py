"""Fill a text template in one pass, so that text that was filled in is never filled again."""

import re
from functools import cache
from importlib.resources import files

_SLOT = re.compile(r"\{\{(\w+)\}\}")


@cache
def template(name: str) -> str:
    """The text of a template that ships with the package, without its last newline."""
    return files("srlm").joinpath("templates", f"{name}.txt").read_text("utf-8").rstrip("\n")


def slots(text: str) -> set[str]:
    """The names of a template's slots."""
    return set(_SLOT.findall(text))


def fill(text: str, **values: str) -> str:
    """The template with every ``{{name}}`` replaced; raises KeyError when slots and values differ.

    One pass: a value that itself contains ``{{name}}`` stays as it is.
    """
    if slots(text) != set(values):
        raise KeyError(f"template slots {sorted(slots(text))} do not match the values {sorted(values)}")
    return _SLOT.sub(lambda match: values[match.group(1)], text)
