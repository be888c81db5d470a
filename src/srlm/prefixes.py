"""Token sequences as a tree: what several begin with stands once. Reading and training both rest on it."""

from collections.abc import Sequence
from typing import NamedTuple


class PrefixTree(NamedTuple):
    """The distinct tokens of some sequences, laid end to end.

    ids, depths: of each distinct token its id, and its place in every sequence that holds it. paths: for each
    sequence where its tokens lie. shared: for each sequence how many of its first tokens another one brought.
    """

    ids: list[int]
    depths: list[int]
    paths: list[list[int]]
    shared: list[int]


def prefix_tree(sequences: Sequence[Sequence[int]]) -> PrefixTree:
    """The tree of some sequences; linear in their tokens, but for the sorting."""
    tree = PrefixTree([], [], [[] for _ in sequences], [0] * len(sequences))
    before: Sequence[int] = ()
    path: list[int] = []
    for number in sorted(range(len(sequences)), key=lambda number: list(sequences[number])):
        sequence = sequences[number]
        shared = num_common(before, sequence)
        end = len(tree.ids) + len(sequence) - shared
        path = [*path[:shared], *range(len(tree.ids), end)]
        tree.ids.extend(sequence[shared:])
        tree.depths.extend(range(shared, len(sequence)))
        tree.paths[number], tree.shared[number], before = path, shared, sequence
    return tree


def num_common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens two sequences begin with alike.

    >>> num_common([1, 2, 3], [1, 2, 4, 5])
    2
    """
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))
