"""The ballot box: one SQLite file a study, in which votes are added and never changed.

What an annotator says last of an item counts. Every vote is on the disk before it is acknowledged
(write-ahead log, ``synchronous=FULL``), so neither a killed server nor a power cut loses one.
"""

import json
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from srlm.errors import RunError
from srlm.people.asking import SKIPPED, WITHDRAWN, Answer, Item, Kind, Vote

VERSION = 1
"""Of the file's tables, kept in it as ``user_version``."""

TABLES = """
CREATE TABLE study (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE item (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, content TEXT NOT NULL) STRICT;
CREATE TABLE vote (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  item TEXT NOT NULL REFERENCES item (id),
  annotator INTEGER NOT NULL,
  choice TEXT NOT NULL,
  reasons TEXT NOT NULL,
  note TEXT NOT NULL,
  at TEXT NOT NULL
) STRICT;
CREATE INDEX votes_of ON vote (annotator, item, number);
"""
LAST = """
SELECT * FROM vote WHERE number IN (SELECT max(number) FROM vote {} GROUP BY annotator, item) ORDER BY number
"""


@dataclass(frozen=True)
class Study:
    """What was set when a study was made: it never changes, for votes on other questions do not mix.

    `models`, the first is what all others are compared with; `prompts`: where they come from; `checks`:
    attention checks of each kind; `seed` decides over order and sides; `criteria`: what is read above the
    grades.
    """

    kind: Kind
    models: tuple[str, ...]
    prompts: str
    limit: int
    checks: int
    seed: int
    criteria: str = ""


class BallotBox:
    """An open study. Safe for many threads, and for several processes."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path, self._connection, self._lock = path, connection, threading.RLock()
        self.study = _study(connection)
        rows = connection.execute("SELECT content FROM item ORDER BY number").fetchall()
        self.items = [_item(json.loads(content)) for (content,) in rows]

    def cast(
        self, annotator: int, item: Item, choice: str, reasons: Sequence[str] = (), note: str = ""
    ) -> bool:
        """Keep what an annotator says of an item; False where it is what they said last (sent twice).

        `choice` may be SKIPPED or WITHDRAWN. When this returns it is on the disk.
        """
        content = (choice, json.dumps(list(reasons)), note)
        with self._writing() as connection:
            last = connection.execute(
                "SELECT choice, reasons, note FROM vote WHERE annotator = ? AND item = ? "
                "ORDER BY number DESC LIMIT 1",
                (annotator, item.id),
            ).fetchone()
            if last == content or (last is None and choice == WITHDRAWN):
                return False
            connection.execute(
                "INSERT INTO vote (item, annotator, choice, reasons, note, at) VALUES (?, ?, ?, ?, ?, ?)",
                (item.id, annotator, *content, datetime.now(UTC).isoformat(timespec="milliseconds")),
            )
        return True

    def said_by(self, annotator: int) -> dict[str, Vote]:
        """What an annotator says of each item, by its id, skipped ones included; the latest word last."""
        with self._lock:
            rows = self._connection.execute(LAST.format("WHERE annotator = ?"), (annotator,)).fetchall()
        return {vote.item: vote for row in rows if (vote := _vote(row)).choice != WITHDRAWN}

    def votes(self) -> list[Vote]:
        """What counts: everybody's last word on every item, without what was skipped or withdrawn."""
        with self._lock:
            rows = self._connection.execute(LAST.format("")).fetchall()
        return [vote for row in rows if (vote := _vote(row)).choice not in {SKIPPED, WITHDRAWN}]

    @property
    def has_words(self) -> bool:
        """Whether anybody has said anything, be it withdrawn."""
        with self._lock:
            return self._connection.execute("SELECT 1 FROM vote LIMIT 1").fetchone() is not None

    def close(self) -> None:
        """Close the file; its log goes into it."""
        with self._lock:
            self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it or nothing."""
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
            except BaseException:
                self._connection.rollback()
                raise
            self._connection.commit()


def make_box(path: Path, study: Study, items: Sequence[Item]) -> None:
    """A new study's file, whole or not there; raises RunError where it cannot be written."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with closing(sqlite3.connect(temporary, isolation_level=None)) as connection:
            _fill(connection, study, items)
        temporary.replace(path)
    except (OSError, sqlite3.OperationalError) as error:
        raise RunError(
            f"study {path}",
            f"it cannot be written: {error}",
            "make room, or let the folder be written to; a run that is to stay as it is can be copied first",
        ) from error


def _fill(connection: sqlite3.Connection, study: Study, items: Sequence[Item]) -> None:
    connection.executescript(TABLES)
    connection.execute("BEGIN")
    settings = asdict(study) | {"models": list(study.models)}
    rows = [(key, json.dumps(value)) for key, value in settings.items()]
    connection.executemany("INSERT INTO study VALUES (?, ?)", rows)
    contents = [(item.id, json.dumps(asdict(item))) for item in items]
    connection.executemany("INSERT INTO item (id, content) VALUES (?, ?)", contents)
    connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def open_box(path: Path) -> BallotBox:
    """A study's file; raises RunError where it is none, is damaged, or of another version."""
    if not path.is_file():
        raise RunError(f"study {path}", "there is no such file", "make one: srlm annotate RUN")
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=20)
        found = connection.execute("PRAGMA user_version").fetchone()[0]
        if found != VERSION:
            raise _other_version(path, found)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        return BallotBox(path, connection)
    except (sqlite3.DatabaseError, ValueError, TypeError, KeyError) as error:
        raise RunError(
            f"study {path}",
            f"it cannot be read as a file of votes: {error}",
            "if it was copied while a server ran, copy the files beside it (-wal, -shm), too; else take a "
            "copy that is whole, or another --study",
        ) from error


def _other_version(path: Path, found: int) -> RunError:
    newer = "a newer" if found > VERSION else "an older"
    return RunError(
        f"study {path}",
        f"{newer} version of srlm made it (its tables are version {found}, here {VERSION}); its votes are "
        "left as they are",
        "export it with that version (run.json names it), or begin another study with --study",
    )


def _study(connection: sqlite3.Connection) -> Study:
    values: dict[str, Any] = {
        key: json.loads(value) for key, value in connection.execute("SELECT key, value FROM study")
    }
    return Study(**values | {"models": tuple(values["models"])})


def _item(content: dict[str, Any]) -> Item:
    answers = tuple(Answer(**answer) for answer in content["answers"])
    return Item(**content | {"answers": answers})


def _vote(row: tuple[Any, ...]) -> Vote:
    _, item, annotator, choice, reasons, note, at = row
    return Vote(item, annotator, choice, tuple(json.loads(reasons)), note, at)
