"""The browser's index of a run: RUN/human/browser.sqlite, a cache that may be thrown away at any time.

It follows a run under way: before a page is shown, the times of the run's files are compared, and what is new
is read, at once where it is little, in a thread of its own where it is much. It is made anew when it is of
another version or damaged, and lies in a temporary folder where the run's own cannot be written.
"""

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from threading import Condition, Event, Lock, Thread

from srlm.store.states import run_states
from srlm.web.browser import tables
from srlm.web.browser.filling import Source, Stamp, Work, lacking, plan, read_lines, stamps

BATCH = 2000
"""Lines that are committed together."""
AT_ONCE = 1 << 20
"""Bytes of new records that are read before a page is shown; more of them are read beside it."""
WAIT = 10.0
"""Seconds to wait for another process that writes the index."""

Report = Callable[[int, int], None]
"""Is told how many records are read, and of how many."""
Seen = dict[Source, Stamp]


class Index:
    """The index of a run, for any thread; open one with `open_index`.

    `path`: where it lies. `progress`: records read and to be read, None where none are being read. `unread`:
    steps whose state cannot be read, and why. `trouble`: why the index could not be written, else empty.
    `generation`: how often it was begun again.
    """

    def __init__(self, folder: Path, path: Path, *, temporary: bool) -> None:
        self.path, self.trouble = path, ""
        self.unread: dict[str, str] = {}
        self.progress: tuple[int, int] | None = None
        self.generation = 0
        self._folder, self._temporary = folder, temporary
        self._lock, self._ending, self._busy = Lock(), Event(), False
        self._readers, self._idle = 0, Condition()
        self._thread: Thread | None = None
        self._seen: Seen | None = None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection for the calling thread alone, that reads one state of the index throughout."""
        with self._idle:
            self._readers += 1
        try:
            with closing(_connect(self.path)) as connection:
                connection.execute("PRAGMA query_only = 1")
                connection.execute("BEGIN")
                yield connection
        finally:
            with self._idle:
                self._readers -= 1
                self._idle.notify_all()

    def refresh(self) -> None:
        """Take in what is new: little of it at once, much of it in a thread, as `progress` tells."""
        if self._busy:
            return
        with self._lock:
            seen = stamps(self._folder)
            if seen == self._seen or self._busy:
                return
            if self._new_bytes(seen) <= AT_ONCE:
                self._fill(seen)
                return
            self._busy, self.progress = True, (0, 0)
        self._thread = Thread(target=self.fill, daemon=True)
        self._thread.start()

    def fill(self, report: Report | None = None) -> None:
        """Take in all that is new before coming back; `report` is told how far it is."""
        self._busy = True
        try:
            with self._lock:
                self._fill(stamps(self._folder), report)
        finally:
            self._busy = False

    def renew(self, generation: int) -> None:
        """Begin again with an empty index, for that of a generation is damaged; once for all who saw it."""
        with self._lock:
            if generation == self.generation:
                self._empty()

    def close(self) -> None:
        """End the thread that reads, and remove an index that lies in a temporary folder."""
        self._ending.set()
        if self._thread:
            self._thread.join()
        if self._temporary:
            shutil.rmtree(self.path.parent, ignore_errors=True)

    def _fill(self, seen: Seen, report: Report | None = None) -> None:
        """Make the index that of the files as they were `seen`; what stops it is said in `trouble`."""
        try:
            self._take_in(seen, report)
            self.trouble = ""
        except (OSError, sqlite3.OperationalError) as error:
            self.trouble = str(error)
        except sqlite3.DatabaseError:
            self._empty()
        finally:
            self.progress = None

    def _take_in(self, seen: Seen, report: Report | None) -> None:
        with closing(_connect(self.path)) as connection:
            for pragma in ("cache_size = -65536", "wal_autocheckpoint = 16384"):
                connection.execute(f"PRAGMA {pragma}")
            is_judge_m1 = _is_judge_m1(self._folder)
            works, self.unread = _begin(connection, self._folder, seen, is_judge_m1=is_judge_m1)
            self.progress = (0, sum(max(work.extent.records - work.line, 0) for work in works))
            are_whole = True
            for work in works:
                for number in _taken(connection, self._folder, work, is_judge_m1=is_judge_m1):
                    are_whole &= number is not None
                    self._tell(number or 0, work, report)
                    if self._ending.is_set():
                        return
        self._seen = seen if are_whole else None

    def _tell(self, number: int, work: Work, report: Report | None) -> None:
        """Count records that were read; an instruction of people's is none of the run's."""
        done, total = self.progress or (0, 0)
        self.progress = (done + (number if work.extent.records else 0), total)
        if report:
            report(*self.progress)

    def _new_bytes(self, seen: Seen) -> int:
        """How much is to be read; an index that cannot be read is begun again."""
        try:
            with self.reading() as connection:
                works, _ = plan(self._folder, seen, tables.known_steps(connection))
        except sqlite3.DatabaseError:
            self._empty()
            works, _ = plan(self._folder, seen, {})
        return sum(work.bytes for work in works)

    def _empty(self) -> None:
        """Take the files away when nobody reads: who closes an old one removes the new one's log by name."""
        with self._idle:
            self._idle.wait_for(lambda: not self._readers, WAIT)
            self.generation, self._seen = self.generation + 1, None
            try:
                _remove(self.path)
                _prepare(self.path)
            except (OSError, sqlite3.Error) as error:
                self.trouble = str(error)


