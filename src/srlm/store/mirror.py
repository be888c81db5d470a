"""A run kept on an object store, block by block: any place that fsspec knows (s3://, gs://, a folder ...).

The run works in a folder of this machine, and what has changed there is copied after every block,
checkpoint and step. Nothing is renamed, for on an object store that is a copy: an object is there whole or
not at all, so

* a record file is a row of shards, each named by the byte at which it begins; a step's state, which says how
  many bytes count, is written after them, and shards beyond those bytes are not read;
* a model or a checkpoint counts when the marker is there that is written after all of its files.

Two drivers at once are refused by an object that only one can create.
"""

import json
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

import psutil

from srlm.errors import ConfigError, RunError, RunLocked

WHOLE = ".whole"
"""The marker of a folder that is whole."""
_UNIT = re.compile(r"model|checkpoint-\d+|step-\d+")
LEASE = 900.0
"""Seconds after which a driver that no longer says that it lives is taken for dead."""
HEARTBEAT = 60.0
Seen = dict[str, tuple[int, int]]


class Mirror:
    """The copy of a run's `folder` at `url`. Raises ConfigError for a place that cannot be used."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url.rstrip("/"), folder
        self._files, self._root = _filesystem(self._url)
        self._seen: Seen = {}
        self._me = {"host": socket.gethostname(), "pid": os.getpid(), "key": uuid.uuid4().hex}
        self._said = 0.0

    def claim(self) -> None:
        """Be the only driver; raises RunLocked where another one is alive."""
        with _explained(self._url):
            try:
                self._put(".lock", self._life(), mode="create")
            except FileExistsError:
                owner = self._owner()
                if not _is_dead(owner):
                    raise self._locked(owner) from None
                self._put(".lock", self._life())
        self._said = time.monotonic()

    def release(self) -> None:
        """Let others have it, if it is still ours."""
        with suppress(OSError):
            if self._owner().get("key") == self._me["key"]:
                self._files.rm_file(self._at(".lock"))

    def fetch(self) -> bool:
        """Bring the folder to what is kept, and whether anything is; what it has more of a step, it keeps.

        What is there already, by its size, is not fetched again.
        """
        with _explained(self._url):
            self._files.invalidate_cache()
            there = self._listed()
            files, shards = _sorted_out(there)
            for name in files:
                if not name.endswith(".step.json"):
                    self._get(name, there[name])
            for name in filter(lambda name: name.endswith(".step.json"), files):
                self._fetch_step(name, shards.get(name.removesuffix(".step.json") + ".jsonl", []))
            sizes = {name: there[name] for name in files}
            sizes |= {name: sum(there[shard] for shard in parts) for name, parts in shards.items()}
            self._seen = {name: now for name, now in _local(self._folder) if sizes.get(name) == now[0]}
        return bool(files)

    def sync(self) -> None:
        """Copy what has changed since the last time, states last; raises RunLocked if another took over."""
        with _explained(self._url):
            self._still_ours()
            now = dict(_local(self._folder))
            changed = [name for name in now if self._seen.get(name) != now[name]]
            for name in sorted(changed, key=_states_last):
                with suppress(FileNotFoundError):  # it vanished meanwhile
                    self._keep(name, now[name][0])
                    self._seen[name] = now[name]
            for unit in {unit for name in changed if (unit := _unit_of(name))}:
                self._put(f"{unit}/{WHOLE}", b"")
            for name in set(self._seen) - set(now):
                self._forget(name)

    def _keep(self, name: str, size: int) -> None:
        path = self._folder / name
        if not _is_records(path):
            self._files.put_file(str(path), self._at(name))
            return
        start = self._seen.get(name, (0, 0))[0]
        if start > size or not start:  # cut back, or not known: from the beginning
            self._forget(name)
            start = 0
        with path.open("rb") as data:
            data.seek(start)
            self._put(f"{name}/{start:020}", data.read(size - start))

    def _forget(self, name: str) -> None:
        self._seen.pop(name, None)
        with suppress(FileNotFoundError):
            self._files.rm(self._at(name), recursive=True)
        if unit := _unit_of(name):
            with suppress(FileNotFoundError):
                self._files.rm_file(self._at(f"{unit}/{WHOLE}"))

    def _fetch_step(self, name: str, shards: list[str]) -> None:
        """A step's records and state, unless those in the folder are further."""
        kept = json.loads(self._files.cat_file(self._at(name)))
        path = self._folder / name
        here = json.loads(path.read_text("utf-8")) if path.exists() else {}
        if here.get("given") == kept["given"] and _further(here, kept):
            return
        if shards:
            records = self._folder / name.replace(".step.json", ".jsonl")
            records.parent.mkdir(parents=True, exist_ok=True)
            with records.open("wb") as file:
                for shard in shards:
                    file.write(self._files.cat_file(self._at(shard)))
                file.truncate(kept["bytes"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(kept, indent=1) + "\n", "utf-8")

    def _get(self, name: str, size: int) -> None:
        path = self._folder / name
        if path.is_file() and path.stat().st_size == size and _unit_of(name):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        self._files.get_file(self._at(name), str(path))

    def _listed(self) -> dict[str, int]:
        """Names below the run and their sizes."""
        try:
            found = self._files.find(self._root, detail=True)
        except FileNotFoundError:
            return {}
        start = len(self._root.rstrip("/")) + 1
        return {path[start:]: int(about["size"]) for path, about in found.items()}

    def _still_ours(self) -> None:
        if time.monotonic() - self._said < HEARTBEAT:
            return
        owner = self._owner()
        if owner.get("key") != self._me["key"]:
            raise self._locked(owner)
        self._put(".lock", self._life())
        self._said = time.monotonic()

    def _owner(self) -> dict[str, Any]:
        self._files.invalidate_cache()
        try:
            found: dict[str, Any] = json.loads(self._files.cat_file(self._at(".lock")))
        except (FileNotFoundError, ValueError):
            return {}
        return found

    def _locked(self, owner: dict[str, Any]) -> RunLocked:
        return RunLocked(
            f"run {self._url}",
            f"a driver on {owner.get('host', 'some machine')} (process {owner.get('pid', '?')}) works on it",
            f"wait for it; one that was killed is taken for dead {LEASE / 60:g} minutes after its last word",
        )

    def _life(self) -> bytes:
        return json.dumps(self._me | {"at": time.time()}).encode()

    def _put(self, name: str, data: bytes, **how: str) -> None:
        self._files.pipe_file(self._at(name), data, **how)

    def _at(self, name: str) -> str:
        return f"{self._root}/{name}"


def fetch(url: str, folder: Path) -> None:
    """Bring a run that is kept at `url` into a folder, to look at it; raises RunError where none is."""
    if not Mirror(url, folder).fetch():
        raise RunError(f"run {url}", "nothing is kept there", "check the address, NAME at its end included")


def _filesystem(url: str) -> tuple[Any, str]:
    import fsspec

    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"--store {url}",
            f"no file system for it is installed ({error})",
            "install the one that fsspec names: s3fs for s3://, gcsfs for gs://, adlfs for abfs://",
        ) from error
    return files, root


