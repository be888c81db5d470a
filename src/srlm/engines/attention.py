"""Attention of one new token a row: one matrix product a group of heads, on trunks and branches.

torch's kernel for a single query wants every key head copied for each query head that shares it;
on two cores that copy and the kernel took three quarters of the time of decoding (docs/results.md).
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from srlm.engines.branches import Branches, attend, branch_off

NAME = "srlm_grouped"
ONE_TOKEN = torch.ones(1, 1, 1, 1, dtype=torch.bool)
"""A mask that transformers hands on as it is: branches know by themselves what a row may see."""


def decode_grouped(model: Any) -> None:
    """Let a model that uses torch's attention decode with `grouped_attention`."""
    if model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, grouped_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


@torch.inference_mode()
def can_branch(model: Any) -> bool:
    """Whether a model decodes on Branches as on a cache of its own: tried on two short prompts."""
    if model.config._attn_implementation != NAME:
        return False
    caches = [DynamicCache(config=model.config) for _ in range(2)]
    if any(type(layer) is not DynamicLayer for layer in caches[0].layers):
        return False  # a window, or states that are no keys and values
    device = model.device
    prompts = torch.tensor([[5, 6, 7], [5, 6, 8]], device=device)
    tokens, places = prompts.new_tensor([[9], [4]]), prompts.new_full((2, 1), 3)
    mask = torch.ones_like(prompts)
    for cache in caches:
        model(input_ids=prompts, attention_mask=mask, past_key_values=cache, use_cache=True)
    longer = torch.ones(2, 4, dtype=torch.long, device=device)
    branches = branch_off(caches[1], mask, 2, [1, 1])
    try:
        plain, branched = (
            model(
                input_ids=tokens,
                attention_mask=seen,
                position_ids=places,
                past_key_values=cache,
                use_cache=True,
            ).logits.float()
            for seen, cache in ((longer, caches[0]), (ONE_TOKEN.to(device), branches))
        )
    except (RuntimeError, TypeError, ValueError, AttributeError):  # a cache that it does not know
        return False
    # Rounding differs; a token that a row should not have seen is further off.
    return bool((plain - branched).abs().mean() < 0.05 * plain.std())


def grouped_attention(  # noqa: PLR0917  the signature that transformers calls
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Attention as `sdpa_attention_forward` computes it: [rows, queries, heads, width].

    Keys that carry `branches` are what the rows have written since their trunks.

    query: [rows, heads, queries, width]; key and value: [rows, key heads, length, width]; the mask is
    boolean or additive, [rows, 1, queries, length]. More than one query a row goes to torch's kernel.
    """
    rows, heads, queries, width = query.shape
    if queries > 1 or kwargs.get("position_bias") is not None:
        attended, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return attended, None
    key_heads = key.shape[1]
    grouped = query.view(rows, key_heads, heads // key_heads, width)
    grouped = grouped * (width**-0.5 if scaling is None else scaling)
    branches: Branches | None = getattr(key, "branches", None)
    if branches is not None:
        attended = attend(branches, grouped, key, value, module.layer_idx)  # type: ignore[arg-type]
        return attended.reshape(rows, 1, heads, value.shape[-1]), None
    if query.device.type != "cpu":
        attended, _ = sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **kwargs
        )
        return attended, None
    scores = grouped @ key.mT
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attention_mask, float("-inf"))
        else:
            scores = scores + attention_mask
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    return (weights @ value).reshape(rows, 1, heads, value.shape[-1]), None
