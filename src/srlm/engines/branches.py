"""The cache of samples that share what they begin with: trunks are kept once, and only branches grow.

n samples of a prompt read the same keys and values at every step, and all judgments of a batch read the same
rubric. Kept a row each, that is most of the memory that decoding moves; copied at every step to append one
token, it is twice as much again. Here it is read once a trunk for all its rows, and new tokens are written in
place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

GROWTH = 32
"""New tokens for which room is made at a time."""


@dataclass(frozen=True)
class Trunks:
    """Beginnings, each shared by up to `width` rows.

    keys, values: a layer, [trunks, key heads, length, size]. mask: [trunks, length], False at padding; None
    where there is none. slots: [rows], trunk * width + place of each row; None where rows fill all in order.
    """

    keys: Sequence[Tensor]
    values: Sequence[Tensor]
    mask: Tensor | None
    slots: Tensor | None
    width: int

    def scores(self, query: Tensor, layer: int) -> Tensor:
        """Scaled queries [rows, key heads, group, size] against each row's trunk: [..., group, length]."""
        scores = self._spread(query) @ self.keys[layer].mT
        if self.mask is not None:
            scores = scores.masked_fill(~self.mask[:, None, None], float("-inf"))
        return self._gather(scores, query.shape)

    def attend(self, weights: Tensor, layer: int) -> Tensor:
        """Weights [rows, key heads, group, length] on the values of each row's trunk: [..., group, size]."""
        return self._gather(self._spread(weights) @ self.values[layer], weights.shape)

    def select(self, rows: Tensor) -> "Trunks":
        """For the given rows alone; trunks without rows are dropped where that at least halves them."""
        slots = torch.arange(self.num * self.width, device=rows.device) if self.slots is None else self.slots
        slots = slots[rows]
        used = torch.unique(slots // self.width)
        if 2 * len(used) > self.num:
            return replace(self, slots=slots)
        place = torch.zeros(self.num, dtype=torch.long, device=rows.device)
        place[used] = torch.arange(len(used), device=rows.device)
        return Trunks(
            [keys[used] for keys in self.keys],
            [values[used] for values in self.values],
            None if self.mask is None else self.mask[used],
            place[slots // self.width] * self.width + slots % self.width,
            self.width,
        )

    @property
    def num(self) -> int:
        return len(self.keys[0])

    def _spread(self, rows: Tensor) -> Tensor:
        """[rows, key heads, group, n] to [trunks, key heads, width * group, n]."""
        _, heads, group, size = rows.shape
        if self.slots is not None:
            room = rows.new_zeros(self.num * self.width, heads, group, size)
            rows = room.index_copy_(0, self.slots, rows)
        spread = rows.view(self.num, self.width, heads, group, size).transpose(1, 2)
        return spread.reshape(self.num, heads, self.width * group, size)

    def _gather(self, spread: Tensor, shape: Sequence[int]) -> Tensor:
        """[trunks, key heads, width * group, n] to [rows, key heads, group, n]."""
        _, heads, group, _ = shape
        size = spread.shape[-1]
        rows = spread.view(self.num, heads, self.width, group, size).transpose(1, 2)
        rows = rows.reshape(self.num * self.width, heads, group, size)
        return rows if self.slots is None else rows[self.slots]


class Branches(Cache):  # type: ignore[misc]
    """What each row has written since its trunk, [rows, key heads, length, size] a layer, with room to grow.

    A model updates it layer by layer as it does any cache; the keys that it gets back carry `branches`, by
    which attention.py knows that they are not all.
    """

    def __init__(self, trunks: Sequence[Trunks], num_layers: int) -> None:
        super().__init__(layers=[])
        self.trunks = list(trunks)
        self.length = 0
        self._keys: list[Tensor | None] = [None] * num_layers
        self._values: list[Tensor | None] = [None] * num_layers

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        """Write one new token a row; gives back all that the rows have written, this token included."""
        keys = self._room(self._keys, key_states, layer_idx)
        values = self._room(self._values, value_states, layer_idx)
        end = self.length + 1
        keys[:, :, self.length : end] = key_states
        values[:, :, self.length : end] = value_states
        written = keys[:, :, :end]
        written.branches = self  # type: ignore[attr-defined]
        return written, values[:, :, :end]

    def advance(self) -> None:
        """All layers have been given their token."""
        self.length += 1

    def select(self, rows: Tensor) -> None:
        """Keep the given rows alone."""
        self.trunks = [trunks.select(rows) for trunks in self.trunks]
        for held in (self._keys, self._values):
            for layer, tensor in enumerate(held):
                held[layer] = None if tensor is None else tensor[rows]

    def get_seq_length(self, layer_idx: int = 0, *_: Any) -> int:
        """Tokens before the next one."""
        return sum(trunks.keys[0].shape[2] for trunks in self.trunks) + self.length

    def _room(self, held: list[Tensor | None], like: Tensor, layer: int) -> Tensor:
        tensor = held[layer]
        if tensor is None or tensor.shape[2] <= self.length:
            rows, heads, _, size = like.shape
            grown = like.new_empty(rows, heads, self.length + GROWTH, size)
            if tensor is not None:
                grown[:, :, : self.length] = tensor[:, :, : self.length]
            held[layer] = tensor = grown
        return tensor


def branch_off(cache: Any, mask: Tensor, shared: int, counts: Sequence[int]) -> Branches:
    """Branches on what a cache has read of the prompts: so many rows of each, in order.

    mask: [prompts, length] of the cache, whose first `shared` tokens are the same in all prompts.
    """
    layers, width = cache.layers, max(counts)
    slots = [prompt * width + place for prompt, count in enumerate(counts) for place in range(count)]
    is_full = len(slots) == len(counts) * width
    own_mask = mask[:, shared:].bool()
    # Slices of the cache would hold all of it in memory, and are slower to multiply.
    own = Trunks(
        [layer.keys[:, :, shared:].contiguous() for layer in layers],
        [layer.values[:, :, shared:].contiguous() for layer in layers],
        None if own_mask.all() else own_mask,
        None if is_full else torch.tensor(slots, device=mask.device),
        width,
    )
    if not shared:
        return Branches([own], len(layers))
    root = Trunks(
        [layer.keys[:1, :, :shared].clone() for layer in layers],
        [layer.values[:1, :, :shared].clone() for layer in layers],
        None,
        None,
        len(slots),
    )
    return Branches([root, own], len(layers))


def attend(branches: Branches, query: Tensor, keys: Tensor, values: Tensor, layer: int) -> Tensor:
    """Attention of a scaled query a row, [rows, key heads, group, size], on its trunks and its branch."""
    parts = [trunks.scores(query, layer) for trunks in branches.trunks]
    lengths = [part.shape[-1] for part in parts]
    scores = torch.cat([*parts, query @ keys.mT], dim=-1)
    weights = scores.softmax(-1, dtype=torch.float32).to(values.dtype)
    *of_trunks, own = torch.split(weights, [*lengths, keys.shape[2]], dim=-1)
    attended: Tensor = own @ values
    for trunks, part in zip(branches.trunks, of_trunks, strict=True):
        attended = attended + trunks.attend(part, layer)
    return attended
