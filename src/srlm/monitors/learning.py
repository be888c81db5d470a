"""Signals in a round's DPO, and in how far its model has moved from earlier ones."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from srlm.config import DpoSection
from srlm.evaluation.intervals import Estimate
from srlm.monitors.signals import Signal, by_prompt, number, over, signal
from srlm.records import Divergence

Log = Sequence[Mapping[str, float]]
"""The figures of each optimiser step (training/dpo.py); signals of it rest on its pairs."""

Losses = Sequence[tuple[float, int]]
"""Nats and tokens of each held-out answer of people's."""


def chosen_path(log: Log, section: DpoSection) -> Signal:
    """Nats a token by which chosen answers became likelier than in the first step, over the last quarter of
    steps; dropout, which the first step has as well, takes no part.

    DPO can lower both answers and still widen the margin; then mass moves to what nobody judged (IRPO,
    arXiv 2404.19733). Alarming below -0.1.
    """
    return signal(
        "chosen log-probability against the start",
        "nats a token",
        _reward(log, section, "chosen"),
        "training makes the chosen answers less likely, too",
        below=-0.1,
    )


def rejected_path(log: Log, section: DpoSection) -> Signal:
    """The same of rejected answers: it should fall, and more than that of chosen ones. Not alarming."""
    return signal(
        "rejected log-probability against the start", "nats a token", _reward(log, section, "rejected")
    )


def implicit_agreement(log: Log, section: DpoSection) -> Signal:
    """The share of pairs, not yet trained on, whose chosen answer has the higher DPO implicit reward.

    The implicit reward of the model in training against its own judge, in the second half of the first pass:
    the judge's order can be learned only where it has one (SCIR, arXiv 2502.08922, keeps pairs on which both
    agree). Near a half the judge's order is noise to the model. Alarming below a half.
    """
    once = log[: max(1, round(len(log) / max(section.epochs, 1)))]
    fresh = once[max(1, len(once) // 2) :]  # in the first step the model is its own reference
    num = len(fresh) * section.batch_size
    right = round(sum(step["accuracy"] for step in fresh) * section.batch_size)
    return signal(
        "judge and implicit reward agree",
        "share",
        over([1.0] * right + [0.0] * (num - right), lambda one: (one, 1)),
        "what training learned from earlier pairs contradicts the judge on later ones",
        below=0.5,
    )


def divergence(items: Iterable[Divergence], reference: str, above: float | None) -> Signal:
    """KL(model || reference) along the model's own answers to the held-out prompts, nats a token.

    Detects a policy that runs away from its reference, where reward hacking lives (Gao et al., arXiv
    2210.10760). Alarming above half a nat a token from M1; from M0 it is not, for M1 is meant to leave it.
    """
    found = over(
        by_prompt(items, lambda item: item.prompt_id).values(),
        lambda group: (sum(item.nats for item in group), sum(item.num_tokens for item in group)),
    )
    says = f"the model has moved far from {reference}"
    return signal(f"KL to {reference}", "nats a token", found, says, above=above, gate="kl")


def forgetting(now: Losses, first: Losses) -> Signal:
    """Loss on held-out human answers by M1's.

    Detects a model that forgets what people write. Alarming above 1.1.
    """
    both = list(zip(now, first, strict=True)) if now and first else []
    return signal(
        "loss on human answers by M1's",
        "ratio",
        over(both, lambda two: (two[0][0], two[1][0])),
        "the model has forgotten how people answer: its loss on their answers has grown by a tenth and more",
        above=1.1,
        gate="panel",
    )


def _reward(log: Log, section: DpoSection, name: str) -> Estimate:
    """Implicit reward a token, without beta, over the last quarter of the steps, above that of the first."""
    if not log:
        return number(None, 0)

    def nats(steps: Log) -> float:
        tokens = 1.0 if section.length_normalised else fmean(step[f"{name}_length"] for step in steps)
        return fmean(step[f"{name}_reward"] for step in steps) / section.beta / tokens

    last = log[-max(1, len(log) // 4) :]
    return number(nats(last) - nats(log[:1]), len(last) * section.batch_size)
