"""What differs between two texts: nothing is lost, nothing takes long, and it can be read."""

import random
import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srlm.web.browser import diff as diff_module
from srlm.web.browser.diff import Part, diff

TEXTS = st.one_of(
    st.text(max_size=80),
    st.lists(st.sampled_from(["the", "a", "red", "cat", "sat", "\n", ".", "```", "月", "e\u0301"])).map(
        " ".join
    ),
    st.lists(st.sampled_from(["one line\n", "another line\n", "\n", "last"])).map("".join),
)
MANY = "".join(f"word{number} " for number in range(30_000))


def sides(found):
    return "".join(part.text for part in found.before), "".join(part.text for part in found.after)


@given(TEXTS, TEXTS, st.sampled_from([300_000_000, 60, 4, 0]))
@settings(max_examples=400, deadline=None)
def test_both_texts_can_be_put_together_again_from_the_parts(one, other, cells):
    kept = diff_module.MOST_CELLS
    try:
        diff_module.MOST_CELLS = cells
        found = diff(one, other)
    finally:
        diff_module.MOST_CELLS = kept
    assert sides(found) == (one, other)
    assert all(part.text for part in found.parts)
    kinds = [part.kind for part in found.parts]
    assert all(kind != following for kind, following in pairwise(kinds))
    if one == other:
        assert {*kinds} <= {"same"}


def test_words_that_changed_are_told_from_those_that_did_not():
    found = diff("The Moon looks bigger near the horizon.", "The Moon looks larger close to the horizon!")
    assert found.by == "words"
    assert found.parts == (
        Part("same", "The Moon looks "),
        Part("deleted", "bigger near "),
        Part("inserted", "larger close to "),
        Part("same", "the horizon"),
        Part("deleted", "."),
        Part("inserted", "!"),
    )


def test_the_commonest_words_alone_are_nothing_in_common():
    one = "Garden walls of stone keep the heat of a long summer day"
    found = diff(one, "Every engine in the old factory of my town was a noisy one")
    assert [part.kind for part in found.parts] == ["deleted", "inserted"]


def test_a_word_that_changed_in_a_very_long_text_is_found():
    other = MANY.replace("word777 ", "other ").replace("word888 ", "")
    found = diff(MANY, other)
    assert found.by == "words"
    changed = [part.text.strip() for part in found.parts if part.kind != "same"]
    assert changed == ["word777", "other", "word888"]


@pytest.mark.parametrize(
    ("name", "by"), [("lines", "lines"), ("words", "lines"), ("repeated", "lines"), ("letters", "nothing")]
)
def test_texts_of_200_kb_are_compared_in_bounded_time(name, by):
    chance = random.Random(0)
    words = [f"w{number}" for number in range(300)]

    def made(joint: str) -> str:
        return "".join(
            chance.choice(words) + (joint if chance.random() < 0.05 else " ") for _ in range(45_000)
        )

    one, other = {
        "lines": lambda: (made("\n"), made("\n")),
        "words": lambda: (made(" "), made(" ")),
        "repeated": lambda: ("a b " * 50_000, "b a " * 50_000),
        "letters": lambda: ("a\n" * 100_000, "b\n" * 100_001),
    }[name]()
    started = time.process_time()
    found = diff(one, other)
    assert time.process_time() - started < 5
    assert found.by == by
    assert sides(found) == (one, other)


def test_lines_that_are_alike_stay_where_all_words_are_too_many_to_compare(monkeypatch):
    monkeypatch.setattr(diff_module, "MOST_CELLS", 600)
    one = "".join(f"line {number} is here\n" for number in range(12))
    other = "new first line\n" + one.replace("line 7 is", "line seven was") + "new last line\n"
    found = diff(one, other)
    assert found.by == "lines"
    assert ("inserted", "new first line\n") in [(part.kind, part.text) for part in found.parts]
    assert [part.text for part in found.parts if part.kind == "deleted"] == ["7 is"]
