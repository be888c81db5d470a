"""From a file's bytes to numbered JSON values, or the reason why there is none.

A file holds JSON lines or one JSON array, plain or gzipped; its content decides and not its name. A file is
not trusted: nothing in it but its size in memory can stop the reading.
"""

import json
import re
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar

from pydantic import ValidationError

from srlm.errors import DataError

NOT_JSON, NOT_UTF8 = "not JSON", "not UTF-8"
TOO_DEEP, TOO_LONG = "nested too deeply", "not JSON that can be read: a number is too long"
ENDS_EARLY, DAMAGED = "the gzip file ends early", "the gzip file is damaged"

Unit = Literal["line", "item"]
T = TypeVar("T")

_GZIP, _BOM = b"\x1f\x8b", b"\xef\xbb\xbf"
_CHUNK = 1 << 13  # small, for a file may have a member a line
_SPACE = re.compile(r"[ \t\r\n]*")


class Bad(ValueError):
    """Why a value cannot be used, and what of the reason differs from value to value."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail

    def __str__(self) -> str:
        return _told(self.reason, self.detail)


@dataclass(frozen=True)
class Fault:
    """A line that is not used: its number, why, and what differs from line to line."""

    number: int
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return _told(self.reason, self.detail)


class Source:
    """The numbered values of a file, in order; iterate as often as you like.

    A value is what JSON gave, or a Bad that says why there is none. A gzip file that is cut or damaged gives
    all that comes before, and then one Bad with the number of the last line, or of the line that was torn.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        data, self._broken = _unpacked(data) if data.startswith(_GZIP) else (data, "")
        self._data = data.removeprefix(_BOM)
        self._array = _array(self._data)
        self.unit: Unit = "line" if self._array is None else "item"

    @classmethod
    def read(cls, path: Path, given: str, todo: str) -> "Source":
        """The source of a file, empty or not; raises DataError of these words when it cannot be read."""
        try:
            data = path.expanduser().read_bytes()
        except (OSError, ValueError, RuntimeError) as error:  # a NUL in the name; a user without a home
            why = f"it cannot be read ({getattr(error, 'strerror', None) or error})"
            raise DataError(given, why, todo) from error
        return cls(path, data)

    @classmethod
    def open(cls, path: Path) -> "Source":
        """The source of a file; raises DataError when it cannot be read or holds nothing."""
        given = shown(str(path), 400)
        source = cls.read(path, given, "give the path of a .jsonl or .json file, gzipped or not")
        if next(iter(source), None) is None:
            raise DataError(given, "the file holds no lines", "give a file with data in it")
        return source

    def __iter__(self) -> Iterator[tuple[int, object]]:
        values = self._values()
        if not self._broken:
            yield from values
            return
        number, value = 0, None
        for following in values:
            if number:
                yield number, value
            number, value = following
        if number and not isinstance(value, Bad):  # else it is torn, and one fault is enough
            yield number, value
        yield max(number, 1), Bad(self._broken)

    def _values(self) -> Iterator[tuple[int, object]]:
        if self._array is not None:
            yield from enumerate(self._array, 1)
            return
        for number, text in numbered(self._data.splitlines()):
            yield number, parsed(text)

    def fields(self) -> list[str]:
        """The names of the fields of the first objects, the most frequent first."""
        counts: Counter[str] = Counter()
        for number, value in self:
            if isinstance(value, dict):
                counts.update(value.keys())
            if number > 100:
                break
        return [name for name, _ in counts.most_common()]


def sort_out(values: Iterable[tuple[int, object]], read: Callable[[Any], T]) -> tuple[list[T], list[Fault]]:
    """What `read` makes of each numbered value, and by number why it could not (Bad) of the others."""
    found, faults = [], []
    for number, value in values:
        try:
            if isinstance(value, Bad):
                raise value
            found.append(read(value))
        except Bad as bad:
            faults.append(Fault(number, bad.reason, bad.detail))
    return found, faults


