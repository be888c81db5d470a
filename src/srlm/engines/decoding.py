"""Continuous batching: finished rows leave, waiting ones enter, no row waits for the longest.

Rows enter in waves, as soon as a quarter of the room is free. What does not fit the memory goes back to the
queue and the room is halved. A row's draws are its own (`seed_for`): one that begins again writes the same.
"""

import gc
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srlm.engines.base import Request
from srlm.engines.continuations import Tokens, looked_at, weigh
from srlm.engines.forward import Forward, Rows
from srlm.engines.sampling import sample
from srlm.errors import EngineError
from srlm.records import seed_for

ENTER_AT = 1 / 4
"""Share of the room that must be free before rows enter: a wave of few costs as much as one of many."""
FULL_ENOUGH = 7 / 8
"""Rows that ended stay in their wave until the share of the others has fallen to this: moving costs, too."""


@dataclass(frozen=True)
class Job:
    """A request as tokens: its prompt, what each of its continuations adds, and the draws that are wanted."""

    request: Request
    ids: list[int]
    continuations: list[Tokens]
    draws: tuple[int, ...]

    @property
    def longest(self) -> int:
        """Tokens of the model's context that it may take up."""
        return len(self.ids) + max(self.request.max_tokens, *map(len, self.continuations), 0)

    @property
    def room(self) -> int:
        """Tokens that it may come to hold: its prompt once, and every draw's budget."""
        return len(self.ids) + len(self.draws) * self.request.max_tokens


@dataclass
class Row:
    """One sample on its way, and the probabilities of its job's continuations."""

    job: Job
    draw: int
    probabilities: tuple[float, ...]
    tokens: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        generator = np.random.Generator(np.random.Philox(seed_for(self.job.request.seed, self.draw)))
        self._uniforms = generator.random(self.job.request.max_tokens)

    @property
    def uniform(self) -> float:
        """The number that decides its next token."""
        return float(self._uniforms[len(self.tokens)])


@dataclass
class Room:
    """How much may be under way at a time: rows, and tokens that they may come to hold."""

    rows: int
    tokens: int

    def halve(self) -> None:
        self.rows, self.tokens = max(1, self.rows // 2), max(1, self.tokens // 2)


@dataclass
class _Flight:
    """Rows that began together: where each stands in `state`, and which of `logits` is its next."""

    rows: list[Row]
    state: Rows
    places: list[int]
    logits: Tensor
    sources: list[int]


class Decoder:
    """Writes jobs with a model's `forward`."""

    def __init__(self, forward: Forward, room: Room, pad: int) -> None:
        self._forward, self._room, self._pad = forward, room, pad
        self._flights: list[_Flight] = []
        self._waiting: deque[Job] = deque()

    def run(self, jobs: Sequence[Job], ends: Any) -> Iterator[Row]:
        """Rows as they end; `ends(row)` says whether one does, after each of its tokens.

        Raises EngineError when not even one row fits the memory.
        """
        self._waiting, self._flights = deque(jobs), []
        while self._waiting or self._flights:
            taken = self._next()
            try:
                fresh = [self._begin(taken)] if taken else self._step()
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                self._give_way(taken, error)
                continue
            for flight in fresh:
                yield from self._sample(flight, ends)
            self._flights = [flight for flight in self._flights if flight.rows]

    def _next(self) -> list[Job]:
        """The jobs that enter now: none while too little room is free."""
        rows = self._room.rows - sum(len(flight.rows) for flight in self._flights)
        under_way = {id(row.job): row.job.room for flight in self._flights for row in flight.rows}
        tokens = self._room.tokens - sum(under_way.values())
        if self._flights and (rows < ENTER_AT * self._room.rows or not self._forward.joins):
            return []
        taken: list[Job] = []
        while self._waiting:
            job = self._waiting[0]
            if (taken or self._flights) and (len(job.draws) > rows or job.room > tokens):
                break
            taken.append(self._waiting.popleft())
            rows, tokens = rows - len(job.draws), tokens - job.room
        return taken

    def _begin(self, jobs: list[Job]) -> _Flight:
        looked = [looked_at(job.continuations) for job in jobs]
        prompts = [[*job.ids, *more] for job, befores in zip(jobs, looked, strict=True) for more in befores]
        counts = [
            0 if more else len(job.draws)
            for job, befores in zip(jobs, looked, strict=True)
            for more in befores
        ]
        state, logits = self._forward.begin(prompts, counts)
        rows: list[Row] = []
        sources: list[int] = []
        place = 0
        for job, befores in zip(jobs, looked, strict=True):
            after = dict(zip(befores, logits[place : place + len(befores)], strict=True))
            probabilities = weigh(job.continuations, after) if job.continuations else ()
            rows += [Row(job, draw, probabilities) for draw in job.draws]
            sources += [place] * len(job.draws)
            place += len(befores)
        flight = _Flight(rows, state, list(range(len(rows))), logits, sources)
        self._flights.append(flight)
        return flight

    def _step(self) -> list[_Flight]:
        following = []
        for flight in self._flights:
            tokens = [self._pad] * len(flight.state)
            for row, place in zip(flight.rows, flight.places, strict=True):
                tokens[place] = row.tokens[-1]
            following.append(tokens)
        logits = self._forward.step([flight.state for flight in self._flights], following)
        for flight, after in zip(self._flights, logits, strict=True):
            flight.logits, flight.sources = after, flight.places
        return self._flights

    def _sample(self, flight: _Flight, ends: Any) -> Iterator[Row]:
        requests = [row.job.request for row in flight.rows]
        tokens = sample(flight.logits, flight.sources, requests, [row.uniform for row in flight.rows])
        going = []
        for index, (row, token) in enumerate(zip(flight.rows, tokens, strict=True)):
            row.tokens.append(token)
            if ends(row):
                yield row
            else:
                going.append(index)
        flight.rows, flight.places = [flight.rows[n] for n in going], [flight.places[n] for n in going]
        if going and len(going) <= FULL_ENOUGH * len(flight.state):
            flight.state.select(flight.places)
            flight.places = list(range(len(going)))

    def _give_way(self, taken: list[Job], error: BaseException) -> None:
        """Put back what did not fit, or what began last, and halve the room."""
        back = taken
        if not taken:
            unfinished: dict[int, list[Row]] = {}
            for row in self._flights.pop().rows:
                unfinished.setdefault(id(row.job), []).append(row)
            back = [
                replace(rows[0].job, draws=tuple(row.draw for row in rows)) for rows in unfinished.values()
            ]
        num_rows = sum(len(job.draws) for job in back)
        if not self._flights and num_rows == 1:
            raise _does_not_fit(back[0]) from error
        if len(back) == 1 and num_rows > 1 and not self._flights:
            job, half = back[0], num_rows // 2
            back = [replace(job, draws=job.draws[:half]), replace(job, draws=job.draws[half:])]
        self._waiting.extendleft(reversed(back))
        self._room.rows = min(self._room.rows, max(num_rows, 1))
        self._room.halve()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _is_out_of_memory(error: BaseException) -> bool:
    """torch's CPU allocator has no error class of its own."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        word in str(error) for word in words
    )


def _does_not_fit(job: Job) -> EngineError:
    return EngineError(
        f"request {job.request.id}: {len(job.ids)} tokens of prompt and {job.request.max_tokens} new ones",
        "the memory that is free does not hold one such sample beside the model",
        "free memory, lower max_tokens of the section, or take a smaller model or dtype",
    )
