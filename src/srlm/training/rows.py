"""Flat rows: a micro-batch as one sequence of distinct tokens, what rows begin with alike computed once.

The prompt of a pair stands in both of its rows, and the rubric at the head of every judging example. A flat
micro-batch holds each (beginning, token) once and no padding, so norms and linear layers see [1, tokens].
Only attention needs rows: `rows_attention` takes queries, keys and values from the flat tokens into
right-padded rows, runs torch's causal kernel there, where no mask is needed, and takes each flat token's
output from the one row that owns it. No row sees another.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from srlm.prefixes import PrefixTree, num_common, prefix_tree
from srlm.training.batches import Batch, Tokens, collate, micro_batches
from srlm.training.world import unwrapped

NAME = "srlm_rows"
ALIKE = 0.75
"""Rows stand in one call of the attention when the shortest has at least this share of the longest."""


class Places(NamedTuple):
    """Where each row of a table is taken from, and for each row of the source, who took it.

    `sources`: [taken]; `takers`: places of the table, those of the first source first, [used <= taken];
    `starts`: [sources], where each source's takers begin. What is padding has a source, but is no taker.
    """

    sources: Tensor
    takers: Tensor
    starts: Tensor

    def to(self, device: torch.device) -> "Places":
        return Places(*(each.to(device) for each in self))


@dataclass(frozen=True)
class Rows:
    """`into`: from flat tokens to the padded rows, group by group; `back`: from these to the flat tokens.

    `groups`: (rows, longest) of each group of rows of similar length.
    """

    into: Places
    back: Places
    groups: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class FlatBatch:
    """Sequences as one row of distinct tokens.

    ids, positions: [1, tokens]. `where`: [targets], the place *before* each target; `targets`, `owners`:
    [targets], the target ids and the sequence each belongs to. `num_tokens`: of all sequences, shared or not.
    """

    ids: Tensor
    positions: Tensor
    where: Tensor
    targets: Tensor
    owners: Tensor
    rows: Rows
    num_tokens: int

    @property
    def num_distinct(self) -> int:
        """Tokens that the model has to see: what is shared counts once."""
        return self.ids.numel()

    def to(self, device: torch.device) -> "FlatBatch":
        rows = Rows(self.rows.into.to(device), self.rows.back.to(device), self.rows.groups)
        return FlatBatch(
            ids=self.ids.to(device),
            positions=self.positions.to(device),
            where=self.where.to(device),
            targets=self.targets.to(device),
            owners=self.owners.to(device),
            rows=rows,
            num_tokens=self.num_tokens,
        )

    def inputs(self) -> dict[str, Any]:
        """What the model is called with; a mask of four dimensions is handed on as it is, and ignored."""
        mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=self.ids.device)
        return {
            "input_ids": self.ids,
            "attention_mask": mask,
            "position_ids": self.positions,
            "flat_rows": self.rows,
        }

    def before_targets(self, hidden: Tensor) -> Tensor:
        """From [1, tokens, width] the states in front of the targets, [targets, width]."""
        return hidden[0, self.where]


def batch_of(model: Any, items: Sequence[Tokens], pad: int) -> Batch | FlatBatch:
    """The batch of some sequences, as the model takes it, on its device."""
    model = unwrapped(model)
    batch = lay_flat(items) if is_flat(model) else collate(items, pad)
    return batch.to(model.device)


def split(model: Any, units: Sequence[Sequence[Tokens]], micro_tokens: int) -> list[list[int]]:
    """Indices of units (an example, or both answers of a pair) grouped to fit `micro_tokens`.

    Flat rows count distinct tokens, padded ones count the padding. A unit longer than that stands alone.
    """
    if is_flat(model):
        return flat_micro_batches(units, micro_tokens)
    return micro_batches([len(unit) * max(len(item.ids) for item in unit) for unit in units], micro_tokens)


def flat_micro_batches(units: Sequence[Sequence[Tokens]], micro_tokens: int) -> list[list[int]]:
    """Indices of units, those that begin alike together, so that distinct tokens stay within the budget."""
    groups: list[list[int]] = []
    size = 0
    held: list[tuple[int, ...]] = []
    for index in sorted(range(len(units)), key=lambda index: (units[index][0].ids, index)):
        rows = [item.ids for item in units[index]]
        more = _new_tokens(held, rows)
        if groups and size + more <= micro_tokens:
            groups[-1].append(index)
            held, size = held + rows, size + more
        else:
            groups.append([index])
            held, size = rows, _new_tokens([], rows)
    return groups


def _new_tokens(held: Sequence[tuple[int, ...]], rows: Sequence[tuple[int, ...]]) -> int:
    """Distinct tokens that `rows` add to those of `held`."""
    total = 0
    for place, ids in enumerate(rows):
        before = (*held, *rows[:place])
        total += len(ids) - max((num_common(ids, other) for other in before), default=0)
    return total


def lay_flat(items: Sequence[Tokens]) -> FlatBatch:
    """The flat batch of the sequences; targets and owners stand in the order of `items`."""
    tree = prefix_tree([item.ids for item in items])
    before = [
        place for path, item in zip(tree.paths, items, strict=True) for place in path[item.start - 1 : -1]
    ]
    return FlatBatch(
        ids=torch.tensor([tree.ids]),
        positions=torch.tensor([tree.depths]),
        where=torch.tensor(before),
        targets=torch.tensor([token for item in items for token in item.ids[item.start :]]),
        owners=torch.tensor([index for index, item in enumerate(items) for _ in range(item.num_targets)]),
        rows=_rows(tree),
        num_tokens=sum(len(item.ids) for item in items),
    )


def _rows(tree: PrefixTree) -> Rows:
    """Rows longest first, cut into groups of similar length."""
    paths, num_flat = tree.paths, len(tree.ids)
    groups: list[list[int]] = []
    for index in sorted(range(len(paths)), key=lambda index: -len(paths[index])):
        if groups and len(paths[index]) >= ALIKE * len(paths[groups[-1][0]]):
            groups[-1].append(index)
        else:
            groups.append([index])
    sources: list[int] = []
    real: list[int] = []  # the table's places that are no padding
    back = [0] * num_flat
    for group in groups:
        longest = len(paths[group[0]])
        for index in group:
            path, start = paths[index], len(sources)
            real += range(start, start + len(path))
            sources += [*path, *[0] * (longest - len(path))]
            for depth in range(tree.shared[index], len(path)):
                back[path[depth]] = start + depth
    return Rows(
        _places(sources, real, num_flat),
        _places(back, range(num_flat), len(sources)),
        tuple((len(group), len(paths[group[0]])) for group in groups),
    )


def _places(sources: Sequence[int], real: Sequence[int], num_sources: int) -> Places:
    taken, places = torch.tensor(sources), torch.tensor(real)
    order = taken[places].argsort(stable=True)
    counts = taken[places].bincount(minlength=num_sources)
    return Places(taken, places[order], counts.cumsum(0) - counts)


class _Take(torch.autograd.Function):
    """Rows of a table by index. The backward pass sums by source, each sum in one go and in a fixed order:
    torch's own adds element by element, on CUDA in any order."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, places: Places) -> Tensor:
        ctx.places = places
        return table.index_select(0, places.sources)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        places: Places = ctx.places
        return F.embedding_bag(places.takers, gradient.contiguous(), places.starts, mode="sum"), None


