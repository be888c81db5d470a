"""The cache while rows are written: what rows begin with is kept once, and only their branches grow.

n samples of a prompt read the same keys and values at every step, and all judgments of a wave read the same
rubric. Kept a row each, that is most of the memory that decoding moves; copied at every step to append one
token, it is twice as much again. Here it is read once a trunk for all its rows, and new tokens are written in
place.

Rows that began together are a wave. Waves of different ages go through the model together (`Waves`); only
attention takes them one by one.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from srlm.engines.tree import Reading
from srlm.prefixes import num_common

GROWTH = 32
"""New tokens for which room is made at a time."""
SHARED_AT_LEAST = 32
"""Tokens that all prompts of a wave must begin with to be kept once: a second product costs, too."""


@dataclass(frozen=True)
class Trunk:
    """Beginnings, each shared by `width` neighbouring slots.

    keys, values: a layer, [key heads, beginnings, length, size]. mask: [beginnings, length], False at
    padding; None where there is none.
    """

    keys: Sequence[Tensor]
    values: Sequence[Tensor]
    mask: Tensor | None

    def scores(self, query: Tensor, layer: int) -> Tensor:
        """Queries [key heads, slots, group, size] against each slot's beginning: [..., group, length]."""
        keys = self.keys[layer]
        scores = self._folded(query, keys) @ keys.mT
        if self.mask is not None:
            scores = scores.masked_fill(~self.mask[None, :, None], float("-inf"))
        return scores.view(*query.shape[:-1], keys.shape[2])

    def attend(self, weights: Tensor, layer: int) -> Tensor:
        """Weights [key heads, slots, group, length] on each slot's beginning: [..., group, size]."""
        values = self.values[layer]
        return (self._folded(weights, values) @ values).view(*weights.shape[:-1], values.shape[-1])

    def select(self, beginnings: Tensor) -> "Trunk":
        """The given beginnings alone."""
        return Trunk(
            [keys[:, beginnings] for keys in self.keys],
            [values[:, beginnings] for values in self.values],
            None if self.mask is None else self.mask[beginnings],
        )

    @staticmethod
    def _folded(rows: Tensor, beginnings: Tensor) -> Tensor:
        """[key heads, slots, group, n] to [key heads, beginnings, slots of each * group, n]."""
        return rows.reshape(rows.shape[0], beginnings.shape[1], -1, rows.shape[-1])


