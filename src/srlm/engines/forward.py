"""Two ways to run a model over rows that grow: sharing what they begin with, or padded, one row each."""

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from srlm.engines.attention import use_shared_attention
from srlm.engines.branches import Wave, Waves, make_wave, shared_beginning
from srlm.engines.tree import Reading, grow
from srlm.errors import ModelError

READ_AT_A_TIME = 8192
"""Tokens of prompts that go through the model together; more is no faster and takes more memory."""

SEEN = torch.ones(1, 1, 1, 1, dtype=torch.bool)
"""A mask that transformers hands on as it is: trees and waves know by themselves what a token may see."""


class Rows(Protocol):
    """Rows that began together, as far as they have come."""

    def __len__(self) -> int: ...

    def select(self, rows: list[int]) -> None:
        """Keep the given rows alone, in that order."""
        ...


class Forward(Protocol):
    """How a model reads prompts and goes on. `joins`: rows of different ages go through it together."""

    joins: bool

    def room(self, jobs: Sequence[tuple[int, int, int]]) -> int:
        """Tokens that a wave may come to hold; a job as tokens of its prompt, samples, new tokens of each."""
        ...

    def begin(self, prompts: Sequence[list[int]], counts: Sequence[int]) -> tuple[Rows, Tensor]:
        """So many rows of each prompt (0: only read), and the logits after each, [prompts, vocabulary]."""
        ...

    def step(self, rows: Sequence[Any], tokens: Sequence[list[int]]) -> list[Tensor]:
        """Give every row its next token; the logits after it, [rows, vocabulary] for each of `rows`."""
        ...


class SharedRows:
    """Rows of one wave. positions: [rows, 1], of the next token."""

    def __init__(self, wave: Wave, positions: Tensor) -> None:
        self.wave, self.positions = wave, positions

    def __len__(self) -> int:
        return len(self.wave)

    def select(self, rows: list[int]) -> None:
        chosen = torch.tensor(rows, device=self.positions.device)
        positions = self.positions[chosen]
        self.wave.select(chosen)
        self.positions = positions


class Sharing:
    """Prompts as a tree, samples as branches."""

    joins = True

    def __init__(self, model: Any) -> None:
        self._model = model
        self._num_layers = len(DynamicCache(config=model.config).layers)
        self._seen = SEEN.to(model.device)

    def room(self, jobs: Sequence[tuple[int, int, int]]) -> int:
        return sum(prompt + samples * new for prompt, samples, new in jobs)

    @torch.inference_mode()
    def begin(self, prompts: Sequence[list[int]], counts: Sequence[int]) -> tuple[SharedRows, Tensor]:
        readings, logits = [], []
        chunks = _chunks([len(prompt) for prompt in prompts])
        for chunk in chunks:
            tree = grow([prompts[n] for n in chunk], self._model.device)
            reading = Reading(tree, self._num_layers)
            logits.append(self._forward(tree.ids, tree.depths, reading, tree.ends)[0])
            readings.append(reading)
        going = [
            [(path, n) for path, n in zip(reading.tree.paths, chunk, strict=True) if counts[n]]
            for reading, chunk in zip(readings, chunks, strict=True)
        ]
        order = [n for of_tree in going for _, n in of_tree]
        wave = make_wave(
            [reading for reading, of_tree in zip(readings, going, strict=True) if of_tree],
            [[path for path, _ in of_tree] for of_tree in going if of_tree],
            shared_beginning([prompts[n] for n in order]),
            [counts[n] for n in order],
        )
        lengths = [len(prompts[n]) for n in order for _ in range(counts[n])]
        return SharedRows(wave, torch.tensor(lengths, device=self._model.device)[:, None]), torch.cat(logits)

    @torch.inference_mode()
    def step(self, rows: Sequence[SharedRows], tokens: Sequence[list[int]]) -> list[Tensor]:
        ids = torch.tensor([token for of_wave in tokens for token in of_wave], device=self._model.device)
        cache = Waves([one.wave for one in rows])
        logits = self._forward(ids[:, None], torch.cat([one.positions for one in rows]), cache, 1)[:, 0]
        cache.advance()
        for one in rows:
            one.positions = one.positions + 1
        return list(torch.split(logits, [len(one) for one in rows]))

    def _forward(self, ids: Tensor, positions: Tensor, cache: Any, kept: Any) -> Tensor:
        logits: Tensor = self._model(
            input_ids=ids,
            attention_mask=self._seen,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=kept,
        ).logits
        return logits


