"""Replicas of an engine, as Ray actors, and the blocks of requests that they take one after the other.

Ray itself starts an actor again that died, on another machine if need be, and gives it the block that it had
(`max_restarts`, `max_task_retries`). What is left to us is to say who gets what: an idle replica takes the
next block; where none waits, a copy of the block that has been under way for too long, so that one slow
machine, or one that nobody can reach, does not hold up the rest. Whoever answers first, answers; a draw is
the same wherever it is made. A block that ends its workers even so is taken apart, and the request that does
it alone is set aside.
"""

import asyncio
import logging
import statistics
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    NodeDiedError,
    ObjectLostError,
    OutOfMemoryError,
    RayActorError,
    RayError,
    WorkerCrashedError,
)

from srlm.config import OpenAIEngineSection, RayEngineSection
from srlm.engines.base import Request, beginning_of
from srlm.engines.ray.cluster import Share, give_up, machines, no_room
from srlm.engines.ray.replica import Answered, Replica, check
from srlm.errors import ClusterLost, EngineError, PoisonRequest, SrlmError
from srlm.models import Model

TRIES = 2
"""Times that a block may end its worker before it is taken apart, and one more for a request alone."""
LATE = 2.0
"""Times the usual duration after which an idle replica takes a copy of a block."""
SILENCE = 30.0
"""Seconds without a word of the cluster's head after which the cluster counts as lost."""
DEATHS = (RayActorError, OutOfMemoryError, WorkerCrashedError, NodeDiedError)

log = logging.getLogger("srlm")


@dataclass(eq=False)
class Block:
    """Requests on their way, and who waits for their replies."""

    requests: Sequence[Request]
    outcome: "asyncio.Future[Answered]"
    began: float = 0.0
    takers: int = 0


class Replicas:
    """Replicas of an engine in the cluster that this process is connected to. Thread-safe.

    They are started at once; those that find no room wait for it. `close` ends them and whoever still waits.
    """

    def __init__(self, section: RayEngineSection, model: Model | None, share: Share) -> None:
        self._section, self._model, self._share = section, model, share
        self._handles: list[Any] = []
        self._waiting: deque[Block] = deque()
        self._under_way: dict[Block, None] = {}
        self._seconds: deque[float] = deque(maxlen=100)
        self._ready, self._num_answered, self._num_set_aside = 0, 0, 0
        self._fatal: SrlmError | None = None
        self._loop = asyncio.new_event_loop()
        self._news = asyncio.Event()
        self._jobs: set[asyncio.Task[None]] = set()
        threading.Thread(target=self._loop.run_forever, name="srlm replicas", daemon=True).start()
        self._call(self._begin(self._grow()))

    def answer(self, requests: Sequence[Request]) -> "Future[Answered]":
        """The replies to some requests, in time; `failure` is a PoisonRequest where one was set aside."""
        return self._call(self._answer(requests))

    @property
    def num(self) -> int:
        """Replicas that were started, those that wait for room included."""
        return max(len(self._handles), self._share.replicas or 1)

    def close(self) -> None:
        """End all replicas, and the waiting of whoever waits for one, with an EngineError."""
        self._call(self._end()).result(timeout=60)
        self._loop.call_soon_threadsafe(self._loop.stop)

    def _call(self, work: Coroutine[Any, Any, Any]) -> "Future[Any]":
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        """Start what goes on beside everything else; when it fails, everybody's waiting ends with that."""
        job = asyncio.ensure_future(work)
        self._jobs.add(job)
        job.add_done_callback(self._ended)

    def _ended(self, job: "asyncio.Task[None]") -> None:
        self._jobs.discard(job)
        if job.cancelled() or not (error := job.exception()):
            return
        self._fail(error if isinstance(error, SrlmError) else _broken(error))

    def _fail(self, error: SrlmError) -> None:
        self._fatal = self._fatal or error
        blocks = [*self._waiting, *self._under_way]
        self._waiting.clear()
        self._under_way.clear()  # or an idle replica would take them for late, for ever
        for block in blocks:
            if not block.outcome.done():
                block.outcome.set_exception(error)

    async def _grow(self) -> None:
        """Start replicas, and more when the cluster has grown.

        Raises EngineError where not one can start, where no machine is left on which one could, and when the
        cluster's head says nothing any more.
        """
        well = time.monotonic()
        while True:
            nodes = await _asked(machines)
            if self._ready and self._share.room(nodes):
                well = time.monotonic()
            wanted = self._share.replicas or max(1, self._share.room(nodes))
            while len(self._handles) < wanted:
                await self._begin(self._serve(self._start(len(self._handles))))
            if time.monotonic() - well > self._section.start_timeout_s:
                raise no_room(self._share, nodes, self._section.start_timeout_s)
            await asyncio.sleep(min(2.0, self._section.start_timeout_s / 2))

    def _start(self, number: int) -> Any:
        options = Replica.options(  # type: ignore[attr-defined]
            num_cpus=self._share.cpus,
            num_gpus=self._share.gpus,
            max_restarts=-1,
            max_task_retries=TRIES - 1,
            scheduling_strategy="SPREAD",
        )
        self._handles.append(options.remote(self._section, self._model, number))
        return self._handles[-1]

    async def _serve(self, replica: Any) -> None:
        """Let a replica take one block after the other, for as long as the engine is open."""
        check(await replica.describe.options(max_task_retries=-1).remote())
        self._ready += 1
        while True:
            block = await self._next()
            began = time.monotonic()
            tries = TRIES - 1 if len(block.requests) > 1 else TRIES
            try:
                answered = await replica.answer.options(max_task_retries=tries).remote(block.requests)
            except ObjectLostError:  # the machine died with the replies
                self._waiting.appendleft(block)
                continue
            except DEATHS as error:
                if isinstance(error, ActorDiedError) and "creation task" in str(error):
                    raise _broken(error) from error
                self._settle(block, error)
                continue
            self._seconds.append(time.monotonic() - began)
            self._settle(block, answered)

    async def _next(self) -> Block:
        """The next block that waits, or a copy of one that is late."""
        while True:
            if self._waiting:
                block = self._waiting.popleft()
            elif not (late := self._late()):
                self._news.clear()
                await _wait_a_second(self._news)
                continue
            else:
                block = late
            if block.outcome.done():
                continue
            block.takers += 1
            block.began = time.monotonic()
            self._under_way[block] = None
            return block

    def _late(self) -> Block | None:
        """The oldest block that one replica alone has had for too long; none where asking costs."""
        block = next((block for block in self._under_way if block.takers == 1), None)
        if not block or not self._seconds or isinstance(self._section.engine, OpenAIEngineSection):
            return None
        usual = statistics.median(self._seconds)
        return block if time.monotonic() - block.began > LATE * usual + 1.0 else None

    def _settle(self, block: Block, outcome: "Answered | Exception") -> None:
        self._under_way.pop(block, None)
        if block.outcome.done():
            return
        if isinstance(outcome, Exception):
            block.outcome.set_exception(outcome)
        else:
            block.outcome.set_result(outcome)

    async def _answer(self, requests: Sequence[Request]) -> Answered:
        if self._fatal:
            raise self._fatal
        block = Block(requests, self._loop.create_future())
        self._waiting.append(block)
        self._news.set()
        try:
            answered = await block.outcome
        except DEATHS as error:
            if len(requests) == 1:
                return self._set_aside(requests[0], error)
            log.warning("a block of %d requests ended its worker: each is asked alone", len(requests))
            parts = [self._answer([request]) for request in requests]
            return _joined(await asyncio.gather(*parts))
        self._num_answered += len(requests)
        return answered

    def _set_aside(self, request: Request, error: Exception) -> Answered:
        """Without an answer, and named; raises EngineError where many end so, for then it is not they."""
        self._num_set_aside += 1
        if self._num_set_aside > 3 + self._num_answered // 10:
            raise EngineError(
                f"{self._num_set_aside} requests, each of which ended every worker that took it",
                f"only {self._num_answered} were answered, so it is not the requests: {_last_line(error)}",
                "read the worker's log (ray logs), give a replica more memory or GPUs, or lower "
                "engine.engine.batch_tokens; then run the same command again, which goes on",
            )
        failure = _poison(request, error)
        log.warning("%s", failure)
        return Answered(failure=failure)

    async def _end(self) -> None:
        lost = isinstance(self._fatal, ClusterLost)
        self._fail(EngineError("an engine over Ray", "it was closed", "open it again to ask more"))
        jobs = list(self._jobs)
        for job in jobs:
            job.cancel()
        for handle in [] if lost else self._handles:
            ray.kill(handle, no_restart=True)
        if jobs:
            await asyncio.wait(jobs, timeout=5)  # else the loop stops under them, and Python says so


