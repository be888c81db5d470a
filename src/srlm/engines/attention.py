"""Attention of one new token a row on a CPU: one matrix product a group of heads.

torch's kernel for a single query wants every key head copied for each query head that shares it;
on two cores that copy and the kernel took three quarters of the time of decoding (docs/results.md).
"""

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "srlm_grouped"


def decode_grouped(model: Any) -> None:
    """Let a model that uses torch's attention on a CPU decode with `grouped_attention`."""
    if model.device.type == "cpu" and model.config._attn_implementation == "sdpa":
        AttentionInterface.register(NAME, grouped_attention)
        AttentionMaskInterface.register(NAME, sdpa_mask)
        model.set_attn_implementation(NAME)


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
    scores = (grouped * (width**-0.5 if scaling is None else scaling)) @ key.mT
    if attention_mask is not None:
        if attention_mask.dtype == torch.bool:
            scores = scores.masked_fill(~attention_mask, float("-inf"))
        else:
            scores = scores + attention_mask
    weights = scores.softmax(-1, dtype=torch.float32).to(value.dtype)
    return (weights @ value).reshape(rows, 1, heads, value.shape[-1]), None
