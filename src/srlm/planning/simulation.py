"""A stage on many replicas, event by event: who works on which task when, and what goes wrong.

A stage's requests stand in blocks, a block in tasks; a replica works on one task at a time. At most so many
blocks are unfinished at a time, and a sequential stage has one. A replica that finds no task waiting takes a
copy of the one that has been running longest; the first of the two to end counts. What a failed replica was
working on waits again, in front. Time is in seconds; the same seed gives the same times.
"""

import heapq
import itertools
import math
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from srlm.errors import ConfigError
from srlm.planning.rates import ReplicaCost

MOST_FAILURES = 100
"""Failures for each task, beyond which a stage is given up: it would never end."""


@dataclass(frozen=True)
class Task:
    """Requests that one replica takes at a time: their block, tokens to read, tokens of each answer."""

    block: int
    prompt: float
    lengths: tuple[int, ...]

    def seconds(self, cost: ReplicaCost) -> float:
        """On a replica that does nothing else: rows enter as others end, at most `cost.rows` at a time."""
        steps = _steps(self.lengths, cost.rows)
        return cost.dispatch + self.prompt * cost.token + steps * cost.step + sum(self.lengths) * cost.row


@dataclass(frozen=True)
class Stage:
    """Tasks in order of their blocks. `head`: tokens that a replica reads once; `in_flight`: open blocks."""

    name: str
    tasks: tuple[Task, ...]
    head: float = 0.0
    in_flight: int = 1


@dataclass(frozen=True)
class Fleet:
    """Replicas, each so many times slower than its cost says; `mtbf`: mean seconds between failures."""

    cost: ReplicaCost
    slowness: tuple[float, ...]
    mtbf: float = math.inf
    restart: float = 0.0
    speculate: bool = True

    @property
    def size(self) -> int:
        """Replicas."""
        return len(self.slowness)


@dataclass(frozen=True)
class StageTime:
    """What a stage took: `seconds` of wall time, and where the seconds of all replicas together went.

    They add up to seconds times replicas. useful: what counted; loading; copied: work that another replica
    ended first; failed: lost work, restarts; waiting: idle before the last task was given out; tail: later.
    """

    name: str
    seconds: float
    useful: float
    loading: float
    copied: float
    failed: float
    waiting: float
    tail: float
    failures: int

    @property
    def busy(self) -> float:
        """Share of the replicas' time that counted."""
        return self.useful / max(self.useful + self.lost, 1e-12)

    @property
    def lost(self) -> float:
        """Seconds of all replicas that did not count."""
        return self.loading + self.copied + self.failed + self.waiting + self.tail


def fleet(
    cost: ReplicaCost,
    replicas: int,
    *,
    stragglers: float = 0.0,
    slower: float = 1.0,
    mtbf: float = math.inf,
    restart: float = 0.0,
    speculate: bool = True,
    seed: int = 0,
) -> Fleet:
    """Replicas of which a share, rounded to whole ones and drawn by the seed, is slower."""
    slow = round(stragglers * replicas)
    chosen = set(np.random.default_rng(seed).permutation(replicas)[:slow].tolist())
    factors = tuple(slower if place in chosen else 1.0 for place in range(replicas))
    return Fleet(cost, factors, mtbf, restart, speculate)


def simulate(stage: Stage, replicas: Fleet, *, loads: bool = True, seed: int = 0) -> StageTime:
    """The time of a stage; with `loads` every replica loads its model first.

    Raises ConfigError where failures come so much faster than tasks end that it would never be done.
    """
    return _Run(stage, replicas, seed).run(replicas.cost.load if loads else 0.0)


def _steps(lengths: Sequence[int], rows: int) -> int:
    """Decoding steps until all are written: each takes a free place, the one that is free first."""
    if len(lengths) <= rows:
        return max(lengths, default=0)
    places = list(lengths[:rows])
    heapq.heapify(places)
    for length in lengths[rows:]:
        heapq.heapreplace(places, places[0] + length)
    return max(places)


@dataclass(eq=False)
class _Replica:
    """Where a replica stands: what it works on, since when it does, waits or is down."""

    number: int
    slowness: float
    since: float = 0.0
    task: int | None = None
    attempt: int = 0  # changes with everything that makes an announced end untrue
    knows_head: bool = False
    is_down: bool = False


@dataclass
class _Ledger:
    """Seconds of replicas by what became of them; idle ones as (from, to), to be told apart at the end."""

    useful: float = 0.0
    loading: float = 0.0
    copied: float = 0.0
    failed: float = 0.0
    idle: list[tuple[float, float]] = field(default_factory=list)
    failures: int = 0