def take(table: Tensor, places: Places) -> Tensor:
    """From [sources, width] to [taken, width]; what padding is given has no gradient."""
    taken: Tensor = _Take.apply(table, places)  # type: ignore[no-untyped-call]
    return taken


@torch.compiler.disable  # type: ignore[untyped-decorator]  # its layout differs with every micro-batch
def rows_attention(  # noqa: PLR0917  the signature that transformers calls
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    flat_rows: Rows | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Causal attention of the rows of a flat batch, [1, tokens, heads, width]; else `sdpa_attention_forward`.

    query: [1, heads, tokens, width]; key and value: [1, key heads, tokens, width].
    """
    if flat_rows is None:
        attended, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **kwargs
        )
        return attended, None
    grouped = query.shape[1] != key.shape[1]
    # Rotary embeddings leave float32 under autocast; the kernel would cast, but only after the rows are made.
    tables = [
        take(each[0].transpose(0, 1).flatten(1).to(value.dtype), flat_rows.into)
        for each in (query, key, value)
    ]
    sizes = [rows * longest for rows, longest in flat_rows.groups]
    pieces = []
    for (rows, longest), *parts in zip(
        flat_rows.groups, *(torch.split(each, sizes) for each in tables), strict=True
    ):
        q, k, v = (
            part.view(rows, longest, each.shape[1], each.shape[3]).transpose(1, 2)
            for part, each in zip(parts, (query, key, value), strict=True)
        )
        out = F.scaled_dot_product_attention(
            q, k, v, dropout_p=dropout, is_causal=True, scale=scaling, enable_gqa=grouped
        )
        pieces.append(out.transpose(1, 2).reshape(rows * longest, -1))
    attended = take(torch.cat(pieces), flat_rows.back)
    return attended.view(1, -1, query.shape[1], value.shape[3]), None


def is_flat(model: Any) -> bool:
    """Whether a model trains on flat rows."""
    return bool(model.config._attn_implementation == NAME)


@torch.no_grad()
def train_flat(model: Any) -> None:
    """Let a model train on flat rows, if a trial on three short ones gives what padded rows give."""
    if model.config._attn_implementation != "sdpa":
        return
    layers = DynamicCache(config=model.config).layers
    if not layers or any(type(layer) is not DynamicLayer for layer in layers):
        return  # a window, or states that are no keys and values
    AttentionInterface.register(NAME, rows_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation(NAME)
    was_training = model.training
    model.eval()
    if not _same_as_padded(model):
        model.set_attn_implementation("sdpa")
    model.train(was_training)


def _same_as_padded(model: Any) -> bool:
    items = [Tokens((5, 6, 7, 9, 4), 1), Tokens((5, 6, 8), 1), Tokens((7, 6, 5, 4), 1)]
    try:
        padded, flat = (
            batch.before_targets(model(**batch.inputs()).logits.float())
            for batch in (batch.to(model.device) for batch in (collate(items, 0), lay_flat(items)))
        )
    except (RuntimeError, TypeError, ValueError, AttributeError):  # rows that it does not hand on
        return False
    # In bfloat16 rounding differs; a token that a row should not have seen is further off.
    return bool((padded - flat).abs().mean() < 0.05 * padded.std())