@contextmanager
def _explained(url: str) -> Iterator[None]:
    """Turn what a store raises into an error that says what is safe."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise RunError(
            f"store {url}",
            f"it cannot be read or written ({type(error).__name__}: {' '.join(str(error).split())[:300]})",
            "check its address and credentials (the environment's, as its own tools take them), then run the "
            "same command again: what was kept is whole, and this machine's folder is further",
        ) from error


def _local(folder: Path) -> Iterator[tuple[str, tuple[int, int]]]:
    """Names of a run's files with size and time of change; hidden ones are not yet what they will be."""
    for place, inner, names in os.walk(folder):
        inner[:] = [name for name in inner if not name.startswith(".")]
        for name in names:
            path = Path(place, name)
            with suppress(FileNotFoundError):
                about = path.stat()
                if not name.startswith(".") and not path.is_symlink():
                    yield path.relative_to(folder).as_posix(), (about.st_size, about.st_mtime_ns)


def _is_records(path: Path) -> bool:
    return path.suffix == ".jsonl" and path.with_suffix(".step.json").exists()


def _unit_of(name: str) -> str:
    """The model's or checkpoint's folder that a file is part of, or nothing."""
    parts = PurePosixPath(name).parts
    for number, part in enumerate(parts[:-1]):
        if _UNIT.fullmatch(part):
            return "/".join(parts[: number + 1])
    return ""


def _states_last(name: str) -> tuple[bool, str]:
    return name.endswith(".step.json"), name


def _sorted_out(there: dict[str, int]) -> tuple[list[str], dict[str, list[str]]]:
    """Files, without those of folders that have no marker yet, and the shards of record files in order."""
    files: list[str] = []
    shards: dict[str, list[str]] = {}
    for name in sorted(there):
        base, _, last = name.rpartition("/")
        unit = _unit_of(name)
        if base.endswith(".jsonl") and last.isdigit():
            shards.setdefault(base, []).append(name)
        elif last not in {".lock", WHOLE} and (not unit or f"{unit}/{WHOLE}" in there):
            files.append(name)
    return files, shards


def _further(here: dict[str, Any], kept: dict[str, Any]) -> bool:
    keys = ("done", "blocks", "progress")
    return [here[key] for key in keys] >= [kept[key] for key in keys]


def _is_dead(owner: dict[str, Any]) -> bool:
    """Whether a driver has ended, or has not said for long that it lives."""
    if owner.get("host") == socket.gethostname():
        return not psutil.pid_exists(int(owner["pid"]))
    return time.time() - float(owner.get("at", 0)) > LEASE