class _Run:
    """One stage under way."""

    def __init__(self, stage: Stage, replicas: Fleet, seed: int) -> None:
        self._stage, self._fleet = stage, replicas
        self._chance = np.random.default_rng(seed)
        self._seconds = [task.seconds(replicas.cost) for task in stage.tasks]
        self._replicas = [_Replica(place, slow) for place, slow in enumerate(replicas.slowness)]
        self._events: list[tuple[float, int, str, int, int]] = []
        self._count = itertools.count()  # of two events at one time the one announced first comes first
        self._idle: deque[_Replica] = deque()
        self._again: deque[int] = deque()  # tasks that a failure gave back
        self._next = 0  # the first task that was never given out
        self._left = list(Counter(task.block for task in stage.tasks).values())
        self._oldest = 0  # the first block that is not done
        self._workers: dict[int, list[_Replica]] = {}
        self._running: deque[int] = deque()  # tasks that one replica has, as they began
        self._num_left = len(stage.tasks)
        self._last_given = 0.0
        self._ledger = _Ledger()

    def run(self, load: float) -> StageTime:
        """Go through all events, from every replica's loading on."""
        for replica in self._replicas:
            self._announce(load, "up", replica)
        now = 0.0
        while self._num_left:
            now, _, kind, place, attempt = heapq.heappop(self._events)
            replica = self._replicas[place]
            if kind == "up":
                self._up(replica, now)
            elif kind == "fail":
                self._fail(replica, now)
            elif replica.attempt == attempt:
                self._end(replica, now)
            self._give_out(now)
        return self._told(now)

    def _announce(self, at: float, kind: str, replica: _Replica) -> None:
        heapq.heappush(self._events, (at, next(self._count), kind, replica.number, replica.attempt))

    def _up(self, replica: _Replica, now: float) -> None:
        """A replica that has loaded its model waits for work, and may fail from now on."""
        if replica.is_down:
            self._ledger.failed += now - replica.since
        else:
            self._ledger.loading += now - replica.since
        replica.is_down = False
        self._wait(replica, now)
        if math.isfinite(self._fleet.mtbf):
            self._announce(now + self._chance.exponential(self._fleet.mtbf), "fail", replica)

    def _wait(self, replica: _Replica, now: float) -> None:
        replica.task, replica.since = None, now
        replica.attempt += 1
        self._idle.append(replica)

    def _fail(self, replica: _Replica, now: float) -> None:
        """Its work is lost, and waits again unless a copy goes on; it comes back with its model loaded."""
        self._ledger.failures += 1
        if self._ledger.failures > MOST_FAILURES * len(self._seconds) + MOST_FAILURES * self._fleet.size:
            raise _never_done(self._stage, self._fleet)
        if replica.task is None:
            self._idle.remove(replica)
            self._ledger.idle.append((replica.since, now))
        else:
            self._ledger.failed += now - replica.since
            self._give_back(replica, replica.task)
        replica.task, replica.since, replica.is_down, replica.knows_head = None, now, True, False
        replica.attempt += 1
        self._announce(now + self._fleet.restart + self._fleet.cost.load, "up", replica)

    def _give_back(self, replica: _Replica, task: int) -> None:
        self._workers[task].remove(replica)
        if self._workers[task]:
            self._running.appendleft(task)  # whoever copied it has it alone now
        else:
            self._again.append(task)

    def _end(self, replica: _Replica, now: float) -> None:
        """Its task is done; whoever has the same stops."""
        task = replica.task
        for worker in self._workers.pop(task):  # type: ignore[arg-type]  # an end is announced with a task
            if worker is replica:
                self._ledger.useful += now - worker.since
            else:
                self._ledger.copied += now - worker.since
            self._wait(worker, now)
        self._num_left -= 1
        self._left[self._stage.tasks[task].block] -= 1  # type: ignore[index]
        while self._oldest < len(self._left) and not self._left[self._oldest]:
            self._oldest += 1

    def _give_out(self, now: float) -> None:
        """Work for every replica that waits: what was given back, then new tasks, then copies."""
        while self._idle:
            task = self._pick(now)
            if task is None:
                return
            replica = self._idle.popleft()
            self._ledger.idle.append((replica.since, now))
            replica.task, replica.since = task, now
            head = 0.0 if replica.knows_head else self._stage.head * self._fleet.cost.token
            replica.knows_head = True
            self._announce(now + replica.slowness * (self._seconds[task] + head), "end", replica)
            self._workers.setdefault(task, []).append(replica)

    def _pick(self, now: float) -> int | None:
        if self._again:
            task = self._again.popleft()
        elif self._next < len(self._seconds) and self._is_open(self._stage.tasks[self._next]):
            task = self._next
            self._next += 1
        else:
            return self._copied() if self._fleet.speculate else None
        self._last_given = now
        self._running.append(task)
        return task

    def _is_open(self, task: Task) -> bool:
        return task.block < self._oldest + self._stage.in_flight

    def _copied(self) -> int | None:
        """The task that has been running longest of those that one replica has."""
        while self._running:
            task = self._running.popleft()
            if len(self._workers.get(task, ())) == 1:
                return task
        return None

    def _told(self, now: float) -> StageTime:
        ledger, last = self._ledger, self._last_given
        for replica in self._replicas:
            if replica.is_down:
                ledger.failed += now - replica.since
        ledger.idle += [(replica.since, now) for replica in self._idle]
        return StageTime(
            self._stage.name,
            now,
            ledger.useful,
            ledger.loading,
            ledger.copied,
            ledger.failed,
            waiting=sum(min(end, last) - start for start, end in ledger.idle if start < last),
            tail=sum(end - max(start, last) for start, end in ledger.idle if end > last),
            failures=ledger.failures,
        )


def _never_done(stage: Stage, replicas: Fleet) -> ConfigError:
    longest = max(task.seconds(replicas.cost) for task in stage.tasks)
    return ConfigError(
        f"{stage.name} with a failure every {replicas.mtbf:,.0f} seconds of a replica",
        f"a task takes up to {longest:,.0f} seconds and is lost with its replica, so it hardly ever ends",
        "lower engine.block, so that tasks are shorter, or check --assume mtbf_hours",
    )
