"""A run kept on an object store, block by block: any place that fsspec knows (s3://, gs://, a folder ...).

The run works in a folder of this machine, and what has changed there is copied after every block,
checkpoint and step. Nothing is renamed, for on an object store that is a copy: an object is there whole or
not at all, so

* a record file is a row of shards, each named by the byte at which it begins; a step's state, which says how
  many bytes count, is written after them, and shards beyond those bytes are not read;
* a model or a checkpoint counts when the marker is there that is written after all of its files.

Nothing that counts is removed before what takes its place is there.
"""

import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from srlm.errors import RunError
from srlm.store.files import write_atomically
from srlm.store.lease import LOCK, Lease
from srlm.store.objects import Objects
from srlm.store.redo import State

WHOLE = ".whole"
"""The marker of a folder that is whole."""
PIECE = 8 << 20
"""The most bytes of a record file that are in memory, and in a shard."""
_STATE = ".step.json"
_UNIT = re.compile(r"model|checkpoint-\d+|step-\d+")
Stat = tuple[int, int]
"""A file's size and the time at which it changed, in ns."""


@dataclass(frozen=True)
class Kept:
    """What counts of that which lies in a store: files by their sizes, shards, the states of steps."""

    files: dict[str, int]
    shards: dict[str, list[tuple[int, int]]]
    """Of each record file, where its shards begin and end, as far as one follows on the other."""
    states: dict[str, State]