class PaddedRows:
    """Rows of one cache. mask: [rows, length]; positions: [rows, 1], of the next token."""

    def __init__(self, cache: Any, mask: Tensor, positions: Tensor) -> None:
        self.cache, self.mask, self.positions = cache, mask, positions

    def __len__(self) -> int:
        return len(self.mask)

    def select(self, rows: list[int]) -> None:
        chosen = torch.tensor(rows, device=self.mask.device)
        self.cache.reorder_cache(chosen)  # unlike batch_select_indices, for layers of states, too
        self.mask, self.positions = self.mask[chosen], self.positions[chosen]


class Padded:
    """The cache that the model brings: for windows, states, and attention that is not torch's."""

    joins = False

    def __init__(self, model: Any, pad: int) -> None:
        self._model, self._pad = model, pad

    def room(self, jobs: Sequence[tuple[int, int, int]]) -> int:
        longest = max(prompt for prompt, _, _ in jobs) + max(new for _, _, new in jobs)
        return longest * sum(samples for _, samples, _ in jobs)

    @torch.inference_mode()
    def begin(self, prompts: Sequence[list[int]], counts: Sequence[int]) -> tuple[PaddedRows, Tensor]:
        longest = max(map(len, prompts))
        device = self._model.device
        ids = torch.tensor(
            [[self._pad] * (longest - len(prompt)) + prompt for prompt in prompts], device=device
        )
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)[:, None]
        mask = (torch.arange(longest, device=device) >= longest - lengths).long()
        cache = DynamicCache(config=self._model.config)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        logits = self._forward(ids, mask, positions, cache)
        rows = PaddedRows(cache, mask, lengths)
        rows.select([n for n, count in enumerate(counts) for _ in range(count)])
        return rows, logits

    @torch.inference_mode()
    def step(self, rows: Sequence[PaddedRows], tokens: Sequence[list[int]]) -> list[Tensor]:
        found = []
        for one, following in zip(rows, tokens, strict=True):
            ids = torch.tensor(following, device=self._model.device)[:, None]
            mask = torch.cat([one.mask, one.mask.new_ones(len(one), 1)], dim=1)
            found.append(self._forward(ids, mask, one.positions, one.cache))
            one.mask, one.positions = mask, one.positions + 1
        return found

    def _forward(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Any) -> Tensor:
        logits: Tensor = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return logits


def forward_of(model: Any, pad: int) -> Forward:
    """Sharing where the model does the same with it, tried on short prompts; Padded where not.

    Raises ModelError where the model goes on differently with a cache than without one.
    """
    plain = all(type(layer) is DynamicLayer for layer in DynamicCache(config=model.config).layers)
    if plain and use_shared_attention(model) and _agrees(Sharing(model), model):
        return Sharing(model)
    padded = Padded(model, pad)
    if not _agrees(padded, model):
        raise ModelError(
            f"a model of the family {model.config.model_type}",
            "it writes other text with the cache that it is given than without one, for it keeps its state "
            "in a way of its own",
            "take a model whose attention transformers' DynamicCache serves, or have a server run it "
            "(engine.kind=openai)",
        )
    return padded


PROBES, PROBE_COUNTS = ([5, 6, 7], [5, 6, 8, 9], [5, 6, 8]), (1, 2, 0)
PROBE_NEXT = [9, 4, 3]
"""Prompts, samples of each, and what these go on with, on which a way to run a model is tried."""


@torch.inference_mode()
def _agrees(way: Forward, model: Any) -> bool:
    """Whether a way gives the logits of the model without any cache."""
    owners = [prompt for prompt, count in zip(PROBES, PROBE_COUNTS, strict=True) for _ in range(count)]
    whole = [*PROBES, *([*owner, token] for owner, token in zip(owners, PROBE_NEXT, strict=True))]
    wanted = torch.stack(
        [
            model(torch.tensor([ids], device=model.device), use_cache=False).logits[0, -1].float()
            for ids in whole
        ]
    )
    try:
        rows, after = way.begin(PROBES, PROBE_COUNTS)
        found = torch.cat([after, *way.step([rows], [PROBE_NEXT])]).float()
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError) as error:
        if is_out_of_memory(error):
            raise
        return False  # a cache that it does not know
    # Rounding differs; a token that a row should not have seen is further off.
    return bool((found - wanted).abs().mean() < 0.05 * wanted.std())


def is_out_of_memory(error: BaseException) -> bool:
    """torch's CPU allocator has no error class of its own."""
    words = ("can't allocate memory", "not enough memory", "out of memory")
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or any(
        word in str(error) for word in words
    )


def _chunks(lengths: Sequence[int]) -> list[list[int]]:
    """Indices in order, cut where their lengths would add up to more than READ_AT_A_TIME."""
    chunks: list[list[int]] = []
    room = 0
    for index, length in enumerate(lengths):
        if length > room:
            chunks.append([])
            room = READ_AT_A_TIME
        chunks[-1].append(index)
        room -= length
    return chunks
