"""The unit in which a stage hands over its records and after which a run can be resumed."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, Protocol, TypeVar

from srlm.records import Record

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Block(Generic[R]):
    """Records that were made together, what was counted beside them, and how far the stage is.

    `done` and `total` count what the stage was asked for (prompts wanted, prompts answered ...).
    """

    records: list[R]
    done: int
    total: int
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Resume(Generic[R]):
    """How many blocks are on disk already, and their records, for a stage to go on from."""

    blocks: int = 0
    records: Iterable[R] = ()


T_co = TypeVar("T_co", covariant=True)
T = TypeVar("T")


class Sized(Protocol[T_co]):
    """Something with a known length that can be gone through, more than once."""

    def __iter__(self) -> Iterator[T_co]: ...
    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Items(Generic[T]):
    """Something to go through in order. A subclass gives it a `digest`, which makes it a step's input."""

    items: Sequence[T]

    def __iter__(self) -> Iterator[T]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def blocks_after(items: Iterable[T], size: int, done: int) -> Iterator[list[T]]:
    """The items in blocks of `size`, without the first `done` blocks.

    >>> list(blocks_after("abcde", 2, 1))
    [['c', 'd'], ['e']]
    """
    rest = islice(items, size * done, None)
    while block := list(islice(rest, size)):
        yield block