def _joined(parts: Sequence[Answered]) -> Answered:
    """Blocks as one; of several failures, the poison of all, or the first other."""
    replies = [reply for part in parts for reply in part.replies]
    spent = sum((part.spent for part in parts), Counter())
    failures = [part.failure for part in parts if part.failure]
    poison = [error for error in failures if isinstance(error, PoisonRequest)]
    others = [error for error in failures if not isinstance(error, PoisonRequest)]
    if others or not poison:
        return Answered(replies, spent, others[0] if others else None)
    ids = tuple(key for error in poison for key in error.request_ids)
    first = poison[0]
    return Answered(replies, spent, PoisonRequest(first.given, first.why, first.todo, ids))


def _poison(request: Request, error: Exception) -> PoisonRequest:
    return PoisonRequest(
        f"request {request.id} ({beginning_of(request)})",
        f"it ended its worker {TRIES + 1} times, also alone: {_last_line(error)}",
        "the rest goes on without it; to see what it does, ask it alone with engine.kind=local",
        (request.id,),
    )


def _broken(error: BaseException) -> EngineError:
    return EngineError(
        "the engine over Ray",
        f"a replica failed: {_last_line(error)}",
        "read the worker's log (ray logs), mend what it names, and run the same command again: it goes on "
        "after the last block",
    )


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[-1] if lines else type(error).__name__)[:400]


async def _asked(head: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What the cluster's head answers; raises EngineError when it does not.

    In a thread that the end of this process does not wait for: Ray asks a head that is gone for a minute,
    and then ends the process.
    """
    answer: Future[list[dict[str, Any]]] = Future()

    def ask() -> None:
        try:
            answer.set_result(head())
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=ask, name="srlm asks the head", daemon=True).start()
    try:
        return await asyncio.wait_for(asyncio.wrap_future(answer), SILENCE)
    except (TimeoutError, RayError, ConnectionError, RuntimeError) as error:
        raise _lost(error) from error


def _lost(error: Exception) -> ClusterLost:
    give_up()
    said = _last_line(error) if str(error) else f"its head has not answered for {SILENCE:g} s"
    return ClusterLost(
        "the Ray cluster",
        f"it is gone: {said}",
        "start it again, or give engine.address=ADDRESS of another one, and run the same command again: it "
        "goes on after the last block",
    )


async def _wait_a_second(news: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(news.wait(), 1.0)
    except TimeoutError:
        return