def open_index(folder: Path) -> Index:
    """The index of a run, as it was left or empty; raises RunError when the folder holds no run."""
    run_states(folder)
    path, temporary = folder / "human" / "browser.sqlite", False
    try:
        _prepare(path)
    except (OSError, sqlite3.OperationalError):
        path, temporary = Path(tempfile.mkdtemp(prefix="srlm-browser-"), "browser.sqlite"), True
        _prepare(path)
    return Index(folder, path, temporary=temporary)


def is_damaged(error: sqlite3.DatabaseError) -> bool:
    """Whether an error says that the index is no index any more, and not that it is busy or the disk full."""
    words = ("no such", "vtable", "malformed", "not a database", "unable to open")
    return not isinstance(error, sqlite3.OperationalError) or any(word in str(error) for word in words)


def _begin(
    connection: sqlite3.Connection, folder: Path, seen: Seen, *, is_judge_m1: bool
) -> tuple[list[Work], dict[str, str]]:
    """What is to be read, and the steps whose state says nothing and why.

    Steps that are no more, or are read from their beginning, are forgotten here.
    """
    with _transaction(connection):
        known = tables.known_steps(connection)
        works, unread = plan(folder, seen, known)
        afresh = [work for work in works if not work.start]
        there = {source.step for source in seen} - unread.keys()
        gone = (known.keys() - there) | {work.source.step for work in afresh} & known.keys()
        for step in gone:
            tables.forget_step(connection, step)
        for model in {step.split("/")[0] for step in gone}:
            tables.link(connection, model, 0, is_frozen=model == "M1" and is_judge_m1)
        for work in afresh:
            tables.keep_step(connection, work, 0, 0, "")
    return works, unread


def _taken(
    connection: sqlite3.Connection, folder: Path, work: Work, *, is_judge_m1: bool
) -> Iterator[int | None]:
    """Read a file's new lines into the tables; yields how many there were, batch by batch.

    Where another process reads the same step, it is left to that one: the last that is yielded is None.
    """
    source, lines = work.source, read_lines(folder, work)
    end, number, first = work.start, work.line, tables.next_id(connection)
    while True:
        batch = list(islice(lines, BATCH))
        with _transaction(connection):
            known = tables.known_steps(connection).get(source.step)
            is_ours = known is not None and known.extent.bytes == end
            if is_ours and batch:
                tables.insert(connection, source, batch)
                end, number = batch[-1].offset + batch[-1].size, batch[-1].number
            if is_ours:
                tables.keep_step(connection, work, end, number, "" if batch else lacking(work, end))
            if is_ours and not batch:
                first = 0 if source.form.kind in {"responses", "answers"} else first
                is_frozen = source.model == "M1" and is_judge_m1
                tables.link(connection, source.model, first, is_frozen=is_frozen)
        yield len(batch) if is_ours else None
        if not (is_ours and batch):
            return


def _is_judge_m1(folder: Path) -> bool:
    """Whether the judge of M1's own answers is M1, because the run names no other judge."""
    try:
        return not json.loads((folder / "config.json").read_text("utf-8"))["config"]["judge"]["judge"]
    except (OSError, ValueError, LookupError, TypeError):
        return True


def _prepare(path: Path) -> None:
    """Tables of this version at a path; raises OSError or sqlite3.OperationalError where none can be."""
    path.parent.mkdir(exist_ok=True)
    for _ in range(2):
        try:
            if _is_ready(path):
                return
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            pass
        _remove(path)


def _is_ready(path: Path) -> bool:
    """Whether there are tables of this version, made here where there was nothing; it can be written."""
    with closing(_connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        with _transaction(connection):
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (number,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if not number:
                tables.make_tables(connection)
            return not number or version == tables.VERSION


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=WAIT, isolation_level=None)
    for pragma in ("synchronous = NORMAL", "temp_store = MEMORY", "cache_size = -16384"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write alone, all of it or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")