def numbered(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """The lines that hold something, with their numbers from 1."""
    return ((number, line) for number, line in enumerate(lines, 1) if line.strip())


def parsed(text: bytes) -> object:
    """The JSON value of a line, or a Bad that says why there is none."""
    try:
        return json.loads(text.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        return Bad(NOT_UTF8, error.reason)
    except json.JSONDecodeError as error:
        return Bad(NOT_JSON, f"{error.msg} at column {error.colno}")
    except ValueError:  # the only other one: a whole number of thousands of digits
        return Bad(TOO_LONG)
    except RecursionError:
        return Bad(TOO_DEEP)


def as_object(value: object) -> dict[str, Any]:
    """The value, if it is an object; raises Bad for any other."""
    if isinstance(value, Bad):
        raise value
    if not isinstance(value, dict):
        raise Bad("not a JSON object", kind_of(value))
    return value


def kind_of(value: object) -> str:
    """What a value of JSON is, in words."""
    kinds = {
        bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list",
        dict: "an object",
    }  # fmt: skip
    return kinds.get(type(value), "null")


def is_unicode(text: str) -> bool:
    """Whether the text has no half characters; JSON can write lone surrogates, UTF-8 cannot."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def reason_of(error: ValidationError) -> str:
    """What pydantic found wrong, each mistake with its place."""
    mistakes = []
    for item in error.errors(include_input=False, include_url=False):
        place = ".".join(map(str, item["loc"]))
        message = item["msg"].removeprefix("Value error, ")
        mistakes.append(f"{place}: {message}" if place else message)
    return "; ".join(mistakes)


def shown(text: str, limit: int = 60) -> str:
    """The text on one line, without control characters and at most `limit` characters of it."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def listed(names: Sequence[str], most: int = 12) -> str:
    """The first names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{shown(name)}`" for name in names[:most]) + rest if names else "nothing"


def in_lines(faults: Sequence[str | Fault], most: int = 20) -> str:
    """The first faults, a line each, with their numbers, and how many more there are."""
    rest = [f"and {len(faults) - most} more"] if len(faults) > most else []
    lines = [f"{one.number}: {one}" if isinstance(one, Fault) else one for one in faults[:most]]
    return "".join(f"\n    {shown(line, 300)}" for line in [*lines, *rest])


def _told(reason: str, detail: str) -> str:
    return shown(f"{reason} ({detail})" if detail else reason, 400)


def _array(data: bytes) -> list[object] | None:
    """The items of a JSON array, as far as it can be read; None for lines that are objects of their own."""
    if not data.lstrip(b" \t\r\n").startswith(b"["):
        return None
    items = list(_array_items(data.decode("utf-8", "surrogateescape")))
    is_whole = not any(isinstance(item, Bad) for item in items)
    return items if is_whole or any(isinstance(item, dict) for item in items) else None


def _array_items(text: str) -> Iterator[object]:
    decoder = json.JSONDecoder()
    place = _after_space(text, text.index("[") + 1)
    while text[place : place + 1] != "]":
        try:
            value, end = decoder.raw_decode(text, place)
        except json.JSONDecodeError as error:
            yield Bad(NOT_JSON, f"{error}; nothing after it can be read")
            return
        except (ValueError, RecursionError) as error:
            is_deep = isinstance(error, RecursionError)
            yield Bad(TOO_DEEP if is_deep else TOO_LONG, "nothing after it can be read")
            return
        yield value if is_unicode(text[place:end]) else Bad(NOT_UTF8)
        place = _after_space(text, end)
        if text[place : place + 1] == ",":
            place = _after_space(text, place + 1)
        elif text[place : place + 1] != "]":
            yield Bad(NOT_JSON, f"the array is not continued at character {place}")
            return
    if text[place + 1 :].strip():
        yield Bad(NOT_JSON, "text follows the end of the array")


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _unpacked(packed: bytes) -> tuple[bytes, str]:
    """All that a gzip file still gives, to the last byte, and why that is not all, or nothing."""
    parts: list[bytes] = []
    start = 0
    while start < len(packed):  # members follow each other; zeros may pad the last
        if not _GZIP.startswith(packed[start : start + 2]):
            return b"".join(parts), DAMAGED if packed[start:].strip(b"\0") else ""
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            chunk, before = packed[start : start + _CHUNK], member.copy()
            if not chunk:
                return b"".join(parts), ENDS_EARLY
            try:
                parts.append(member.decompress(chunk))
            except zlib.error:
                return b"".join([*parts, *_last_bytes(before, chunk)]), DAMAGED
            start += len(chunk) - len(member.unused_data)
    return b"".join(parts), ""


def _last_bytes(member: Any, chunk: bytes) -> Iterator[bytes]:
    """What a chunk gives before it breaks; a chunk that breaks gives nothing at once."""
    for place in range(len(chunk)):
        try:
            yield member.decompress(chunk[place : place + 1])
        except zlib.error:
            return
