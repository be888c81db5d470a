"""Log-probabilities of target tokens, and the two losses made of them.

Logits are computed at target positions only, a chunk at a time, and again in the backward pass:
for a vocabulary of 49,152 the logits of one long sequence would take more memory than the model.
Those of the last chunk are the first that the backward pass wants, so they stay: the most memory
is that of one chunk all the same. In float32 they stand a few rows at a time only.
"""

from collections.abc import Callable, Iterator
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

AT_A_TIME = {"cpu": 2**20, "cuda": 2**26}
"""Logits taken to float32 at once; on a CPU as many as its cache holds, for new memory is slow there."""
Logits = Callable[[Tensor], Tensor]
LossForm = Literal["dpo", "robust", "ipo"]


def target_logprobs(hidden: Tensor, targets: Tensor, logits_of: Logits, chunk: int) -> Tensor:
    """Log-probability of each target.

    Args:
        hidden: [targets, width], the last hidden state at the position before each target.
        targets: [targets], token ids.
        logits_of: the model's head, [n, width] to [n, vocabulary], a new tensor each time: the backward
            pass writes over it.
        chunk: targets whose logits are held at once.

    Returns:
        [targets], float32. Its gradient can be taken once; a second backward pass raises RuntimeError.
    """
    if not len(targets):
        return hidden.new_zeros(0, dtype=torch.float32)
    first = len(targets) % chunk or chunk  # a smaller chunk stands first, for the last is not done twice
    sizes = [first, *[chunk] * ((len(targets) - first) // chunk)]
    *again, last = zip(torch.split(hidden, sizes), torch.split(targets, sizes), strict=True)
    pieces = [checkpoint(_chunk_logprobs, *part, logits_of, use_reentrant=False) for part in again]
    return torch.cat([*pieces, _chunk_logprobs(*last, logits_of)])


def _chunk_logprobs(hidden: Tensor, targets: Tensor, logits_of: Logits) -> Tensor:
    found: Tensor = _Logprobs.apply(logits_of(hidden), targets)  # type: ignore[no-untyped-call]
    return found


class _Logprobs(torch.autograd.Function):
    """From logits [n, vocabulary] to the targets' log-probabilities, [n] in float32.

    The backward pass writes the logits' gradient over them: no second tensor of that size.
    """

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor) -> Tensor:
        total = torch.cat([part.float().logsumexp(-1) for (part,) in _slices(logits)])
        ctx.save_for_backward(logits, targets, total)
        return logits.gather(1, targets[:, None])[:, 0].float() - total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        logits, targets, total = ctx.saved_tensors
        for part, *rest in _slices(logits, targets[:, None], total[:, None], gradient[:, None]):
            target, normaliser, weight = rest
            share = part.float().sub_(normaliser).exp_().mul_(-weight)
            part.copy_(share.scatter_add_(1, target, weight))
        return logits, None


def _slices(logits: Tensor, *beside: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """The logits and what belongs to their rows, some rows at a time."""
    rows = max(1, AT_A_TIME.get(logits.device.type, AT_A_TIME["cpu"]) // logits.shape[1])
    return zip(*(torch.split(each, rows) for each in (logits, *beside)), strict=True)


def sum_by_sequence(logprobs: Tensor, owners: Tensor, num_sequences: int) -> Tensor:
    """Sum [targets] into [num_sequences] by the index of the sequence that owns each target."""
    return logprobs.new_zeros(num_sequences).index_add(0, owners, logprobs)


def sft_loss(logprobs: Tensor, num_targets: int) -> Tensor:
    """Mean negative log-likelihood over the target tokens of the whole batch (section 2.2).

    `num_targets` counts the whole optimiser batch, so micro-batches add up to its exact mean.
    """
    return -logprobs.sum() / num_targets


def balanced_sft_loss(logprobs: Tensor, owners: Tensor, num_targets: Tensor, num_examples: int) -> Tensor:
    """Mean over the examples of a whole batch of each one's mean negative log-likelihood a target token.

    logprobs, owners: [targets]; num_targets: [sequences], of this micro-batch. `num_examples` counts the
    whole optimiser batch.
    """
    sums = sum_by_sequence(logprobs, owners, len(num_targets))
    return -(sums / num_targets).sum() / num_examples


def answer_weights(lengths: Tensor, others: Tensor, *, excess: float, normalised: bool) -> Tensor:
    """Weight of each target token in the log-probability of its answer: [targets], 1 everywhere for DPO.

    Args:
        lengths: [sequences], target tokens of each answer.
        others: [sequences], those of the other answer of its pair.
        excess: weight of tokens beyond the shorter answer's length (alpha of LD-DPO, arXiv 2409.06411).
        normalised: the mean over the answer's tokens instead of the sum (LN-DPO).
    """
    owners = torch.arange(len(lengths), device=lengths.device).repeat_interleave(lengths)
    starts = lengths.cumsum(0) - lengths
    places = torch.arange(len(owners), device=lengths.device) - starts[owners]
    beyond = places >= torch.minimum(lengths, others)[owners]
    weights = torch.where(beyond, excess, 1.0)
    return weights / lengths[owners] if normalised else weights


def nll_losses(chosen: Tensor, num_tokens: Tensor) -> Tensor:
    """Negative log-likelihood a token of each chosen answer, [pairs] (IRPO, arXiv 2404.19733, equation 1).

    chosen: [pairs], summed log-probabilities; num_tokens: [pairs].
    """
    return -chosen / num_tokens


def dpo_losses(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float,
    *,
    more: Tensor | float = 0.0,
    form: LossForm = "dpo",
    smoothing: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """The loss and the margin of implicit rewards of each pair (DPO: Rafailov et al. 2023, equation 7).

    All arguments are [pairs], log-probabilities of whole answers.
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected)).
    `more` is 0 for DPO; R-DPO (arXiv 2403.19159) gives alpha * (tokens of chosen - tokens of rejected), SimPO
    (arXiv 2405.14734) -gamma, with references of 0. With m = margin + more and s = smoothing, the loss is

    dpo     -log sigmoid(m); with smoothing -(1 - s) log sigmoid(m) - s log sigmoid(-m) (cDPO)
    robust  (-(1 - s) log sigmoid(m) + s log sigmoid(-m)) / (1 - 2 s) (rDPO, arXiv 2403.00409)
    ipo     (margin / beta - 1 / (2 beta))^2 (arXiv 2310.12036, equation 17)
    """
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected))
    if form == "ipo":
        return (margin / beta - 1 / (2 * beta)) ** 2, margin
    right, turned = -F.logsigmoid(margin + more), -F.logsigmoid(-(margin + more))
    if form == "robust":
        return ((1 - smoothing) * right - smoothing * turned) / (1 - 2 * smoothing), margin
    return (1 - smoothing) * right + smoothing * turned, margin
