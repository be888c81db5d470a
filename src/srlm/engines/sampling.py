"""Draw tokens by temperature and top-p from given uniform numbers, exactly and without a full sort.

The nucleus is found among the 64 likeliest tokens, and by a full sort only for rows where they do not
reach top-p, so the distribution is exact. At top-p 1 every token is in it, and their order does not matter.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from srlm.engines.base import Request
from srlm.errors import EngineError

NUCLEUS = 64
BLOCK = 64
"""Neighbouring tokens of which first only the likeliest is looked at."""
ROWS_AT_A_TIME = 32
"""So many rows of a large vocabulary still lie in the cache, and need no fresh memory from the system."""


def sample(
    logits: Tensor, sources: Sequence[int], requests: Sequence[Request], uniforms: Sequence[float]
) -> list[int]:
    """One token for each request by temperature, top-p and a uniform number.

    logits: [rows, vocabulary] of any precision, of which request i takes row ``sources[i]``.
    """
    tokens: list[int] = []
    for start in range(0, len(sources), ROWS_AT_A_TIME):
        part = slice(start, start + ROWS_AT_A_TIME)
        rows = logits[torch.tensor(sources[part], device=logits.device)].float()
        tokens += _sample(rows, requests[part], uniforms[part])
    return tokens


def _sample(logits: Tensor, requests: Sequence[Request], uniforms: Sequence[float]) -> list[int]:
    device = logits.device
    colder = torch.tensor([1 / max(request.temperature, 1e-6) for request in requests], device=device)
    top_p = torch.tensor([request.top_p for request in requests], device=device)
    scaled = logits.mul_(colder[:, None])
    values, tokens = likeliest(scaled)
    # The likeliest token's weight is 1: without it the sum of exponentials would run over.
    weights = (scaled - values[:, :1]).exp_()
    total = weights.sum(-1, keepdim=True)
    if not total.isfinite().all():
        raise EngineError(
            "the model that generates",
            "its logits are not numbers, so its weights are broken",
            "look at the log.jsonl of the training that made it, lower its learning_rate and use --redo",
        )
    aims = torch.tensor(uniforms, dtype=torch.float64, device=device)
    chosen, reached = _nucleus((values - values[:, :1]).exp() / total, tokens, top_p, aims)
    whole = top_p >= 1
    if whole.any():
        chosen[whole] = _invert(weights[whole], aims[whole])
    rest = ~(reached | whole)
    if rest.any():
        ordered, tokens = weights[rest].sort(descending=True, dim=-1)
        chosen[rest], _ = _nucleus(ordered / total[rest], tokens, top_p[rest], aims[rest])
    greedy = torch.tensor([request.temperature == 0 for request in requests], device=device)
    if greedy.any():  # of equals the first, as transformers takes it
        chosen = torch.where(greedy, scaled.argmax(-1), chosen)
    found: list[int] = chosen.tolist()
    return found


def likeliest(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The NUCLEUS largest of [rows, vocabulary] in falling order, and their indices, as topk gives them.

    Each of them lies in one of the NUCLEUS blocks with the largest maxima, so only these are looked through.
    """
    rows, vocabulary = logits.shape
    num_blocks = vocabulary // BLOCK
    if num_blocks <= 2 * NUCLEUS:
        return logits.topk(min(NUCLEUS, vocabulary), dim=-1)
    body = logits[:, : num_blocks * BLOCK].view(rows, num_blocks, BLOCK)
    blocks = body.amax(-1).topk(NUCLEUS, sorted=False).indices
    inside = blocks[:, :, None] * BLOCK + torch.arange(BLOCK, device=logits.device)
    rest = torch.arange(num_blocks * BLOCK, vocabulary, device=logits.device).expand(rows, -1)
    places = torch.cat([inside.flatten(1), rest], dim=-1)
    values, found = logits.gather(1, places).topk(NUCLEUS, dim=-1)
    return values, places.gather(1, found)


def _nucleus(probabilities: Tensor, tokens: Tensor, top_p: Tensor, aims: Tensor) -> tuple[Tensor, Tensor]:
    """Tokens from the nucleus of sorted [rows, k], by uniform numbers [rows]; and where k reached top-p."""
    before = probabilities.cumsum(-1) - probabilities
    inside = torch.where(before < top_p[:, None], probabilities, 0.0)
    places = _invert(inside, aims)
    return tokens.gather(1, places[:, None])[:, 0], (before + probabilities)[:, -1] >= top_p


def _invert(weights: Tensor, aims: Tensor) -> Tensor:
    """Places in [rows, k] by inverse CDF, from uniform numbers [rows]; never one of no weight."""
    cumulative = weights.double().cumsum(-1)
    total = cumulative[:, -1:].contiguous()
    places = torch.searchsorted(cumulative, aims[:, None] * total, right=True)
    # Rounding may bring the product up to the total, which the last token of any weight reaches first.
    return torch.minimum(places, torch.searchsorted(cumulative, total))[:, 0]
