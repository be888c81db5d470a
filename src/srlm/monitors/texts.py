"""Signals in the texts themselves: new prompts, and answers to prompts that stay the same."""

from collections.abc import Callable, Iterable, Sequence
from statistics import fmean

import numpy as np

from srlm.evaluation.diversity import distinct, repetition, words
from srlm.evaluation.intervals import Estimate
from srlm.monitors.signals import Signal, by_prompt, matched, mean, number, over, signal
from srlm.records import Prompt, Response
from srlm.similarity import closest

NEAR = 0.7
"""ROUGE-L F above which a prompt repeats another (Self-Instruct)."""


def prompt_length(prompts: Sequence[Prompt], seeds: Sequence[str]) -> Signal:
    """Mean words of new prompts by those of the seed prompts.

    Detects a writer that drifts into stories or fragments. Alarming above twice or below half of the seed's.
    """
    usual = fmean(len(words(text)) for text in seeds)
    return signal(
        "length of prompts by the seed's",
        "ratio",
        over(prompts, lambda prompt: (len(words(prompt.text)), usual)),
        "new prompts are of another length than the seed's",
        above=2,
        below=0.5,
    )


def prompt_p95(prompts: Sequence[Prompt]) -> Signal:
    """The 95th percentile of new prompts' words: one in twenty is longer. Not alarming by itself."""
    return signal("length of prompts, p95", "words", _p95([len(words(item.text)) for item in prompts]))


def prompt_variety(prompts: Sequence[Prompt], seeds: Sequence[str]) -> Signal:
    """Distinct-2 of new prompts by that of the seed's, over the same number of words.

    Detects a writer that says one thing in many ways (mode collapse). Alarming below a half.
    """
    return signal(
        "distinct-2 of prompts by the seed's",
        "ratio",
        number(_distinct_by([item.text for item in prompts], seeds), len(prompts)),
        "new prompts resemble each other far more than the seed's do",
        below=0.5,
    )


def prompt_nearness(prompts: Sequence[Prompt], seeds: Sequence[str]) -> Signal:
    """The mean ROUGE-L F of each new prompt with the seed prompt nearest to it.

    Detects a writer that copies: 1 is a copy; the filter lets nothing above 0.7 pass. Alarming above 0.6.
    """
    return signal(
        "nearness of prompts to the seed",
        "ROUGE-L",
        mean(closest([item.text for item in prompts], seeds)),
        "new prompts are hardly more than the seed's with other words",
        above=0.6,
    )


def contamination(prompts: Sequence[Prompt], measured: Sequence[str]) -> Signal:
    """How many new prompts repeat a prompt that models are measured with (ROUGE-L F above 0.7).

    Detects a test that becomes training data, and then measures nothing. Alarming above none.
    """
    nearest = closest([item.text for item in prompts], measured)
    found = sum(near is not None and near > NEAR for near in nearest)
    says = f"{found} new prompts repeat prompts of the evaluation"
    return signal("prompts that repeat the evaluation", "prompts", number(found, len(prompts)), says, above=0)


def answer_length(now: Iterable[Response], first: Iterable[Response]) -> Signal:
    """Tokens of the answers to the held-out prompts by those of M1's.

    Detects the growth that the paper saw and could not judge (M3 2.3 times M1). Alarming above 1.5. Where
    M1's fill two thirds of their budget they cannot grow so much; then fewer end: the signal after the next.
    """
    return signal(
        "length of answers by M1's",
        "ratio",
        over(_both(now, first, lambda item: item.num_tokens), lambda two: (two[0], max(two[1], 1))),
        "answers to the same prompts have grown by more than half since M1",
        above=1.5,
        gate="length",
    )


def answer_p95(now: Iterable[Response]) -> Signal:
    """The 95th percentile of the answers' tokens: near the budget, many are cut. Not alarming by itself."""
    return signal("length of answers, p95", "tokens", _p95([item.num_tokens for item in now]))


def ended(now: Iterable[Response], first: Iterable[Response]) -> Signal:
    """The share of answers that end by themselves, minus M1's.

    Detects a model that no longer stops, because its answers grow or repeat themselves. Alarming below -0.2.
    """
    return signal(
        "answers that end, above M1's",
        "share",
        _change(now, first, lambda item: float(item.finish == "stop")),
        "more answers run into their budget than M1's did",
        below=-0.2,
        gate="length",
    )


def repeated(now: Iterable[Response], first: Iterable[Response]) -> Signal:
    """The mean share of an answer's 4-grams that stand in it already, minus M1's (Welleck et al. 2020).

    Detects a model that collapses into loops. Alarming above 0.1.
    """
    return signal(
        "repetition in answers, above M1's",
        "share",
        _change(now, first, lambda item: repetition(words(item.text)) or 0.0),
        "answers repeat themselves more than M1's did",
        above=0.1,
    )


def variety(now: Iterable[Response], first: Iterable[Response]) -> Signal:
    """Distinct-2 of all answers by that of M1's, over the same number of words.

    Detects answers that become one answer. Alarming below 0.7.
    """
    ours, theirs = ([item.text for item in items] for items in (now, first))
    return signal(
        "distinct-2 of answers by M1's",
        "ratio",
        number(_distinct_by(ours, theirs), len(ours)),
        "answers to different prompts resemble each other more than M1's did",
        below=0.7,
    )


def _distinct_by(texts: Iterable[str], others: Iterable[str]) -> float | None:
    """Distinct-2 of some texts by that of others, over the same number of words: more words repeat more."""
    ours, theirs = ([words(text) for text in group] for group in (texts, others))
    budget = min(sum(map(len, ours)), sum(map(len, theirs)))
    share, other = (distinct(_first(group, budget), 2) for group in (ours, theirs))
    return share / other if share is not None and other else None


def _change(
    now: Iterable[Response], first: Iterable[Response], value: Callable[[Response], float]
) -> Estimate:
    """The mean difference over prompts of a value of both models' answers."""
    return mean(one - other for one, other in _both(now, first, value))


def _both(
    now: Iterable[Response], first: Iterable[Response], value: Callable[[Response], float]
) -> Sequence[tuple[float, float]]:
    """For each prompt that both answered, the mean value of the one's answers and of the other's."""
    ours, theirs = (
        {
            key: fmean(map(value, group))
            for key, group in by_prompt(items, lambda item: item.prompt_id).items()
        }
        for items in (now, first)
    )
    return matched(ours, theirs)


def _first(texts: Iterable[list[str]], budget: int) -> list[list[str]]:
    """As many words as the budget allows, text by text."""
    kept = []
    for text in texts:
        kept.append(text[:budget])
        budget -= len(kept[-1])
        if not budget:
            break
    return kept


def _p95(numbers: Sequence[int]) -> Estimate:
    return number(float(np.quantile(numbers, 0.95)) if numbers else None, len(numbers))
