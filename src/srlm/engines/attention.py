"""The attention that a model calls while it reads a tree of prompts or decodes waves of branches.

Everything else goes to torch's own: padded rows, and more than one query a row of a usual cache.
"""

from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from srlm.engines import tree as trees
from srlm.engines.branches import Waves

NAME = "srlm_shared"


def use_shared_attention(model: Any) -> bool:
    """Let a model that uses torch's attention call `shared_attention`; says whether it does."""
    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, shared_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)
    return bool(model.config._attn_implementation == NAME)


def shared_attention(  # noqa: PLR0917  the signature that transformers calls
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as `sdpa_attention_forward` computes it: [rows, queries, heads, size].

    Keys that carry `tree` are those of distinct tokens; keys that carry `waves` are one new token a row.

    query: [rows, heads, queries, size]; key and value: [rows, key heads, length, size].
    """
    rows, heads, _, size = query.shape
    scale = size**-0.5 if scaling is None else scaling
    tree: trees.Tree | None = getattr(key, "tree", None)
    if tree is not None:
        return trees.attend(tree, query, key, value, scale), None
    waves: Waves | None = getattr(key, "waves", None)
    if waves is not None:
        grouped = query.view(rows, key.shape[1], heads // key.shape[1], size) * scale
        attended = waves.attend(grouped, key[:, :, 0], value[:, :, 0], module.layer_idx)  # type: ignore[arg-type]
        return attended.reshape(rows, 1, heads, value.shape[-1]), None
    attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return attended, None
