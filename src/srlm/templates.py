"""Fill a text template in one pass, so that text that was filled in is never filled again."""

import re
from functools import cache
from importlib.resources import files
from pathlib import Path

from srlm.errors import ConfigError

_SLOT = re.compile(r"\{\{(\w+)\}\}")


@cache
def template(name: str) -> str:
    """The text of a template that ships with the package, without its last newline."""
    return files("srlm").joinpath("templates", f"{name}.txt").read_text("utf-8").rstrip("\n")


def load_template(reference: str, slot: str) -> str:
    """The text of a built-in template or of a file with one slot; raises ConfigError."""
    wanted = f"{{{{{slot}}}}}"
    try:
        built_in = files("srlm").joinpath("templates", f"{reference}.txt").is_file()
        text = (
            template(reference) if built_in else Path(reference).expanduser().read_text("utf-8").rstrip("\n")
        )
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"template {reference}",
            f"it is neither a built-in template nor a file that can be read ({error})",
            f"name a text file with {wanted} in it",
        ) from error
    if slots(text) != {slot}:
        raise ConfigError(
            f"template {reference}",
            f"it has the slots {sorted(slots(text))}, and what is filled in is {wanted} alone",
            f"write {wanted} where it belongs, and no other slot",
        )
    return text


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