class Wave:
    """Rows that began together: their trunks, and what each has written since, with room to grow.

    A row stands in a slot; the slots of a prompt's samples are neighbours. Slots whose rows have ended stay
    until half of the prompts have none left, because moving costs more.
    """

    def __init__(self, root: Trunk | None, own: Trunk, counts: Sequence[int], device: torch.device) -> None:
        self._root, self._own = root, own
        self._width = max(counts)
        self._slots = torch.tensor(
            [n * self._width + place for n, count in enumerate(counts) for place in range(count)],
            device=device,
        )
        self._length = 0
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    def __len__(self) -> int:
        return len(self._slots)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        """Take a new token a row, and attend to all that each row has seen, this token included.

        query: scaled, [rows, key heads, group, size]; key and value: [rows, key heads, size]; gives
        [rows, key heads, group, size].
        """
        keys = self._written(self._keys, key, layer)
        values = self._written(self._values, value, layer)
        asked = self._spread(query)
        own = asked @ keys.mT
        own[..., self._length + 1 :] = float("-inf")  # room that is not written yet
        trunks = [trunk for trunk in (self._root, self._own) if trunk]
        parts = [trunk.scores(asked, layer) for trunk in trunks]
        weights = torch.cat([*parts, own], dim=-1).softmax(-1, dtype=torch.float32).to(values.dtype)
        *of_trunks, mine = torch.split(weights, [part.shape[-1] for part in (*parts, own)], dim=-1)
        attended: Tensor = mine @ values
        for trunk, part in zip(trunks, of_trunks, strict=True):
            attended += trunk.attend(part, layer)
        return attended[:, self._slots].transpose(0, 1)

    def advance(self) -> None:
        """All layers have been given their token."""
        self._length += 1

    def select(self, rows: Tensor) -> None:
        """Keep the given rows alone; all or nothing, where the memory runs out."""
        slots = self._slots[rows]
        used = torch.unique(slots // self._width)
        num = self._own.keys[0].shape[1]
        if 2 * len(used) > num:
            self._slots = slots
            return
        place = torch.zeros(num, dtype=torch.long, device=rows.device)
        place[used] = torch.arange(len(used), device=rows.device)
        kept = (used[:, None] * self._width + torch.arange(self._width, device=rows.device)).flatten()
        slots = place[slots // self._width] * self._width + slots % self._width
        own = self._own.select(used)
        keys, values = ([of_layer[:, kept] for of_layer in held] for held in (self._keys, self._values))
        self._slots, self._own, self._keys, self._values = slots, own, keys, values

    def _spread(self, rows: Tensor) -> Tensor:
        """[rows, key heads, ...] to [key heads, slots, ...], zeros where a slot has no row."""
        num_slots = self._own.keys[0].shape[1] * self._width
        if len(self._slots) == num_slots:  # they are in order
            return rows.transpose(0, 1).contiguous()
        room = rows.new_zeros(rows.shape[1], num_slots, *rows.shape[2:])
        return room.index_copy_(1, self._slots, rows.transpose(0, 1))

    def _written(self, held: list[Tensor], new: Tensor, layer: int) -> Tensor:
        """What the slots have written, [key heads, slots, room, size], with a new token a row.

        The room is multiplied as a whole: a part of it would be copied first.
        """
        new = self._spread(new)
        if layer == len(held):
            held.append(new.new_zeros(*new.shape[:2], 0, new.shape[2]))
        if held[layer].shape[2] <= self._length:
            heads, slots, size = new.shape
            grown = new.new_zeros(heads, slots, self._length + GROWTH, size)
            grown[:, :, : self._length] = held[layer]
            held[layer] = grown
        held[layer][:, :, self._length] = new
        return held[layer]


class Waves(Cache):  # type: ignore[misc]
    """Some waves as one cache: their rows stand one wave after the other.

    A model updates it layer by layer as it does any cache; the keys that it gets back carry `waves`, by which
    attention.py knows that they are not all.
    """

    def __init__(self, waves: Sequence[Wave]) -> None:
        super().__init__(layers=[])
        self.waves = waves

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        key_states.waves = self  # type: ignore[attr-defined]
        return key_states, value_states

    def attend(self, query: Tensor, key: Tensor, value: Tensor, layer: int) -> Tensor:
        """Attention of one new token a row: as `Wave.attend`, over all rows."""
        sizes = [len(wave) for wave in self.waves]
        parts = zip(self.waves, *(torch.split(part, sizes) for part in (query, key, value)), strict=True)
        return torch.cat([wave.attend(q, k, v, layer) for wave, q, k, v in parts])

    def advance(self) -> None:
        """All layers have been given their token."""
        for wave in self.waves:
            wave.advance()

    def get_seq_length(self, layer_idx: int = 0, *_: Any) -> int:
        return 1  # the mask and the positions are given


def make_wave(
    readings: Sequence[Reading], paths: Sequence[Sequence[list[int]]], shared: int, counts: Sequence[int]
) -> Wave:
    """The wave of prompts that were read in some trees, `counts` rows of each.

    paths: for each tree the paths of its prompts; all of them share their first `shared` tokens.
    """
    device, layers = readings[0].tree.ids.device, range(len(readings[0].keys))
    lengths = torch.tensor([len(path) - shared for of_tree in paths for path in of_tree])
    longest = int(lengths.max())
    places = [
        torch.tensor([[*path[shared:], *[path[0]] * (longest - len(path) + shared)] for path in of_tree])
        for of_tree in paths
    ]
    mask = torch.arange(longest) < lengths[:, None]

    def of_own(layer: int, name: str) -> Tensor:
        parts = zip(readings, places, strict=True)
        return torch.cat([getattr(read, name)[layer][:, at.to(device)] for read, at in parts], dim=1)

    def of_root(layer: int, name: str) -> Tensor:
        at = torch.tensor(paths[0][0][:shared], dtype=torch.long, device=device)
        rows: Tensor = getattr(readings[0], name)[layer][:, at]
        return rows[:, None]

    own, root = (
        Trunk([of(n, "keys") for n in layers], [of(n, "values") for n in layers], None)
        for of in (of_own, of_root)
    )
    own = replace(own, mask=None if mask.all() else mask.to(device))
    return Wave(root if shared else None, own, counts, device)


def shared_beginning(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with and that are worth keeping once; each keeps one of its own."""
    if len(prompts) == 1:
        return 0
    shared = min(num_common(prompts[0], prompt) for prompt in prompts)
    shared = min(shared, min(map(len, prompts)) - 1)
    return shared if shared >= SHARED_AT_LEAST else 0
