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
    """Right-padded sequences.

    ids and mask: [sequences, length]. `where`: [sequences, length], true at the position *before*
    each target. `targets`, `owners`: [targets], the target ids and the sequence each belongs to.
    """

    ids: Tensor
    mask: Tensor
    where: Tensor
    targets: Tensor
    owners: Tensor

    def to(self, device: torch.device) -> "Batch":
        return Batch(
            *(getattr(self, name).to(device) for name in ("ids", "mask", "where", "targets", "owners"))
        )

    @property
    def num_tokens(self) -> int:
        """Tokens of all sequences."""
        return int(self.mask.sum())

    @property
    def num_distinct(self) -> int:
        """Tokens that the model has to see: here all, for nothing is shared."""
        return self.num_tokens

    def inputs(self) -> dict[str, Any]:
        """What the model is called with."""
        return {"input_ids": self.ids, "attention_mask": self.mask}

    def before_targets(self, hidden: Tensor) -> Tensor:
        """From [sequences, length, width] the states in front of the targets, [targets, width]."""
        return hidden[self.where]


def encode(tokenizer: Any, prompt: str, answer: str, finish: Finish = "stop") -> Tokens:
    """Tokens of one turn and its answer; an answer that was cut off gets no end token."""
    head, said = chat_text(tokenizer, ask(prompt)), without_controls(tokenizer, answer)
    start: list[int] = tokenizer(head, add_special_tokens=False)["input_ids"]
    target: list[int] = tokenizer(said, add_special_tokens=False)["input_ids"]
    end = [tokenizer.eos_token_id] if finish == "stop" else []
    return Tokens((*start, *target, *end), len(start))


def training_order(
    num_items: int, batch_size: int, epochs: float, seed: int, *, beside: int = 0
) -> list[list[int]]:
    """Indices of every optimiser batch: each epoch shuffled anew, the last batch may be smaller.

    The last `beside` of the items stand beside the others: they are spread evenly over each epoch, so that no
    batch has more than its share of them.
    """
    wanted = max(1, round(num_items * epochs))
    order: list[int] = []
    for epoch in range(math.ceil(wanted / num_items)):
        shuffled = list(range(num_items - beside))
        random.Random(seed_for(seed, "order", epoch)).shuffle(shuffled)  # noqa: S311  not for security
        others = list(range(num_items - beside, num_items))
        random.Random(seed_for(seed, "order beside", epoch)).shuffle(others)  # noqa: S311  not for security
        for number, index in enumerate(others):
            shuffled.insert(int((number + 0.5) * num_items / beside), index)
        order += shuffled
    return [order[start : min(start + batch_size, wanted)] for start in range(0, wanted, batch_size)]


def micro_batches(lengths: Sequence[int], micro_tokens: int) -> list[list[int]]:
    """Indices grouped, longest first, so that rows times longest stays within `micro_tokens`.

    An item longer than that stands alone.
    """
    groups: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: (-lengths[index], index)):
        if groups and (len(groups[-1]) + 1) * lengths[groups[-1][0]] <= micro_tokens:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


def share_out(costs: Sequence[int], size: int) -> list[list[int]]:
    """Places of some items for each of `size` processes, so that their costs are about the same.

    The dearest first, each to the process that has least; fewer items than processes leave some without any.
    """
    shares: list[list[int]] = [[] for _ in range(size)]
    sums = [0] * size
    for place in sorted(range(len(costs)), key=lambda place: (-costs[place], place)):
        rank = sums.index(min(sums))
        shares[rank].append(place)
        sums[rank] += costs[place]
    return [sorted(share) for share in shares]


def passes_of(groups: Sequence[Sequence[list[int]]], rank: int) -> list[tuple[list[int], float]]:
    """A process's micro-batches and their weights, as many as the process with most has.

    What is missing is a micro-batch again, with weight 0: where the model is sharded, it runs in all
    processes or in none.
    """
    most = max(len(each) for each in groups)
    again = next(each[-1] for each in [groups[rank], *groups] if each)
    own = [(group, 1.0) for group in groups[rank]]
    return own + [(again, 0.0)] * (most - len(own))


def collate(items: Sequence[Tokens], pad: int) -> Batch:
    """Right-padded batch of the sequences, in order."""
    longest = max(len(item.ids) for item in items)
    ids = torch.tensor([[*item.ids, *[pad] * (longest - len(item.ids))] for item in items])
    places = torch.arange(longest)
    lengths = torch.tensor([len(item.ids) for item in items])[:, None]
    starts = torch.tensor([item.start for item in items])[:, None]
    is_target = (places >= starts) & (places < lengths)
    return Batch(
        ids=ids,
        mask=(places < lengths).long(),
        where=torch.cat([is_target[:, 1:], is_target.new_zeros(len(items), 1)], dim=1),
        targets=ids[is_target],
        owners=is_target.nonzero()[:, 0],
    )
