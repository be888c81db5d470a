"""JSONL record files: read lazily, appended in committed blocks, each line validated."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import ValidationError

from srlm.errors import RunError
from srlm.records import Record

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Records(Generic[R]):
    """A finished record file: iterate it as often as you like, a line at a time."""

    path: Path
    kind: type[R]
    digest: str
    num: int

    def __iter__(self) -> Iterator[R]:
        return read_records(self.path, self.kind)

    def __len__(self) -> int:
        return self.num


def read_records(path: Path, kind: type[R]) -> Iterator[R]:
    """The records of a file in order; raises RunError at a line that is not one."""
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield kind.model_validate_json(line)
            except ValidationError as error:
                raise RunError(
                    f"{path}, line {number}",
                    f"it is not a {kind.__name__}: {error.errors()[0]['msg']}",
                    "the file was edited or made by another version: redo the step that writes it (--redo)",
                ) from error


def read_log(path: Path) -> tuple[list[dict[str, Any]], bool]:
    """The lines of a training's log, and whether they are all: the last may be half written, or cut."""
    lines = []
    for line in path.read_text("utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(line))
        except json.JSONDecodeError:
            return lines, False
    return lines, True


class BlockWriter:
    """Appends blocks to a file that was cut back to its last committed byte."""

    def __init__(self, path: Path, committed: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("ab", buffering=0)  # so that closing never writes
        self._file.truncate(committed)
        self._sha = _sha_of(path)
        self.bytes = committed

    def append(self, records: Iterable[Record]) -> int:
        """Write and sync the records; returns how many there were."""
        lines = [record.model_dump_json().encode() + b"\n" for record in records]
        data = b"".join(lines)
        rest = memoryview(data)
        while rest:
            rest = rest[self._file.write(rest) :]
        os.fsync(self._file.fileno())
        self._sha.update(data)
        self.bytes += len(data)
        return len(lines)

    @property
    def digest(self) -> str:
        """SHA-256 of everything written."""
        return self._sha.hexdigest()

    def close(self) -> None:
        self._file.close()


def _sha_of(path: Path) -> "hashlib._Hash":
    sha = hashlib.sha256()
    with path.open("rb") as data:
        while piece := data.read(1 << 20):
            sha.update(piece)
    return sha
