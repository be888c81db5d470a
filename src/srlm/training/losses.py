"""Log-probabilities of target tokens, and the two losses made of them.

Logits are computed at target positions only, a chunk at a time, and again in the backward pass:
for a vocabulary of 49,152 the logits of one long sequence would take more memory than the model.
Those of the last chunk are the first that the backward pass wants, so they stay: the most memory
is that of one chunk all the same.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

CHUNK = 256
Logits = Callable[[Tensor], Tensor]


def target_logprobs(hidden: Tensor, targets: Tensor, logits_of: Logits, chunk: int = CHUNK) -> Tensor:
    """Log-probability of each target.

    Args:
        hidden: [targets, width], the last hidden state at the position before each target.
        targets: [targets], token ids.
        logits_of: the model's head, [n, width] to [n, vocabulary].

    Returns:
        [targets], float32.
    """
    if not len(targets):
        return hidden.new_zeros(0, dtype=torch.float32)
    first = len(targets) % chunk or chunk  # a smaller chunk stands first, for the last is not done twice
    sizes = [first, *[chunk] * ((len(targets) - first) // chunk)]
    *again, last = zip(torch.split(hidden, sizes), torch.split(targets, sizes), strict=True)
    pieces = [checkpoint(_chunk_logprobs, *part, logits_of, use_reentrant=False) for part in again]
    return torch.cat([*pieces, _chunk_logprobs(*last, logits_of)])


def _chunk_logprobs(hidden: Tensor, targets: Tensor, logits_of: Logits) -> Tensor:
    return -F.cross_entropy(logits_of(hidden).float(), targets, reduction="none")


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


def dpo_losses(
    chosen: Tensor, rejected: Tensor, reference_chosen: Tensor, reference_rejected: Tensor, beta: float
) -> tuple[Tensor, Tensor]:
    """The DPO loss and the margin of implicit rewards of each pair (Rafailov et al. 2023, equation 7).

    All arguments are [pairs], summed log-probabilities of whole answers. Loss = -log sigmoid(margin),
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected)).
    """
    margin = beta * ((chosen - reference_chosen) - (rejected - reference_rejected))
    return -F.logsigmoid(margin), margin