class Mirror:
    """The copy of a run's `folder` at `url`. Raises ConfigError for a place that cannot be used."""

    def __init__(self, url: str, folder: Path) -> None:
        self._folder, self._store = folder, Objects(url)
        self._lease = Lease(self._store)
        self._seen: dict[str, Stat] = {}  # what the store has; of a record file, how many bytes

    def claim(self) -> None:
        """Be the only driver; raises RunLocked where another one is alive."""
        with self._store.explained():
            self._lease.claim()

    def release(self) -> None:
        """Let others have it, if it is still ours."""
        self._lease.release()

    def fetch(self) -> bool:
        """Bring the folder to what is kept, and whether anything is; what it has more of a step, it keeps.

        A file of a model or checkpoint that is there already, by its size, is not fetched again. Raises
        RunError where records are missing that a state counts.
        """
        with self._store.explained():
            kept = _kept(self._store)
            standing = {step: _standing(self._state(step), state) for step, state in kept.states.items()}
            self._seen = {}
            for name, size in kept.files.items():
                self._fetch_file(name, size, _of_step(name, standing))
            for step, state in kept.states.items():
                self._fetch_step(step, state, kept.shards.get(f"{step}.jsonl", []), standing[step])
        return bool(kept.files or kept.states)

    def sync(self) -> None:
        """Copy what has changed since the last time, states last; raises RunLocked if another took over."""
        with self._store.explained():
            self._lease.check()
            now = dict(_local(self._folder))
            changed = {name for name in now if self._seen.get(name) != now[name]}
            units = sorted({unit for name in changed if (unit := _unit_of(name))})
            whole = [
                self._keep_unit(unit, {name: now[name] for name in now if _unit_of(name) == unit})
                for unit in units
            ]
            for name in sorted(changed, key=lambda name: (name.endswith(_STATE), name)):
                if not _unit_of(name):
                    self._keep(name, now[name])
            gone = set(self._seen) - set(now)
            # While the next checkpoint is not whole there, the last one stays, though it is gone here.
            self._forget(gone if all(whole) else {name for name in gone if not _unit_of(name)})

    def _keep_unit(self, unit: str, files: dict[str, Stat]) -> bool:
        """Copy what has changed of a model or checkpoint; it counts if all of it was there to the end."""
        self._store.remove(f"{unit}/{WHOLE}")
        for name, stat in files.items():
            if self._seen.get(name) != stat and not self._keep(name, stat):
                return False  # a checkpoint that a newer one has replaced
        whole = dict(_local(self._folder, unit)) == files
        if whole:
            self._store.put(f"{unit}/{WHOLE}", b"")
        return whole

    def _keep(self, name: str, stat: Stat) -> bool:
        """Copy a file, and whether it was there."""
        path = self._folder / name
        try:
            size = _promised(path)
            if size is None:
                self._store.put_file(path, name)
            else:
                self._keep_records(name, size)
                stat = (size, stat[1])
        except FileNotFoundError:
            if path.exists():
                raise  # then it is the store that has no such place
            return False
        self._seen[name] = stat
        return True

    def _keep_records(self, name: str, size: int) -> None:
        """Copy the bytes that a state counts and the store lacks; the rest of the file may yet be cut off."""
        start = self._seen.get(name, (0, 0))[0]
        anew = start == 0 or start > size
        written = set()
        with (self._folder / name).open("rb") as data:
            at = data.seek(0 if anew else start)
            while piece := data.read(min(PIECE, size - at)):
                written.add(_shard(name, at))
                self._store.put(_shard(name, at), piece)
                at += len(piece)
        if anew:
            for old in self._store.sizes(name).keys() - written - {name}:
                self._store.remove(old)

    def _forget(self, names: set[str]) -> None:
        """Remove what is gone here; a folder's marker first, so that no half of one ever counts."""
        for unit in sorted({unit for name in names if (unit := _unit_of(name))}):
            self._store.remove(f"{unit}/{WHOLE}")
        for name in sorted(names):
            self._store.remove(name)
            del self._seen[name]

    def _fetch_file(self, name: str, size: int, standing: int) -> None:
        """Any file but records and states: the store's, unless the one in the folder is further."""
        path = self._folder / name
        here = path.stat().st_size if path.is_file() else -1
        if _unit_of(name):
            fetches = here != size
        else:
            fetches = here < 0 or standing < 0 or (standing == 0 and here < size)
        if fetches:
            self._store.get(name, path)
        if fetches or (here == size and (standing == 0 or _unit_of(name))):
            self._seen[name] = _stat(path)

    def _fetch_step(self, step: str, kept: State, shards: list[tuple[int, int]], standing: int) -> None:
        """A step's state and the records that it counts, unless the folder has them."""
        num_there = shards[-1][1] if shards else 0
        records, path = self._folder / f"{step}.jsonl", self._folder / f"{step}{_STATE}"
        # Two machines may both have made the block that is the last one here, and then the store's counts.
        same = standing == 0 and (kept["done"] or num_there < kept["bytes"])
        if standing <= 0 and not same:
            if num_there < kept["bytes"]:
                raise _short(f"{self._store.url}/{step}", num_there, kept["bytes"])
            made = self._fetch_records(records, shards, kept["bytes"]) if kept["bytes"] else None
            path.unlink(missing_ok=True)  # so that no state ever counts what is not there
            if made:
                made.replace(records)
            write_atomically(path, json.dumps(kept, indent=1) + "\n")
        if standing <= 0:
            self._seen[f"{step}{_STATE}"] = _stat(path)
        if records.exists():
            now = _stat(records)
            common = max((end for _, end in shards if end <= min(now[0], kept["bytes"])), default=0)
            self._seen[f"{step}.jsonl"] = (common, now[1])

    def _fetch_records(self, path: Path, shards: list[tuple[int, int]], size: int) -> Path:
        """The first bytes of a record file, in a hidden file beside it."""
        name, made = path.relative_to(self._folder).as_posix(), path.with_name(f".{path.name}.tmp")
        made.parent.mkdir(parents=True, exist_ok=True)
        with made.open("wb") as file:
            for start, _ in shards:
                if start < size:
                    file.write(self._store.read(_shard(name, start)))
            file.truncate(size)
        return made

    def _state(self, step: str) -> State:
        """A step's state in the folder, or nothing where its records are not there as it says."""
        path = self._folder / f"{step}{_STATE}"
        with suppress(FileNotFoundError, ValueError):
            state: State = json.loads(path.read_text("utf-8"))
            if not state["bytes"] or _stat(self._folder / f"{step}.jsonl")[0] >= state["bytes"]:
                return state
        return {}


