"""SFT: the loss falls on answers alone, averaged over a batch by token or by example (section 2.2)."""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from srlm.training.batches import Tokens
from srlm.training.losses import balanced_sft_loss, sft_loss
from srlm.training.policy import answer_logprobs
from srlm.training.rows import batch_of
from srlm.training.trainer import Metrics, MicroLoss


def sft_micro_loss(
    items: list[Tokens],
    pad: int,
    autocast: Callable[[], Any],
    balance: Literal["tokens", "examples"] = "tokens",
) -> Callable[[list[int]], MicroLoss]:
    """For an optimiser batch, the function that gives each micro-batch's share of its loss."""

    def for_batch(batch: list[int]) -> MicroLoss:
        num_targets = sum(items[index].num_targets for index in batch)

        def share(model: Any, group: list[int]) -> tuple[Tensor, Metrics]:
            micro = batch_of(model, [items[index] for index in group], pad)
            logprobs = answer_logprobs(model, micro, autocast())
            loss = sft_loss(logprobs, num_targets)
            if balance == "examples":
                counts = torch.tensor([items[index].num_targets for index in group], device=logprobs.device)
                loss = balanced_sft_loss(logprobs, micro.owners, counts, len(batch))
            return loss, {
                "target_tokens": float(len(micro.targets)),
                "tokens": float(micro.num_tokens),
                "distinct_tokens": float(micro.num_distinct),
                "answer_length": len(micro.targets) / len(batch),
            }

        return share

    return for_batch
