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


def weigh(continuations: Sequence[Tokens], after: Mapping[Tokens, Tensor]) -> tuple[float, ...]:
    """Probability of each continuation, from the logits [vocabulary] after each of `looked_at`."""
    probabilities = {before: logits.float().softmax(-1) for before, logits in after.items()}
    found = []
    for tokens in continuations:
        probability = 1.0
        for place, token in enumerate(tokens):
            probability *= float(probabilities[tokens[:place]][token])
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
