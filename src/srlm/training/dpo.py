"""DPO from the round's start model, which is also the reference (paper, section 2.4).

The reference's log-probabilities are computed once, before the first step, and kept in
`reference.jsonl`: a resumed training reads them, for by then the start model is no longer loaded.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from srlm.config import DpoSection
from srlm.store.files import write_atomically
from srlm.training.batches import Tokens
from srlm.training.losses import LossForm, answer_weights, dpo_losses, nll_losses, sum_by_sequence
from srlm.training.policy import answer_logprobs
from srlm.training.rows import batch_of, split
from srlm.training.trainer import Metrics, MicroLoss
from srlm.training.world import World


@dataclass(frozen=True)
class TokenPair:
    """Both answers of a pair, each with its prompt; how sure the pair is, and what it weighs."""

    chosen: Tokens
    rejected: Tokens
    label: float = 1.0
    weight: float = 1.0


Item = TokenPair | Tokens
"""What a DPO trains on: pairs, and examples whose likelihood is to stay high."""


def sequences_of(item: Item) -> tuple[Tokens, ...]:
    """The sequences that the model reads for an item."""
    return (item,) if isinstance(item, Tokens) else (item.chosen, item.rejected)


class PairLogprobs(NamedTuple):
    """Of the chosen and the rejected answers, [pairs, 2]: summed log-probabilities, those that the loss
    weighs, and target tokens; of examples the negative log-likelihood a token, [examples]; and tokens of all
    answers and prompts, all and distinct ones."""

    summed: Tensor
    weighed: Tensor
    lengths: Tensor
    examples: Tensor
    num_tokens: int
    num_distinct: int


def pair_logprobs(
    model: Any,
    pairs: Sequence[TokenPair],
    section: DpoSection,
    pad: int,
    autocast: Callable[[], Any],
    *,
    examples: Sequence[Tokens] = (),
) -> PairLogprobs:
    """What the model says of both answers of each pair, and of the examples, in one pass."""
    paired = 2 * len(pairs)
    sequences = [pair.chosen for pair in pairs] + [pair.rejected for pair in pairs] + [*examples]
    batch = batch_of(model, sequences, pad)
    logprobs = answer_logprobs(model, batch, autocast())
    lengths = torch.tensor([item.num_targets for item in sequences], device=logprobs.device)
    others = torch.cat([lengths[:paired].roll(len(pairs)), lengths[paired:]])
    weights = answer_weights(
        lengths, others, excess=section.excess_weight, normalised=section.length_normalised
    )

    def by_pair(each: Tensor) -> Tensor:
        return each[:paired].view(2, len(pairs)).T

    summed = sum_by_sequence(logprobs, batch.owners, len(sequences))
    return PairLogprobs(
        by_pair(summed),
        by_pair(sum_by_sequence(logprobs * weights, batch.owners, len(sequences))),
        by_pair(lengths),
        nll_losses(summed[paired:], lengths[paired:]),
        batch.num_tokens,
        batch.num_distinct,
    )


@torch.no_grad()
def reference_logprobs(
    path: Path,
    model: Any,
    items: Sequence[Item],
    section: DpoSection,
    *,
    pad: int,
    autocast: Callable[[], Any],
    world: World,
) -> list[tuple[float, float]]:
    """(chosen, rejected) of every pair by the start model, as the loss weighs them, zeros for an example;
    from the file when it is there."""
    pairs = [item for item in items if isinstance(item, TokenPair)]
    if section.loss in {"simpo", "sft"}:
        return [(0.0, 0.0)] * len(items)  # which have none
    if world.agreed(path.exists()):
        return [tuple(json.loads(line)) for line in path.read_text().splitlines()]
    model.eval()

    def weighed(group: list[int]) -> list[tuple[float, float]]:
        said = pair_logprobs(model, [pairs[index] for index in group], section, pad, autocast)
        return [(chosen, rejected) for chosen, rejected in said.weighed.tolist()]

    groups = split(model, [sequences_of(pair) for pair in pairs], section.micro_tokens)
    measured = world.measured(groups, weighed)
    found = iter([measured[index] for index in range(len(pairs))])
    ordered = [next(found) if isinstance(item, TokenPair) else (0.0, 0.0) for item in items]
    if world.main:
        write_atomically(path, "".join(json.dumps(entry) + "\n" for entry in ordered))
    return ordered


def dpo_micro_loss(
    items: Sequence[Item],
    reference: list[tuple[float, float]],
    section: DpoSection,
    pad: int,
    autocast: Callable[[], Any],
) -> Callable[[list[int]], MicroLoss]:
    """For an optimiser batch, the function that gives each micro-batch's share of its loss."""

    def for_batch(batch: list[int]) -> MicroLoss:
        num_pairs = sum(isinstance(items[index], TokenPair) for index in batch)

        def share(model: Any, group: list[int]) -> tuple[Tensor, Metrics]:
            paired = [(index, item) for index in group if isinstance(item := items[index], TokenPair)]
            examples = [item for index in group if isinstance(item := items[index], Tokens)]
            said = pair_logprobs(
                model, [pair for _, pair in paired], section, pad, autocast, examples=examples
            )
            known = said.weighed.new_tensor([reference[index] for index, _ in paired]).view(-1, 2)
            losses, margin = _losses(section, said, known, [pair for _, pair in paired])
            rewards = section.beta * (said.weighed - known)
            sums = {"margin": margin, "accuracy": (margin > 0).float()}
            for place, name in enumerate(("chosen", "rejected")):
                sums[f"{name}_logprob"] = said.summed[:, place]
                sums[f"{name}_reward"] = rewards[:, place]
                sums[f"{name}_length"] = said.lengths[:, place].float()
            metrics = {name: float(value.detach().sum()) / max(num_pairs, 1) for name, value in sums.items()}
            counts = {
                "target_tokens": float(sum(_num_targets(items[index]) for index in group)),
                "tokens": float(said.num_tokens),
                "distinct_tokens": float(said.num_distinct),
            }
            return (losses.sum() + said.examples.sum()) / len(batch), metrics | counts

        return share

    return for_batch


def _losses(
    section: DpoSection, said: PairLogprobs, known: Tensor, pairs: Sequence[TokenPair]
) -> tuple[Tensor, Tensor]:
    """The loss of every pair as far as it is believed and by its weight, and its margin, [pairs]."""
    chosen, rejected = said.weighed.T
    likely = nll_losses(said.summed[:, 0], said.lengths[:, 0])
    weight = chosen.new_tensor([pair.weight for pair in pairs])
    if section.loss == "sft":
        return weight * likely, section.beta * (chosen - rejected)
    longer = section.length_margin * (said.lengths[:, 0] - said.lengths[:, 1])
    form: LossForm = "dpo" if section.loss == "simpo" else section.loss
    ours, theirs = (chosen, known[:, 0]), (rejected, known[:, 1])

    def loss(
        one: tuple[Tensor, Tensor], other: tuple[Tensor, Tensor], longer: Tensor
    ) -> tuple[Tensor, Tensor]:
        return dpo_losses(
            *(one[0], other[0], one[1], other[1], section.beta),
            more=longer - section.target_margin,
            form=form,
            smoothing=section.label_smoothing,
        )

    losses, margin = loss(ours, theirs, longer)
    if any(pair.label < 1 for pair in pairs):
        label = chosen.new_tensor([pair.label for pair in pairs])
        losses = label * losses + (1 - label) * loss(theirs, ours, -longer)[0]
    return weight * (losses + section.nll * likely), margin


def _num_targets(item: Item) -> int:
    return sum(tokens.num_targets for tokens in sequences_of(item))
