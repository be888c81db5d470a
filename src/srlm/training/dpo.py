"""DPO from the round's start model, which is also the reference (paper, section 2.4).

The reference's log-probabilities are computed once, before the first step, and kept in
`reference.jsonl`: a resumed training reads them, for by then the start model is no longer loaded.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from srlm.config import DpoSection
from srlm.store.files import write_atomically
from srlm.training.batches import Tokens
from srlm.training.losses import answer_weights, dpo_losses, nll_losses, sum_by_sequence
from srlm.training.policy import answer_logprobs
from srlm.training.rows import batch_of, split
from srlm.training.trainer import Metrics, MicroLoss
from srlm.training.world import World


class TokenPair(NamedTuple):
    """Both answers of a pair, each with its prompt."""

    chosen: Tokens
    rejected: Tokens


class PairLogprobs(NamedTuple):
    """Of the chosen and the rejected answers, [pairs, 2]: summed log-probabilities, those that the loss
    weighs, and target tokens; and tokens of all answers and prompts, all and distinct ones."""

    summed: Tensor
    weighed: Tensor
    lengths: Tensor
    num_tokens: int
    num_distinct: int


def pair_logprobs(
    model: Any, pairs: list[TokenPair], section: DpoSection, pad: int, autocast: Callable[[], Any]
) -> PairLogprobs:
    """What the model says of both answers of each pair."""
    sequences = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    batch = batch_of(model, sequences, pad)
    logprobs = answer_logprobs(model, batch, autocast())
    lengths = torch.tensor([item.num_targets for item in sequences], device=logprobs.device)
    weights = answer_weights(
        lengths,
        lengths.roll(len(pairs)),
        excess=section.excess_weight,
        normalised=section.length_normalised,
    )

    def by_pair(each: Tensor) -> Tensor:
        return each.view(2, len(pairs)).T

    def summed(each: Tensor) -> Tensor:
        return by_pair(sum_by_sequence(each, batch.owners, len(sequences)))

    return PairLogprobs(
        summed(logprobs),
        summed(logprobs * weights),
        by_pair(lengths),
        batch.num_tokens,
        batch.num_distinct,
    )


@torch.no_grad()
def reference_logprobs(
    path: Path,
    model: Any,
    pairs: list[TokenPair],
    section: DpoSection,
    *,
    pad: int,
    autocast: Callable[[], Any],
    world: World,
) -> list[tuple[float, float]]:
    """(chosen, rejected) of every pair by the start model, as the loss weighs them; from the file when it
    is there."""
    if section.loss == "simpo":
        return [(0.0, 0.0)] * len(pairs)  # which has none
    if world.agreed(path.exists()):
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()]
    model.eval()

    def weighed(group: list[int]) -> list[tuple[float, float]]:
        said = pair_logprobs(model, [pairs[index] for index in group], section, pad, autocast)
        return [(chosen, rejected) for chosen, rejected in said.weighed.tolist()]

    found = world.measured(split(model, pairs, section.micro_tokens), weighed)
    ordered = [found[index] for index in range(len(pairs))]
    if world.main:
        write_atomically(path, "".join(json.dumps(entry) + "\n" for entry in ordered))
    return ordered


def dpo_micro_loss(
    pairs: list[TokenPair],
    reference: list[tuple[float, float]],
    section: DpoSection,
    pad: int,
    autocast: Callable[[], Any],
) -> Callable[[list[int]], MicroLoss]:
    """For an optimiser batch, the function that gives each micro-batch's share of its loss."""

    def for_batch(batch: list[int]) -> MicroLoss:
        def share(model: Any, group: list[int]) -> tuple[Tensor, Metrics]:
            said = pair_logprobs(model, [pairs[index] for index in group], section, pad, autocast)
            known = torch.tensor([reference[index] for index in group], device=said.weighed.device)
            more = section.length_margin * (said.lengths[:, 0] - said.lengths[:, 1]) - section.target_margin
            chosen, rejected = said.weighed.T
            losses, margin = dpo_losses(
                *(chosen, rejected, known[:, 0], known[:, 1], section.beta),
                more=more,
                form="dpo" if section.loss == "simpo" else section.loss,
                smoothing=section.label_smoothing,
            )
            if section.nll:
                losses = losses + section.nll * nll_losses(said.summed[:, 0], said.lengths[:, 0])
            rewards = section.beta * (said.weighed - known)
            sums = {"margin": margin, "accuracy": (margin > 0).float()}
            for place, name in enumerate(("chosen", "rejected")):
                sums[f"{name}_logprob"] = said.summed[:, place]
                sums[f"{name}_reward"] = rewards[:, place]
                sums[f"{name}_length"] = said.lengths[:, place].float()
            metrics = {name: float(value.detach().sum()) / len(batch) for name, value in sums.items()}
            counts = {
                "target_tokens": float(said.lengths.sum()),
                "tokens": float(said.num_tokens),
                "distinct_tokens": float(said.num_distinct),
            }
            return losses.sum() / len(batch), metrics | counts

        return share

    return for_batch
