"""Ask an engine, block by block; a request that cannot be answered costs only itself.

An engine that wants more requests than a block has (its `capacity`, as of a cluster) is given several blocks
at once, each from a thread. What they make is the same, and is handed over in the same order.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple, TypeVar

from srlm.engines.base import Engine, Reply, Request
from srlm.errors import Unanswerable
from srlm.records import Record
from srlm.store.blocks import Block, Resume, Sized, blocks_after

R = TypeVar("R", bound=Record)
T = TypeVar("T")
Made = tuple[list[R], Counter[str]]
"""The records of a block, and what was counted beside them."""

MOST_THREADS = 256


class Replies(NamedTuple):
    """Every reply by request id and draw; `left_out`: why a request has none, by its id."""

    found: dict[tuple[str, int], Reply]
    left_out: dict[str, str]


def replies_to(engine: Engine, requests: Sequence[Request]) -> Replies:
    """What an engine answers.

    One text that is too long, or that ends every worker, must not end a run of weeks: it is left out, named,
    and the rest asked.
    """
    left_out: dict[str, str] = {}
    while True:
        asked = [request for request in requests if request.id not in left_out]
        try:
            replies = {(reply.request_id, reply.draw): reply for reply in engine.generate(asked)}
            return Replies(replies, left_out)
        except Unanswerable as error:
            named = {request.id for request in asked} & set(error.request_ids)
            if not named:
                raise
            left_out |= dict.fromkeys(sorted(named), error.reason)


def unanswered(left_out: dict[str, str]) -> Counter[str]:
    """How many requests were left out, by reason."""
    return Counter(f"no answer: {reason}" for reason in left_out.values())


def in_blocks(
    engine: object,
    items: Sized[T],
    size: int,
    resume: Resume[R] | None,
    work: Callable[[list[T]], Made[R]],
) -> Iterator[Block[R]]:
    """A Block of what `work` makes of every `size` items, in their order, without those that are done."""
    start = resume.blocks if resume else 0
    done = min(start * size, len(items))
    for block, (records, counts) in _ahead(engine, blocks_after(items, size, start), work):
        done += len(block)
        yield Block(records, done, len(items), +counts)


def _ahead(
    engine: object, blocks: Iterable[list[T]], work: Callable[[list[T]], Made[R]]
) -> Iterator[tuple[list[T], Made[R]]]:
    """Each block with what `work` makes of it; so many under way as fill the engine, and one more."""
    capacity: int = getattr(engine, "capacity", 0)
    if not capacity:
        yield from ((block, work(block)) for block in blocks)
        return
    under_way: deque[tuple[list[T], Future[Made[R]]]] = deque()
    threads = ThreadPoolExecutor(MOST_THREADS, "srlm blocks")
    try:
        for block in blocks:
            while sum(len(other) for other, _ in under_way) >= capacity:
                first, made = under_way.popleft()
                yield first, made.result()
            under_way.append((block, threads.submit(work, block)))
        while under_way:
            first, made = under_way.popleft()
            yield first, made.result()
    finally:
        threads.shutdown(wait=False, cancel_futures=True)  # what is under way ends with the engine
