"""How far a pair is believed: labels between 0 and 1, by what the models' own probabilities say of it.

The implicit reward of DPO (Rafailov et al. 2023, equation 5) is how much likelier than M0 a model finds a
response, in nats; beta is left out, for it changes no order. A Likelihood holds the probabilities of the
model that wrote the responses, of the model before it, and of M0, each once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan
from statistics import fmean, quantiles

from srlm.config import PairsSection
from srlm.records import Likelihood, Pair, Response

Believe = Callable[[Pair], Pair | str]
"""From a pair to the pair as far as it is believed, or why it is not."""
TENTHS, DOUBT = 10, 0.1
"""SPA (arXiv 2406.04412): the tenth of the pairs that is nearest has its label smoothed, here by so much."""


def implicit_reward(said: Likelihood) -> float:
    """Of the model that wrote the response, against M0, in nats."""
    return said.nats[0] - said.nats[-1]


def earlier_reward(said: Likelihood) -> float:
    """The same of the model before it; where that is M0 itself, the mean log-probability of a token."""
    return said.nats[1] - said.nats[-1] if len(said.nats) > 2 else said.nats[-1] / said.num_tokens


def consistency(prompts: Iterable[Sequence[Likelihood]]) -> float:
    """C of CREAM (arXiv 2410.12735): (1 + Kendall's tau) / 2 of both models' ranks, the mean over prompts.

    1 where no prompt can be ranked.
    """
    from scipy.stats import kendalltau  # 0.8 s, which `srlm status` need not wait for

    found = []
    for said in prompts:
        now, before = map(implicit_reward, said), map(earlier_reward, said)
        tau = float(kendalltau(list(now), list(before)).statistic) if len(said) > 1 else float("nan")
        if not isnan(tau):  # as where all are alike
            found.append((1 + tau) / 2)
    return fmean(found) if found else 1.0


def belief(
    section: PairsSection,
    likelihoods: Mapping[str, Likelihood],
    groups: Iterable[list[Response]],
    pairs_of: Callable[[list[Response]], list[Pair] | str],
) -> Believe:
    """How pairs of a round are believed; what needs the whole round is reckoned here, once."""
    if section.labels == "cream":
        said = ([likelihoods[item.id] for item in group if item.id in likelihoods] for group in groups)
        label = consistency(said)
        return lambda pair: pair.model_copy(update={"label": label})
    if section.labels == "spa":
        outcomes = (outcome for group in groups if not isinstance(outcome := pairs_of(group), str))
        gaps = [
            gap for outcome in outcomes for pair in outcome if (gap := _gap(pair, likelihoods)) is not None
        ]
        nearest = quantiles(map(abs, gaps), n=TENTHS)[0] if len(gaps) > 1 else 0.0
        return lambda pair: _smoothed(pair, _gap(pair, likelihoods), nearest)
    if section.labels == "scir":
        return lambda pair: _agreed(pair, _gap(pair, likelihoods))
    return lambda pair: pair


def _gap(pair: Pair, likelihoods: Mapping[str, Likelihood]) -> float | None:
    """How far the implicit reward of chosen is ahead."""
    both = [likelihoods.get(key) for key in (pair.chosen_id, pair.rejected_id)]
    rewards = [implicit_reward(one) for one in both if one]
    return rewards[0] - rewards[1] if len(rewards) == 2 else None


def _agreed(pair: Pair, gap: float | None) -> Pair | str:
    if gap is None:
        return "no likelihood"
    return pair if gap > 0 else "the implicit reward disagrees"


def _smoothed(pair: Pair, gap: float | None, nearest: float) -> Pair:
    return pair.model_copy(update={"label": 1 - DOUBT}) if gap is None or abs(gap) <= nearest else pair
