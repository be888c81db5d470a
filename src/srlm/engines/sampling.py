"""Draw tokens by temperature and top-p from given uniform numbers, exactly and without a full sort.

The nucleus is found among the 64 likeliest tokens, and by a full sort only for rows where they do not
reach top-p, so the distribution is exact.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from srlm.engines.base import Request
from srlm.errors import EngineError

NUCLEUS = 64


def sample(logits: Tensor, requests: Sequence[Request], uniforms: Sequence[float]) -> list[int]:
    """One token a row from logits [rows, vocabulary], by temperature, top-p and a uniform number each."""
    temperature = torch.tensor([max(request.temperature, 1e-6) for request in requests], device=logits.device)
    top_p = torch.tensor([request.top_p for request in requests], device=logits.device)
    scaled = logits / temperature[:, None]
    total = scaled.logsumexp(-1, keepdim=True)
    if not total.isfinite().all():
        raise EngineError(
            "the model that generates",
            "its logits are not numbers, so its weights are broken",
            "look at the log.jsonl of the training that made it, lower its learning_rate and use --redo",
        )
    values, tokens = scaled.topk(min(NUCLEUS, logits.shape[-1]), dim=-1)
    chosen, reached = _invert((values - total).exp(), tokens, top_p, uniforms)
    for index in (~reached).nonzero()[:, 0].tolist():
        values, tokens = scaled[index : index + 1].sort(descending=True, dim=-1)
        one, _ = _invert(
            (values - total[index]).exp(), tokens, top_p[index : index + 1], uniforms[index : index + 1]
        )
        chosen[index] = one[0]
    greedy = torch.tensor([request.temperature == 0 for request in requests], device=logits.device)
    return torch.where(greedy, logits.argmax(-1), chosen).tolist()


def _invert(
    probabilities: Tensor, tokens: Tensor, top_p: Tensor, uniforms: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Tokens by inverse CDF over the nucleus of sorted [rows, k]; and where k reached top-p."""
    before = probabilities.cumsum(-1) - probabilities
    inside = torch.where(before < top_p[:, None], probabilities, 0.0)
    cumulative = inside.double().cumsum(-1)
    aim = torch.tensor(uniforms, dtype=torch.float64, device=tokens.device) * cumulative[:, -1]
    last = (inside > 0).sum(-1) - 1
    place = torch.searchsorted(cumulative, aim[:, None], right=True)[:, 0].clamp(max=last)
    return tokens.gather(1, place[:, None])[:, 0], (before + probabilities)[:, -1] >= top_p
