"""torch.compile of a model's blocks, in trainings that are long enough to pay for it.

Norms, rotary embeddings, gates and casts become a few passes over memory instead of dozens. Attention stays
as it is (rows.py): its layout differs with every micro-batch, and a graph would be made for each.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from transformers.modeling_layers import GradientCheckpointingLayer

from srlm.models import cache_folder
from srlm.training.batches import Tokens
from srlm.training.policy import answer_logprobs
from srlm.training.rows import batch_of, is_flat

LONG_ENOUGH = 50_000
"""Tokens of a training on a CPU from which on compiling saves more time than it takes (docs/performance)."""
TRIAL = (160, 144, 128, 80)
"""Lengths of the sequences with which blocks are compiled: always these, for the code depends on them."""


def pays(model: Any, num_tokens: int) -> bool:
    """Whether a training of so many tokens is worth compiling for; on CUDA it has not been measured."""
    return bool(is_flat(model) and model.device.type == "cpu" and num_tokens >= LONG_ENOUGH)


@contextmanager
def compiled(model: Any, autocast: Callable[[], Any]) -> Iterator[bool]:
    """The model with its blocks compiled; False, and as it was, where a trial does not give the same.

    That is so without a C++ compiler, for example. Gradients must be empty, and are afterwards.
    """
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / "compiled"))
    blocks = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]
    try:
        plain, again = _trial(model, autocast), _trial(model, autocast)
        for block in blocks:
            block.compile(dynamic=True)
        works = _same(plain, again, _trial(model, autocast))
    except Exception:  # whatever keeps it from compiling, training can do without
        works = False
    try:
        if not works:
            _restore(blocks)
            model.zero_grad()
        yield works
    finally:
        _restore(blocks)


def _restore(blocks: list[Any]) -> None:
    for block in blocks:
        block._compiled_call_impl = None


def _trial(model: Any, autocast: Callable[[], Any]) -> tuple[Tensor, float]:
    """Log-probabilities of random tokens, and the norm of their sum's gradient."""
    model.train()
    chance = torch.Generator().manual_seed(0)
    most = model.config.get_text_config().vocab_size
    items = [
        Tokens(tuple(torch.randint(most, (length,), generator=chance).tolist()), length // 4)
        for length in TRIAL
    ]
    found = answer_logprobs(model, batch_of(model, items, 0), autocast())
    found.sum().backward()  # type: ignore[no-untyped-call]
    gradients = [each.grad.norm() for each in model.parameters() if each.grad is not None]
    norm = float(torch.stack(gradients).norm())
    model.zero_grad()
    return found.detach(), norm


def _same(plain: tuple[Tensor, float], again: tuple[Tensor, float], other: tuple[Tensor, float]) -> bool:
    """Whether `other` differs from `plain` by rounding alone, and by what dropout makes two runs differ."""
    # In bfloat16 rounding differs; a block that computes something else is further off.
    by_chance = 2 * (plain[0] - again[0]).abs().mean() + 0.05 * plain[0].std()
    apart = abs(plain[1] - again[1]) + 0.05 * plain[1]
    return bool((plain[0] - other[0]).abs().mean() <= by_chance) and abs(plain[1] - other[1]) <= 2 * apart
