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

from srlm.store.files import write_atomically
from srlm.training.batches import Tokens
from srlm.training.losses import dpo_losses, sum_by_sequence
from srlm.training.policy import answer_logprobs
from srlm.training.rows import batch_of, split
from srlm.training.trainer import Metrics, MicroLoss


class TokenPair(NamedTuple):
    """Both answers of a pair, each with its prompt."""

    chosen: Tokens
    rejected: Tokens


def pair_logprobs(
    model: Any, pairs: list[TokenPair], pad: int, autocast: Callable[[], Any]
) -> tuple[Tensor, Tensor, int]:
    """Summed log-probabilities of the chosen and the rejected answers, [pairs] each, and the tokens seen."""
    sequences = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs]
    batch = batch_of(model, sequences, pad)
    sums = sum_by_sequence(answer_logprobs(model, batch, autocast()), batch.owners, len(sequences))
    return sums[: len(pairs)], sums[len(pairs) :], batch.num_tokens


@torch.no_grad()
def reference_logprobs(
    path: Path,
    model: Any,
    pairs: list[TokenPair],
    *,
    pad: int,
    micro_tokens: int,
    autocast: Callable[[], Any],
) -> list[tuple[float, float]]:
    """(chosen, rejected) of every pair by the start model, from the file when it is there."""
    if path.exists():
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()]
    model.eval()
    found: dict[int, tuple[float, float]] = {}
    for group in split(model, pairs, micro_tokens):
        chosen, rejected, _ = pair_logprobs(model, [pairs[index] for index in group], pad, autocast)
        found |= dict(zip(group, zip(chosen.tolist(), rejected.tolist(), strict=True), strict=True))
    ordered = [found[index] for index in range(len(pairs))]
    write_atomically(path, "".join(json.dumps(entry) + "\n" for entry in ordered))
    return ordered


def dpo_micro_loss(
    pairs: list[TokenPair],
    reference: list[tuple[float, float]],
    beta: float,
    pad: int,
    autocast: Callable[[], Any],
) -> Callable[[list[int]], MicroLoss]:
    """For an optimiser batch, the function that gives each micro-batch's share of its loss."""

    def for_batch(batch: list[int]) -> MicroLoss:
        def share(model: Any, group: list[int]) -> tuple[Tensor, Metrics]:
            chosen, rejected, tokens = pair_logprobs(model, [pairs[index] for index in group], pad, autocast)
            known = torch.tensor([reference[index] for index in group], device=chosen.device)
            losses, margin = dpo_losses(chosen, rejected, known[:, 0], known[:, 1], beta)
            sums = {
                "chosen_logprob": chosen,
                "rejected_logprob": rejected,
                "margin": margin,
                "chosen_reward": beta * (chosen - known[:, 0]),
                "rejected_reward": beta * (rejected - known[:, 1]),
                "accuracy": (margin > 0).float(),
            }
            metrics = {name: float(value.detach().sum()) / len(batch) for name, value in sums.items()}
            for name in ("chosen", "rejected"):
                lengths = [getattr(pairs[index], name).num_targets for index in group]
                metrics[f"{name}_length"] = sum(lengths) / len(batch)
            return losses.sum() / len(batch), metrics | {"tokens": float(tokens)}

        return share

    return for_batch
