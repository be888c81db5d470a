"""Prompts read as one tree: what several begin with is computed once, and no padding is computed at all.

The distinct tokens of all prompts lie in one sequence. Attention gathers each prompt's keys along its path
and asks only for the tokens that are its own. A rubric at the head of all judgments, an instruction before
its responses: whatever is the same token for token is shared, without anyone having to say so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers.cache_utils import Cache

from srlm.prefixes import prefix_tree

SIMILAR = 0.75
"""Prompts attend together when the shorter has at least this share of the longer's own tokens."""


@dataclass(frozen=True)
class Group:
    """Prompts that attend together, padded to the longest.

    queries: [prompts, own], places of the tokens that are their own; keys: [prompts, length], places along
    the whole path; mask: [prompts, 1, own, length], whether a query sees a key.
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor


@dataclass(frozen=True)
class Tree:
    """The distinct tokens of some prompts.

    ids, depths: [1, tokens]. paths: for each prompt the places of its tokens. outputs: [tokens], where each
    token's attention stands among the queries of all groups, laid end to end.
    """

    ids: Tensor
    depths: Tensor
    paths: list[list[int]]
    groups: list[Group]
    outputs: Tensor

    @property
    def ends(self) -> Tensor:
        """[prompts], the place of each prompt's last token."""
        return torch.tensor([path[-1] for path in self.paths], device=self.ids.device)


def grow(prompts: Sequence[list[int]], device: torch.device | str = "cpu") -> Tree:
    """The tree of some prompts, none of them empty."""
    ids, depths, paths, shared = prefix_tree(prompts)
    own = [path[start:] for path, start in zip(paths, shared, strict=True)]
    groups, outputs = _groups(paths, own, depths, device)
    return Tree(
        torch.tensor([ids], device=device), torch.tensor([depths], device=device), paths, groups, outputs
    )


def _groups(
    paths: list[list[int]], own: list[list[int]], depths: list[int], device: torch.device | str
) -> tuple[list[Group], Tensor]:
    order = sorted((n for n in range(len(own)) if own[n]), key=lambda n: (-len(own[n]), n))
    cuts: list[list[int]] = []
    for number in order:
        if cuts and len(own[number]) >= SIMILAR * len(own[cuts[-1][0]]):
            cuts[-1].append(number)
        else:
            cuts.append([number])
    groups, outputs, start = [], torch.zeros(len(depths), dtype=torch.long), 0
    deep = torch.tensor(depths)
    for members in cuts:
        queries = _padded([own[number] for number in members])
        keys = _padded([paths[number] for number in members])
        places = start + torch.arange(queries.numel()).view(queries.shape)
        for row, number in enumerate(members):
            outputs[torch.tensor(own[number])] = places[row, : len(own[number])]
        # A key stands as deep as its place in the row, so padding on the right is deeper than any query.
        mask = torch.arange(keys.shape[1]) <= deep[queries][:, :, None]
        groups.append(Group(queries.to(device), keys.to(device), mask[:, None].to(device)))
        start += queries.numel()
    return groups, outputs.to(device)


def _padded(rows: list[list[int]]) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[row[0]] * (longest - len(row))] for row in rows])


class Reading(Cache):  # type: ignore[misc]
    """The cache while a tree is read: a layer's keys and values, [key heads, tokens, size].

    What it gives back to the model carries `tree`, by which attention.py knows what it sees.
    """

    def __init__(self, tree: Tree, num_layers: int) -> None:
        super().__init__(layers=[])
        self.tree = tree
        self.keys: list[Tensor] = [torch.empty(0)] * num_layers
        self.values: list[Tensor] = [torch.empty(0)] * num_layers

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_: Any, **__: Any) -> Any:
        self.keys[layer_idx], self.values[layer_idx] = key_states[0], value_states[0]
        key_states.tree = self.tree  # type: ignore[attr-defined]
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0, *_: Any) -> int:
        return 0


def attend(tree: Tree, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    """Attention of every distinct token along its own path.

    query: [1, heads, tokens, size]; key and value: [1, key heads, tokens, size]. Gives
    [1, tokens, heads, size].
    """
    _, heads, _, size = query.shape
    key_heads = key.shape[1]
    share = heads // key_heads
    found = []
    for group in tree.groups:
        rows, own = group.queries.shape
        # The query heads that share a key head stand one below the other, so that no key is copied.
        asked = query[0][:, group.queries].view(key_heads, share, rows, own, size)
        asked = asked.permute(2, 0, 1, 3, 4).reshape(rows, key_heads, share * own, size)
        attended = F.scaled_dot_product_attention(
            asked,
            key[0][:, group.keys].transpose(0, 1),
            value[0][:, group.keys].transpose(0, 1),
            attn_mask=group.mask.repeat(1, 1, share, 1) if share > 1 else group.mask,
            scale=scale,
        )
        attended = attended.view(rows, heads, own, value.shape[-1]).transpose(1, 2)
        found.append(attended.reshape(rows * own, heads, value.shape[-1]))
    return torch.cat(found)[tree.outputs][None]