def fetch(url: str, folder: Path) -> None:
    """Bring a run that is kept at `url` into a folder, to look at it; raises RunError where none is."""
    if not Mirror(url, folder).fetch():
        raise RunError(f"run {url}", "nothing is kept there", "check the address, NAME at its end included")


def _local(folder: Path, below: str = "") -> Iterator[tuple[str, Stat]]:
    """Names of a run's files, or of those below a name, and their stats.

    Hidden ones are not yet what they will be. In a model or a checkpoint, which appear when they are whole,
    hidden files count: torch keeps a checkpoint's index in one.
    """
    for place, inner, names in os.walk(folder / below):
        at = Path(place).relative_to(folder).as_posix()
        whole = bool(_unit_of(f"{at}/file"))
        inner[:] = [name for name in inner if whole or not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            counts = not name.endswith(".tmp") and name != WHOLE if whole else not name.startswith(".")
            with suppress(FileNotFoundError):
                if counts and not path.is_symlink():
                    yield path.relative_to(folder).as_posix(), _stat(path)


def _stat(path: Path) -> Stat:
    about = path.stat()
    return about.st_size, about.st_mtime_ns


def _promised(path: Path) -> int | None:
    """How many bytes of a record file count, by the state beside it; None for any other file."""
    if path.suffix == ".jsonl":
        with suppress(FileNotFoundError):
            state: State = json.loads(path.with_suffix(_STATE).read_text("utf-8"))
            return int(state["bytes"])
    return None


def _unit_of(name: str) -> str:
    """The model's or checkpoint's folder that a file is part of, or nothing."""
    parts = PurePosixPath(name).parts
    for number, part in enumerate(parts[:-1]):
        if _UNIT.fullmatch(part):
            return "/".join(parts[: number + 1])
    return ""


def _shard(name: str, start: int) -> str:
    return f"{name}/{start:020}"


def _kept(store: Objects) -> Kept:
    """Files, without those of folders that have no marker yet, and the shards and states of steps."""
    states = {
        name.removesuffix(_STATE): store.read_json(name) for name in store.sizes() if name.endswith(_STATE)
    }
    there = store.sizes()  # after the states, so that all is in it that they count, while a driver writes
    files: dict[str, int] = {}
    shards: dict[str, list[tuple[int, int]]] = {}
    for name in sorted(there):
        base, _, last = name.rpartition("/")
        unit = _unit_of(name)
        if base.endswith(".jsonl") and last.isdigit():
            row = shards.setdefault(base, [])
            # One that begins elsewhere is from a driver that died before it wrote the state.
            if int(last) == (row[-1][1] if row else 0):
                row.append((int(last), int(last) + there[name]))
        elif last in {LOCK, WHOLE} or name.endswith(_STATE):
            continue
        elif not unit or f"{unit}/{WHOLE}" in there:
            files[name] = there[name]
    return Kept(files, shards, states)


def _standing(here: State, kept: State) -> int:
    """1 where the folder is further with a step than the store, 0 where both are as far, else -1."""
    if here.get("given") != kept["given"]:
        return -1
    mine, its = ([state[key] for key in ("done", "blocks", "progress")] for state in (here, kept))
    if mine == its:
        return 0 if here["digest"] == kept["digest"] else -1
    return 1 if mine > its else -1


def _of_step(name: str, standing: dict[str, int]) -> int:
    """How the folder stands with the step that a file is of; -1 where it is of none, as config.json."""
    path = PurePosixPath(name)
    of = (str(place) for place in (path.with_suffix(""), *path.parents))
    return next((standing[step] for step in of if step in standing), -1)


def _short(where: str, num_there: int, num_counted: int) -> RunError:
    return RunError(
        f"records {where}.jsonl",
        f"{num_there} bytes of them are kept without a gap, and their state counts {num_counted}",
        "run the same command on the machine that wrote them, whose folder has them; if it is lost, remove "
        f"{where}{_STATE} and the step is made again",
    )
