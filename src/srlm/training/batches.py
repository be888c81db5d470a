"""Token sequences, the order of training, and micro-batches that fit the memory.

The order of the whole training is fixed before it starts, by a seed and the number of items, so a
resumed training sees exactly the batches that it missed.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from srlm.chat_format import chat_text, without_controls
from srlm.records import Finish, ask, seed_for


@dataclass(frozen=True)
class Tokens:
    """A conversation: `ids` of prompt and answer; the answer, the only target, begins at `start`."""

    ids: tuple[int, ...]
    start: int

    @property
    def num_targets(self) -> int:
        return len(self.ids) - self.start


@dataclass(frozen=True)
class Batch:
    """Sequences as the model sees them, and where their targets stand.

    ids: [rows, length]. Padded: a sequence a row, mask [rows, length]. Packed: one row, positions [1, length]
    within each sequence, mask [1, 1, length, length], true where a token (row) may look at another (column).
    `where`: [targets], the place in the flattened ids *before* each target. `targets`, `owners`: [targets],
    the target ids and the sequence each belongs to, sequence by sequence. `num_tokens`: of all sequences.
    """

    ids: Tensor
    mask: Tensor
    positions: Tensor | None
    where: Tensor
    targets: Tensor
    owners: Tensor
    num_tokens: int

    def to(self, device: torch.device) -> "Batch":
        return Batch(
            ids=self.ids.to(device),
            mask=self.mask.to(device),
            positions=None if self.positions is None else self.positions.to(device),
            where=self.where.to(device),
            targets=self.targets.to(device),
            owners=self.owners.to(device),
            num_tokens=self.num_tokens,
        )


@dataclass(frozen=True)
class Layout:
    """How sequences become batches: packed, so that what they begin with is computed once, or padded.

    A pair shares its prompt, and all judgments share their rubric. Packing is exact where a model takes a
    mask of its own (policy.can_pack); there is no padding then.
    """

    pad: int
    packed: bool

    def batch(self, items: Sequence[Tokens]) -> Batch:
        """The batch of some sequences."""
        return pack(items) if self.packed else collate(items, self.pad)

    def split(self, units: Sequence[Sequence[Tokens]], micro_tokens: int) -> list[list[int]]:
        """Indices of units (an example, or both answers of a pair) grouped to fit `micro_tokens`.

        Alike units stand together; one that is too long by itself stands alone.
        """
        if self.packed:
            order = sorted(range(len(units)), key=lambda index: units[index][0].ids)
            size = packed_length
        else:
            order = sorted(range(len(units)), key=lambda index: (-_longest(units[index]), index))
            size = padded_length
        groups: list[list[int]] = []
        for index in order:
            together = [item for other in [*(groups[-1] if groups else ()), index] for item in units[other]]
            if groups and size(together) <= micro_tokens:
                groups[-1].append(index)
            else:
                groups.append([index])
        return groups


def padded_length(items: Sequence[Tokens]) -> int:
    """Tokens of a padded batch."""
    return len(items) * _longest(items)


def packed_length(items: Sequence[Tokens]) -> int:
    """Tokens of a packed batch: all sequences, what they begin with alike once."""
    before: tuple[int, ...] = ()
    total = 0
    for ids in sorted(item.ids for item in items):
        total += len(ids) - common_prefix(before, ids)
        before = ids
    return total


def common_prefix(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike."""
    return next(
        (place for place, (a, b) in enumerate(zip(one, other, strict=False)) if a != b),
        min(len(one), len(other)),
    )


def _longest(items: Sequence[Tokens]) -> int:
    return max(len(item.ids) for item in items)


def encode(tokenizer: Any, prompt: str, answer: str, finish: Finish = "stop") -> Tokens:
    """Tokens of one turn and its answer; an answer that was cut off gets no end token."""
    head, said = chat_text(tokenizer, ask(prompt)), without_controls(tokenizer, answer)
    start: list[int] = tokenizer(head, add_special_tokens=False)["input_ids"]
    target: list[int] = tokenizer(said, add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id] if finish == "stop" else []
    return Tokens((*start, *target, *end), len(start))


def training_order(num_items: int, batch_size: int, epochs: float, seed: int) -> list[list[int]]:
    """Indices of every optimiser batch: each epoch shuffled anew, the last batch may be smaller."""
    wanted = max(1, round(num_items * epochs))
    order: list[int] = []
    for epoch in range(math.ceil(wanted / num_items)):
        shuffled = list(range(num_items))
        random.Random(seed_for(seed, "order", epoch)).shuffle(shuffled)  # noqa: S311  not for security
        order += shuffled
    return [order[start : min(start + batch_size, wanted)] for start in range(0, wanted, batch_size)]


def collate(items: Sequence[Tokens], pad: int) -> Batch:
    """Right-padded batch of the sequences, in order."""
    longest = _longest(items)
    ids = torch.tensor([[*item.ids, *[pad] * (longest - len(item.ids))] for item in items])
    places = torch.arange(longest)
    lengths = torch.tensor([len(item.ids) for item in items])[:, None]
    starts = torch.tensor([item.start for item in items])[:, None]
    is_target = (places >= starts) & (places < lengths)
    rows, columns = is_target.nonzero(as_tuple=True)
    return Batch(
        ids=ids,
        mask=(places < lengths).long(),
        positions=None,
        where=rows * longest + columns - 1,
        targets=ids[is_target],
        owners=rows,
        num_tokens=int(lengths.sum()),
    )


def pack(items: Sequence[Tokens]) -> Batch:
    """All sequences in one row, as a tree: each token sees those before it in its own sequence alone."""
    ids: list[int] = []
    positions: list[int] = []
    paths: dict[int, list[int]] = {}  # of each sequence, the places of its tokens in the row
    before: list[int] = []
    last: tuple[int, ...] = ()
    for index in sorted(range(len(items)), key=lambda index: items[index].ids):
        item = items[index]
        shared = common_prefix(last, item.ids)
        new = range(len(ids), len(ids) + len(item.ids) - shared)
        paths[index] = [*before[:shared], *new]
        ids += item.ids[shared:]
        positions += range(shared, len(item.ids))
        before, last = paths[index], item.ids
    mask = torch.zeros(len(ids), len(ids), dtype=torch.bool)
    for path in paths.values():
        places = torch.tensor(path)
        mask[places[:, None], places] |= torch.ones(len(path), len(path), dtype=torch.bool).tril()
    where = [place for index, item in enumerate(items) for place in paths[index][item.start - 1 : -1]]
    targets = [token for item in items for token in item.ids[item.start :]]
    owners = [index for index, item in enumerate(items) for _ in range(item.num_targets)]
    return Batch(
        ids=torch.tensor([ids]),
        mask=mask[None, None],
        positions=torch.tensor([positions]),
        where=torch.tensor(where),
        targets=torch.tensor(targets),
        owners=torch.tensor(owners),
        num_tokens=sum(len(item.ids) for item in items),
    )
