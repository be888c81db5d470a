"""Sequences as a tree of their distinct tokens."""

from hypothesis import given
from hypothesis import strategies as st

from srlm.prefixes import prefix_tree

sequences = st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), max_size=8)


@given(sequences)
def test_every_sequence_lies_along_its_path(given_sequences):
    tree = prefix_tree(given_sequences)
    for sequence, path in zip(given_sequences, tree.paths, strict=True):
        assert [tree.ids[place] for place in path] == sequence
        assert [tree.depths[place] for place in path] == list(range(len(sequence)))


@given(sequences)
def test_each_beginning_stands_once_and_one_sequence_brings_it(given_sequences):
    tree = prefix_tree(given_sequences)
    beginnings = {tuple(each[: end + 1]) for each in given_sequences for end in range(len(each))}
    assert len(tree.ids) == len(beginnings)
    brought = [place for path, shared in zip(tree.paths, tree.shared, strict=True) for place in path[shared:]]
    assert sorted(brought) == list(range(len(tree.ids)))
