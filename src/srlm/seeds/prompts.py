"""Prompts from a file of somebody's, and the texts in its objects."""

from pathlib import Path
from typing import Any

from srlm.errors import DataError
from srlm.records import Prompt
from srlm.seeds.answers import NAMES
from srlm.seeds.source import Bad, Source, as_object, in_lines, is_unicode, kind_of, listed, shown, sort_out


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts of a JSONL or JSON file, objects or bare texts, each once.

    Raises one DataError that names every line that is none or repeats one.
    """
    found: dict[str, Prompt] = {}

    def read(value: object) -> None:
        text = value if isinstance(value, str) else text_field(value, "prompt")
        if not text.strip():
            raise Bad("it is empty")
        if not is_unicode(text):
            raise Bad("it holds half a character (a lone surrogate)")
        if text in found:
            raise Bad("it stands in an earlier one", shown(text))
        found[text] = Prompt.of(text, (), 0)

    _, faults = sort_out(Source.open(path), read)
    if faults:
        raise DataError(
            f"prompts {shown(str(path), 400)}",
            f"{len(faults)} of its lines cannot be used{in_lines(faults)}",
            'give lines of the form {"prompt": "..."}; none is left out silently',
        )
    return list(found.values())


def text_field(value: object, key: str) -> str:
    """The text under a key of an object, or under another name of it (NAMES); raises Bad."""
    fields: dict[str, Any] = as_object(value)
    name = next((name for name in NAMES[key] if name in fields), None)
    if name is None:
        raise Bad(f"it has no {key}", f"{listed(list(fields), 6)}")
    text = fields[name]
    if not isinstance(text, str):
        raise Bad(f"its {name} is not a text but {kind_of(text)}")
    if not is_unicode(text):
        raise Bad(f"its {name} holds half a character (a lone surrogate)")
    return text
