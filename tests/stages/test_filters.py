import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from texts import text

from srlm.config import PromptsSection
from srlm.similarity import Pool
from srlm.stages.filters import fault_of

WORDS = st.lists(
    st.sampled_from(["red", "green", "blue", "one", "two", "three", "four", "five"]), min_size=1, max_size=12
)


def rouge_l(one: list[str], other: list[str]) -> float:
    """The textbook definition, by dynamic programming."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    return 2 * table[-1][-1] / (len(one) + len(other))


@given(WORDS, st.lists(WORDS, min_size=1, max_size=6), st.sampled_from([0.3, 0.5, 0.7]))
def test_the_pool_keeps_what_rouge_l_allows(words, earlier, limit):
    pool = Pool(limit, [" ".join(text) for text in earlier])
    expected = all(rouge_l(words, text) <= limit for text in earlier)
    assert pool.keep_new([" ".join(words)]) == [expected]


def test_exactly_the_limit_is_kept():
    # LCS 7 of 10 and 10 words: F = 14 / 20 = 0.7, which does not exceed 0.7.
    assert Pool(0.7, ["a b c d e f g h i j"]).keep_new(["a b c d e f g x y z"]) == [True]
    assert Pool(0.7, ["a b c d e f g h i j"]).keep_new(["a b c d e f g h y z"]) == [False]


def test_the_index_answers_as_all_pairs_do():
    """Six hundred texts by Zipf's law, many of them copies with some words changed."""
    chance = random.Random(0)
    texts = [text(n, 1, 20) for n in range(200)]
    for _ in range(400):
        words = chance.choice(texts).split()
        for _ in range(chance.randint(0, len(words))):
            words[chance.randrange(len(words))] = chance.choice(["w0", "w1", "new", words[0]])
        texts.append(" ".join(words))
    kept: list[list[str]] = []
    wanted = []
    for words in map(str.split, texts):
        wanted.append(all(rouge_l(words, other) <= 0.7 for other in kept))
        kept += [words] if wanted[-1] else []
    assert Pool(0.7).keep_new(texts) == wanted
    assert 200 < sum(wanted) < 550


def test_new_prompts_are_compared_with_each_other():
    assert Pool(0.7).keep_new(["one two three four", "one two three four", "five six seven eight"]) == [
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Too short here", "too short"),
        ("word " * 151, "too long"),
        ("Describe the picture above in detail", "needs another medium"),
        ("Please go to the shop for me", "needs another medium"),
        ("Write a program that sorts numbers", "write a program"),
        ("- list the three primary colours", "starts with punctuation"),
        ("Älteste Stadt of the country is", "starts with non-ASCII"),
        ("Profile the mapmakers of old Lisbon", None),
        ("Explain how kettles whistle when hot", None),
    ],
)
def test_faults(text, fault):
    assert fault_of(text, PromptsSection()) == fault
