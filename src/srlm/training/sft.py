"""SFT: the loss falls on answers alone, averaged over all target tokens of a batch (section 2.2)."""

from collections.abc import Callable
from typing import Any

from torch import Tensor

from srlm.training.batches import Tokens, collate
from srlm.training.losses import sft_loss
from srlm.training.policy import answer_logprobs
from srlm.training.trainer import Metrics, MicroLoss


def sft_micro_loss(
    items: list[Tokens], pad: int, autocast: Callable[[], Any]
) -> Callable[[list[int]], MicroLoss]:
    """For an optimiser batch, the function that gives each micro-batch's share of its loss."""

    def for_batch(batch: list[int]) -> MicroLoss:
        num_targets = sum(items[index].num_targets for index in batch)

        def share(model: Any, group: list[int]) -> tuple[Tensor, Metrics]:
            micro = collate([items[index] for index in group], pad).to(model.device)
            logprobs = answer_logprobs(model, micro, autocast())
            return sft_loss(logprobs, num_targets), {
                "target_tokens": float(len(micro.targets)),
                "tokens": float(micro.mask.sum()),
                "answer_length": len(micro.targets) / len(batch),
            }

        return share

    return for_batch
