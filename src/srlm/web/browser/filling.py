"""What of a run is new to the browser's index: its record files, as far as they are committed.

A step's state says how far its file counts (``bytes``) and when it was begun. A step that was made again, or
whose finished file was changed, is read again from its beginning. A line that is no record of this version
costs itself and is named.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from srlm.records import Example, Judgment, Pair, Prompt, Record, Response

Stamp = tuple[int, int, int, int]
"""When a state and its record file were written (ns) and their bytes; -1 where there is no file."""


@dataclass(frozen=True)
class Form:
    """A kind of record file: of which step it is, its name in a model's folder, and whose word it holds.

    `word`, of judgments: on the responses of a round, or on answers to held-out prompts by the model's own
    judge or by M1 ("frozen").
    """

    step: str
    kind: str
    record: type[Record]
    word: str = ""
    name: str = ""


FORMS = (
    Form("sft", "seeds", Example, name="sft/data"),
    Form("prompts", "prompts", Prompt),
    Form("responses", "responses", Response),
    Form("judgments", "judgments", Judgment, "round"),
    Form("pairs", "pairs", Pair),
    Form("evaluation/answers", "answers", Response),
    Form("watch/own", "judgments", Judgment, "own"),
    Form("watch/frozen", "judgments", Judgment, "frozen"),
)
"""In the order in which they are made. Of the people's data those instructions that M1 was trained on."""


@dataclass(frozen=True)
class Source:
    """A record file of a run: of a model, or of the round that makes it."""

    model: str
    form: Form

    @property
    def step(self) -> str:
        return f"{self.model}/{self.form.step}"

    @property
    def file(self) -> str:
        return f"{self.model}/{self.form.name or self.form.step}.jsonl"

    @property
    def made(self) -> int:
        """With a record's line added, a number by which records are in the order of their making."""
        return (place(self.model) * 16 + FORMS.index(self.form)) << 36


@dataclass(frozen=True)
class Extent:
    """How far a step's file counts; `digest` of a step that is done, `records` as many as it says."""

    began: str
    bytes: int
    records: int
    digest: str


@dataclass(frozen=True)
class Known:
    """What the index has of a step: up to which byte and line, and as it was when that was read."""

    extent: Extent
    stamp: Stamp
    line: int


@dataclass(frozen=True)
class Work:
    """A source to be read on from a byte and a line; from 0 all that was known of it is forgotten."""

    source: Source
    extent: Extent
    stamp: Stamp
    start: int
    line: int

    @property
    def bytes(self) -> int:
        return self.extent.bytes - self.start


@dataclass(frozen=True)
class Line:
    """A line of a record file where it lies: the record, or why there is none."""

    number: int
    offset: int
    size: int
    record: Record | None
    why: str = ""


def place(model: str) -> int:
    """A number to sort models by: M0, the SFT baseline, M1, M2 ..."""
    return 1 if model == "SFT" else int(model[1:]) + (model != "M0")


def sources(folder: Path) -> list[Source]:
    """Every record file that a run may have, model by model, whether it is there or not."""
    found = [entry.name for entry in os.scandir(folder) if re.fullmatch(r"SFT|M\d{1,4}", entry.name)]
    return [
        Source(model, form)
        for model in sorted(found, key=place)
        for form in FORMS
        if form.kind != "seeds" or model == "M1"
    ]


def stamps(folder: Path) -> dict[Source, Stamp]:
    """When each step of the run and its file were written: what is not changed need not be read."""
    found = {}
    for source in sources(folder):
        state, file = (_stat(folder / name) for name in (f"{source.step}.step.json", source.file))
        if state[0] >= 0:
            found[source] = (*state, *file)
    return found


def extent_of(folder: Path, source: Source, stamp: Stamp) -> Extent | str:
    """How far a step's file counts, by its state; else why that is not known."""
    try:
        state = json.loads((folder / f"{source.step}.step.json").read_text("utf-8"))
        done = bool(state["done"])
        counted = int(state.get("bytes") or 0) or (stamp[3] if done else 0)
        digest = str(state.get("digest") or "done") if done else ""
        return Extent(str(state.get("began")), max(counted, 0), int(state.get("records") or 0), digest)
    except FileNotFoundError:
        return "it is not there"
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return "it is empty, cut short, or of another version"


def plan(
    folder: Path, seen: Mapping[Source, Stamp], known: Mapping[str, Known]
) -> tuple[list[Work], dict[str, str]]:
    """What is to be read, in order, and the steps whose state says nothing, with the reason.

    `known` by step.
    """
    works, unread = [], {}
    for source, stamp in seen.items():
        extent = extent_of(folder, source, stamp)
        if isinstance(extent, str):
            unread[source.step] = extent
            continue
        before = known.get(source.step)
        if before and _goes_on(before, extent, stamp):
            if extent != before.extent or stamp != before.stamp:
                works.append(Work(source, extent, stamp, before.extent.bytes, before.line))
        else:
            works.append(Work(source, extent, stamp, 0, 0))
    return works, unread


def read_lines(folder: Path, work: Work) -> Iterator[Line]:
    """The lines of a file that are committed and not known yet; none of a file that cannot be opened.

    A last line that is torn is none.
    """
    try:
        file = (folder / work.source.file).open("rb")
    except OSError:
        return
    with file:
        file.seek(work.start)
        offset = work.start
        for number in range(work.line + 1, 1 << 36):
            line = file.readline(work.extent.bytes - offset)
            if not line.endswith(b"\n"):
                return
            yield _line(line, number, offset, work.source.form.record)
            offset += len(line)


def lacking(work: Work, end: int) -> str:
    """What a file lacks of what its state counts, in words, where reading ended at byte `end`."""
    if end >= work.extent.bytes:
        return ""
    if work.stamp[3] < 0:
        return "it is not there"
    return f"whole lines end at byte {end:,} of {work.extent.bytes:,}"


def _line(data: bytes, number: int, offset: int, kind: type[Record]) -> Line:
    try:
        return Line(number, offset, len(data), kind.model_validate_json(data))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        why = f"no {kind.__name__}: {f'{where}: ' if where else ''}{first['msg']}"
        return Line(number, offset, len(data), None, why)


def _goes_on(before: Known, now: Extent, stamp: Stamp) -> bool:
    """Whether a step's file only grew since it was read; a finished one stays as it is, to the nanosecond."""
    finished = before.extent.digest
    same = not finished or (finished == now.digest and before.stamp[2:] == stamp[2:])
    return same and before.extent.began == now.began and before.extent.bytes <= now.bytes


def _stat(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return -1, -1
    return found.st_mtime_ns, found.st_size
