"""Order and sides of ballots: balanced, repeatable, and no sign of who wrote what."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from srlm.people.asking import BOTH_BAD, CANNOT_JUDGE, CHOICES, Answer, Item
from srlm.people.ballots import ballots, said, shown


def items(num: int, models: tuple[str, str] = ("M3", "M1")) -> list[Item]:
    return [
        Item(
            f"p{n}",
            f"prompt {n}",
            tuple(Answer(model, f"{model}{n}", f"{model} says {n}") for model in models),
        )
        for n in range(num)
    ]


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 5))
def test_each_side_has_half_of_every_match(num, annotator, seed):
    asked = items(num) + items(num, ("M2", "M1"))
    mine = ballots(asked, annotator, seed)
    assert [one.position for one in mine] == list(range(1, 2 * num + 1))
    assert {one.item.id for one in mine} == {item.id for item in asked}
    for model in ("M3", "M2"):
        left = sum(one.turned for one in mine if one.item.models[0] == model)
        assert num // 2 <= left <= (num + 1) // 2


@given(st.integers(2, 40), st.integers(0, 5))
def test_neighbours_see_every_item_the_other_way_round(num, seed):
    asked = items(num)
    one, other = ({each.item.id: each.turned for each in ballots(asked, who, seed)} for who in (1, 2))
    assert all(one[key] != other[key] for key in one)


def test_ballots_are_the_same_again_and_in_another_order_for_everybody():
    asked = items(30)
    assert ballots(asked, 1, 0) == ballots(list(reversed(asked)), 1, 0)
    orders = {tuple(each.item.id for each in ballots(asked, who, 0)) for who in range(1, 6)}
    assert len(orders) == 5


def test_where_an_answer_stands_says_nothing_about_its_place_in_the_order():
    """Left and right change as chance would have it: neither always nor in turn."""
    sides = [one.turned for one in ballots(items(200), 1, 0)]
    changes = sum(a != b for a, b in pairwise(sides))
    assert 75 < changes < 125


def test_a_value_of_the_form_means_a_choice_of_the_item_whichever_side_it_stands_on():
    for one in ballots(items(10), 1, 0):
        left_clearly = said(one, "1")
        assert left_clearly == ("second_clearly" if one.turned else "first_clearly")
        assert one.answers[0].model == ("M1" if one.turned else "M3")
        assert said(one, "3") == "tie"
        for choice in (*CHOICES, BOTH_BAD, CANNOT_JUDGE):
            assert said(one, shown(one, choice)) == choice
    counted = Counter(said(one, "1") for one in ballots(items(10), 1, 0))
    assert counted == {"first_clearly": 5, "second_clearly": 5}


def test_what_is_no_choice_is_none():
    (pair,) = ballots(items(1), 1, 0)
    (single,) = ballots([Item("p", "prompt", (Answer("M1", "a", "text"),))], 1, 0)
    assert [said(pair, value) for value in ("0", "6", "", "first_clearly", "skipped", "11")] == [None] * 6
    assert [said(single, value) for value in ("0", "5", "6", "both_bad", "cannot_judge")] == [
        *("0", "5"),
        None,
        None,
        "cannot_judge",
    ]
