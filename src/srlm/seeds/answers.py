"""A file of prompts and responses that somebody wants judged: checked once, then read a line at a time.

It may have millions of lines, so it is never held in memory, as a `Source` is.
"""

import gzip
import hashlib
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srlm.errors import ConfigError, DataError
from srlm.records import Prompt, Response, content_id
from srlm.seeds.source import (
    DAMAGED,
    ENDS_EARLY,
    Bad,
    as_object,
    is_unicode,
    kind_of,
    numbered,
    parsed,
    shown,
)

NAMES = {
    "prompt": ("prompt", "instruction", "question", "input"),
    "response": ("response", "output", "answer", "completion", "text"),
}
"""Field names that are taken for prompt and response, the first that is there."""


@dataclass(frozen=True)
class Line:
    """A line of the file: its object and its response, or the reason why it has none."""

    number: int
    value: Any
    response: Response | None
    fault: str | None = None


class AnswerFile:
    """Responses of a JSONL file (or .gz of one) in order; `faults` names the lines that are left out.

    `digest` is the SHA-256 of the fields' names and the file. Raises DataError when no line can be used.
    """

    def __init__(self, path: Path, fields: Mapping[str, str] | None = None) -> None:
        self.path = path
        self._fields = {key: (fields[key],) if fields and key in fields else NAMES[key] for key in NAMES}
        self.faults: list[tuple[int, str]] = []
        self._num = 0
        for line in self.lines():
            self._num += line.response is not None
            if line.fault:
                self.faults.append((line.number, line.fault))
        if not self._num:
            raise self._unusable()
        sha = hashlib.sha256(json.dumps(self._fields).encode())
        with path.open("rb") as data:
            while piece := data.read(1 << 20):
                sha.update(piece)
        self.digest = sha.hexdigest()

    def __len__(self) -> int:
        return self._num

    def __iter__(self) -> Iterator[Response]:
        return (line.response for line in self.lines() if line.response)

    def lines(self) -> Iterator[Line]:
        """Every line that holds something, good or not; a file that ends early ends with a fault."""
        number = 0
        opened = gzip.open if self.path.suffix == ".gz" else open
        try:
            with opened(self.path, "rb") as data:
                for number, text in numbered(data):
                    yield self._line(number, text)
        except EOFError:
            yield Line(number + 1, None, None, ENDS_EARLY)
        except (zlib.error, gzip.BadGzipFile) as error:
            yield Line(number + 1, None, None, shown(f"{DAMAGED} ({error})", 400))
        except OSError as error:
            raise DataError(
                f"file {self.path}",
                f"it cannot be read ({error.strerror or error})",
                "give a JSONL file, one object with a prompt and a response a line",
            ) from error

    def _line(self, number: int, text: bytes) -> Line:
        try:
            value = as_object(parsed(text))
            prompt, response = (self._text(value, key) for key in ("prompt", "response"))
        except Bad as bad:
            return Line(number, None, None, str(bad))
        id_ = content_id("answer", number, prompt, response)
        return Line(number, value, Response.given(id_, Prompt.of(prompt, (), 0), response))

    def _text(self, value: dict[str, Any], key: str) -> str:
        name = next((name for name in self._fields[key] if name in value), None)
        if name is None:
            wanted = " or ".join(self._fields[key])
            has = shown(", ".join(value), 80) or "nothing"
            raise Bad(f"no {key}: it has {has}, not {wanted}")
        text = value[name]
        if not isinstance(text, str):
            raise Bad(f"{name} is not a text but {kind_of(text)}")
        if not is_unicode(text):
            raise Bad(f"{name} holds half a character (a lone surrogate)")
        if key == "prompt" and not text.strip():
            raise Bad(f"{name} is empty")
        return text

    def _unusable(self) -> DataError:
        first = "; ".join(f"line {number}: {why}" for number, why in self.faults[:3])
        return DataError(
            f"file {self.path}",
            f"no line of it has a prompt and a response ({first or 'it is empty'})",
            "name the fields with --map prompt=FIELD --map response=FIELD",
        )


def parse_fields(items: tuple[str, ...]) -> dict[str, str]:
    """Field names from ``prompt=...`` and ``response=...``; raises ConfigError."""
    found = dict(item.split("=", 1) for item in items if "=" in item)
    if set(found) - set(NAMES) or len(found) < len(items):
        raise ConfigError(
            f"--map {' '.join(items)}",
            "it does not say which field is what",
            "write --map prompt=FIELD --map response=FIELD, or one of the two",
        )
    return found
