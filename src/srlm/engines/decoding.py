"""Continuous batching: finished rows leave, waiting ones enter, no row waits for the longest.

Rows enter in waves, as soon as a quarter of the room is free. What does not fit the memory goes back to the
queue, and half as much may be under way from then on. A row's draws are its own (`seed_for`): one that begins
again writes the same.
"""

import gc
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from srlm.engines.continuations import looked_at, weigh
from srlm.engines.encoding import Job
from srlm.engines.forward import Forward, Rows, is_out_of_memory
from srlm.engines.sampling import sample
from srlm.errors import EngineError
from srlm.records import seed_for

ENTER_AT = 1 / 4
"""Share of the room that must be free before rows enter: a wave of few costs as much as one of many."""
FULL_ENOUGH = 7 / 8
"""Rows that ended stay in their wave until the share of the others has fallen to this: moving costs, too."""


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

    def halve(self, under_way: int) -> None:
        """Leave half of the rows that were under way when the memory ran out."""
        self.rows, self.tokens = max(1, min(self.rows, under_way) // 2), max(1, self.tokens // 2)


@dataclass
class _Flight:
    """Rows that began together, and where each stands in `state`.

    logits: after the last token, of which row i takes ``sources[i]``; None once the next tokens are drawn.
    drawn: of each row the token that it has not been given yet.
    """

    rows: list[Row]
    state: Rows
    places: list[int]
    logits: Tensor | None
    sources: list[int]
    drawn: list[int] = field(default_factory=list)

    def draw(self) -> None:
        """The next token of each row."""
        if self.logits is not None:
            requests, uniforms = [row.job.request for row in self.rows], [row.uniform for row in self.rows]
            self.drawn = sample(self.logits, self.sources, requests, uniforms)
            self.logits = None

    def give(self, ends: Callable[[Row], bool]) -> Iterator[Row]:
        """Every row takes the token that was drawn; those that it ends come back."""
        drawn, self.drawn = self.drawn, []
        going = []
        for index, (row, token) in enumerate(zip(self.rows, drawn, strict=True)):
            row.tokens.append(token)
            if ends(row):
                yield row
            else:
                going.append(index)
        self.rows, self.places = [self.rows[n] for n in going], [self.places[n] for n in going]

    def close_ranks(self) -> None:
        """Rows that ended leave the state, too, as soon as they are many."""
        if len(self.rows) <= FULL_ENOUGH * len(self.state):
            self.state.select(self.places)
            self.places = list(range(len(self.rows)))


class Decoder:
    """Writes jobs with a model's `forward`."""

    def __init__(self, forward: Forward, room: Room, pad: int) -> None:
        self._forward, self._room, self._pad = forward, room, pad
        self._flights: list[_Flight] = []
        self._waiting: deque[Job] = deque()

    def run(self, jobs: Sequence[Job], ends: Callable[[Row], bool]) -> Iterator[Row]:
        """Rows as they end; `ends(row)` says whether one does, after each of its tokens.

        Raises EngineError when not even one row fits the memory.
        """
        self._waiting, self._flights = deque(jobs), []
        while self._waiting or self._flights:
            taken = [] if self._due() else self._next()
            error = self._turn(taken)
            if error:
                self._give_way(taken, error)
            else:
                yield from self._ended(ends)

    def _turn(self, taken: list[Job]) -> Exception | None:
        """Begin with what was taken, or draw the tokens that are due, or step; the error if memory ran out.

        What fails can be tried again: each of the three changes its flights when it is done, and not before.
        Nothing outside this function refers to what it worked on, so that giving way does free memory.
        """
        try:
            for flight in self._flights:
                flight.close_ranks()
            if taken:
                self._flights.append(self._begin(taken))
            elif self._due():
                for flight in self._flights:
                    flight.draw()
            else:
                self._step()
        except (MemoryError, RuntimeError) as error:
            if not is_out_of_memory(error):
                raise
            return error.with_traceback(None)  # it holds every frame, and their activations
        return None

    def _due(self) -> bool:
        """Whether there are logits from which no token was drawn yet."""
        return any(flight.logits is not None for flight in self._flights)

    def _ended(self, ends: Callable[[Row], bool]) -> Iterator[Row]:
        for flight in self._flights:
            if flight.drawn:
                yield from flight.give(ends)
        self._flights = [flight for flight in self._flights if flight.rows]

    def _next(self) -> list[Job]:
        """The jobs that enter now: none while too little room is free.

        A job enters whole. One that is larger than the whole room enters when nothing else is under way, with
        as many draws as fit; the others stay in the queue.
        """
        rows = self._room.rows - sum(len(flight.rows) for flight in self._flights)
        if self._flights and (rows < ENTER_AT * self._room.rows or not self._forward.joins):
            return []
        under_way = {id(row.job): row.job for flight in self._flights for row in flight.rows}
        held = [_size(job) for job in under_way.values()]
        taken: list[Job] = []
        while self._waiting:
            job = self._waiting[0]
            held.append(_size(job))
            if len(job.draws) > rows or self._forward.room(held) > self._room.tokens:
                break
            taken.append(self._waiting.popleft())
            rows -= len(job.draws)
        return taken if taken or self._flights else [self._part(self._waiting.popleft())]

    def _part(self, job: Job) -> Job:
        """As many draws of a job as fit the empty room, one at least; the others go back to the queue."""
        prompt, num, new = _size(job)
        num = min(num, self._room.rows)
        while num > 1 and self._forward.room([(prompt, num, new)]) > self._room.tokens:
            num -= 1
        if num < len(job.draws):
            self._waiting.appendleft(replace(job, draws=job.draws[num:]))
        return replace(job, draws=job.draws[:num])

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
            probabilities: tuple[float, ...] = ()
            if job.continuations:
                chances = logits[place : place + len(befores)].float().softmax(-1)
                probabilities = weigh(job.continuations, dict(zip(befores, chances, strict=True)))
            rows += [Row(job, draw, probabilities) for draw in job.draws]
            sources += [place] * len(job.draws)
            place += len(befores)
        return _Flight(rows, state, list(range(len(rows))), logits, sources)

    def _step(self) -> None:
        following = []
        for flight in self._flights:
            tokens = [self._pad] * len(flight.state)
            for row, place in zip(flight.rows, flight.places, strict=True):
                tokens[place] = row.tokens[-1]
            following.append(tokens)
        logits = self._forward.step([flight.state for flight in self._flights], following)
        for flight, after in zip(self._flights, logits, strict=True):
            flight.logits, flight.sources = after, flight.places

    def _give_way(self, taken: list[Job], error: Exception) -> None:
        """Put back what did not fit, or what began last, and halve the room."""
        rows = [row for flight in self._flights for row in flight.rows]
        num_rows = len(rows) + sum(len(job.draws) for job in taken)
        back = taken or _as_jobs(self._flights.pop().rows)
        if not self._flights and self._room.rows == 1:
            raise _does_not_fit(back[0]) from error
        self._waiting.extendleft(reversed(back))
        self._room.halve(num_rows)
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def _size(job: Job) -> tuple[int, int, int]:
    """A job as tokens of its prompt, samples, new tokens of each (Forward.room)."""
    return len(job.ids), len(job.draws), job.request.max_tokens


def _as_jobs(rows: Sequence[Row]) -> list[Job]:
    """The jobs of some rows, each with the draws that are among them."""
    of_job: dict[int, list[Row]] = {}
    for row in rows:
        of_job.setdefault(id(row.job), []).append(row)
    return [replace(rows[0].job, draws=tuple(row.draw for row in rows)) for rows in of_job.values()]


def _does_not_fit(job: Job) -> EngineError:
    return EngineError(
        f"request {job.request.id}: {len(job.ids)} tokens of prompt and {job.request.max_tokens} new ones",
        "the memory that is free does not hold one such sample beside the model",
        "free memory, lower max_tokens of the section, or take a smaller model or dtype",
    )
