"""The probability that a text goes on with each of some strings, such as the grades of a rubric."""

from collections.abc import Mapping, Sequence
from itertools import takewhile

from torch import Tensor

Tokens = tuple[int, ...]


def split_shared(whole: Sequence[Sequence[int]]) -> tuple[list[int], list[Tokens]]:
    """What all begin with, and what each adds to it."""
    same = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*whole, strict=False))
    shared = [tokens[0] for tokens in same]
    return shared, [tuple(ids[len(shared) :]) for ids in whole]


def looked_at(continuations: Sequence[Tokens]) -> list[Tokens]:
    """After which tokens the model must be asked, the empty ones first: (), (1,) for 1 … 10."""
    found: dict[Tokens, None] = {(): None}
    for tokens in continuations:
        found |= {tokens[:place]: None for place in range(1, len(tokens))}
    return list(found)


def next_tokens(continuations: Sequence[Tokens], before: Tokens) -> list[int]:
    """The tokens with which continuations go on after `before`, one of `looked_at`, each once."""
    place = len(before)
    longer = (tokens for tokens in continuations if len(tokens) > place and tokens[:place] == before)
    return list(dict.fromkeys(tokens[place] for tokens in longer))


def weigh(
    continuations: Sequence[Tokens], after: Mapping[Tokens, Tensor | Mapping[int, float]]
) -> tuple[float, ...]:
    """Probability of each continuation, from those of the next tokens after each of `looked_at`.

    They are given as [vocabulary], or by token for `next_tokens` alone.
    """
    found = []
    for tokens in continuations:
        probability = 1.0
        for place, token in enumerate(tokens):
            probability *= float(after[tokens[:place]][token])
        found.append(probability)
    return otherwise(found, continuations)


def otherwise(probabilities: Sequence[float], continuations: Sequence[Sequence[int]]) -> tuple[float, ...]:
    """The probabilities, each less that of the next longer continuations which begin with the same tokens."""
    left = list(probabilities)
    for short, tokens in enumerate(continuations):
        longer = [
            other for other in continuations if len(other) > len(tokens) and other[: len(tokens)] == tokens
        ]
        nearest = [
            other
            for other in longer
            if not any(len(one) < len(other) and other[: len(one)] == one for one in longer)
        ]
        left[short] -= sum(probabilities[continuations.index(other)] for other in nearest)
    return tuple(max(value, 0.0) for value in left)
