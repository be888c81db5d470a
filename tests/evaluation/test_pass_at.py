import json
from dataclasses import asdict
from decimal import Decimal
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlm.evaluation.gsm8k import Question, grade, grade_draws, gsm8k_figures, gsm8k_table, pass_at
from srlm.evaluation.intervals import bootstrap

RIGHT, MEANT, WRONG = "#### 12", "It is 12", "#### 13"


def by_enumeration(num, right, k):
    """The share of all choices of k solutions in which one is right."""
    choices = list(combinations([place < right for place in range(num)], k))
    return sum(map(any, choices)) / len(choices)


def questions(num):
    return [Question(f"Question {place}", Decimal(12)) for place in range(num)]


def figures_of(*draws, seed=0):
    return gsm8k_figures(grade_draws(questions(len(draws)), draws), seed)


@given(st.data())
def test_pass_at_is_the_share_of_all_choices_of_k(data):
    num = data.draw(st.integers(1, 8))
    right, k = data.draw(st.integers(0, num)), data.draw(st.integers(1, num))
    assert pass_at(num, right, k) == pytest.approx(by_enumeration(num, right, k))


def test_pass_at_by_hand():
    assert pass_at(4, 1, 2) == pytest.approx(1 / 2)
    assert pass_at(4, 2, 2) == pytest.approx(5 / 6)
    assert pass_at(200, 1, 100) == pytest.approx(1 / 2)
    assert [pass_at(4, 0, k) for k in (1, 2, 4)] == [0, 0, 0]
    assert [pass_at(4, 4, k) for k in (1, 2, 4)] == [1, 1, 1]


def test_draws_are_graded_as_single_solutions_are_in_the_order_of_the_questions():
    asked = [Question("a", Decimal(12)), Question("b", Decimal(13))]
    draws = [[RIGHT, MEANT, " "], [WRONG]]
    grades = grade_draws(asked, draws)
    assert grades == [
        [*grade(asked[:1], {"a": RIGHT}), *grade(asked[:1], {"a": MEANT}), *grade(asked[:1], {"a": " "})],
        grade(asked[1:], {"b": WRONG}),
    ]
    assert [[one.is_correct() for one in group] for group in grades] == [[True, False, False], [True]]
    assert [one.is_empty for one in grades[0]] == [False, False, True]


@pytest.mark.parametrize("draws", [[[RIGHT]], [[RIGHT], [RIGHT], [RIGHT]]])
def test_every_question_has_its_draws(draws):
    with pytest.raises(ValueError, match="zip"):
        grade_draws(questions(2), draws)


def test_pass_at_k_is_a_mean_over_questions_with_an_interval_that_draws_them():
    draws = [
        [RIGHT, WRONG, WRONG, WRONG],
        [RIGHT, RIGHT, "", RIGHT],
        [WRONG, WRONG, MEANT, MEANT],  # as marked, none of them is right
        [WRONG, RIGHT, RIGHT, WRONG],
    ]
    found = json.loads(json.dumps(figures_of(*draws, seed=5)))
    assert list(found["pass_at"]) == ["1", "2", "4"]
    for k in (1, 2, 4):
        shares = [by_enumeration(4, right, k) for right in (1, 3, 0, 2)]
        wanted = asdict(bootstrap(shares, lambda share: (share, 1), seed=5))
        assert found["pass_at"][str(k)] == pytest.approx(wanted)
        assert wanted["low"] < wanted["value"] < wanted["high"]
        assert wanted["num"] == 4
    assert found["pass_at"]["1"]["value"] == pytest.approx(found["marked"]["value"])
    assert (found["questions"], found["solutions"], found["empty"], found["unmarked"]) == (4, 16, 1, 3)
    assert found["marked"]["value"] == 6 / 16
    assert found["last_number"]["value"] == 8 / 16
    assert found["marked"]["num"] == 4


def test_the_interval_of_a_share_draws_questions_with_all_their_solutions():
    draws = [[RIGHT, RIGHT], [WRONG], [RIGHT, WRONG, WRONG]]
    for seed in (0, 5):
        wanted = bootstrap([(2, 2), (0, 1), (1, 3)], lambda part: part, seed=seed)
        assert figures_of(*draws, seed=seed)["marked"] == asdict(wanted)


def test_k_goes_as_far_as_the_fewest_solutions_of_a_question():
    """Of 4 and 3 solutions 2 is the last k; each question counts once, however many its solutions."""
    found = figures_of([RIGHT, WRONG, WRONG, WRONG], [RIGHT, RIGHT, WRONG])
    assert list(found["pass_at"]) == ["1", "2"]
    assert found["pass_at"]["1"]["value"] == pytest.approx((1 / 4 + 2 / 3) / 2)
    assert found["pass_at"]["2"]["value"] == pytest.approx((1 / 2 + 1) / 2)
    assert found["marked"]["value"] == 3 / 7


def test_the_interval_of_pass_at_follows_the_seed():
    rights = [place * place % 5 for place in range(13)]
    draws = [[RIGHT] * right + [WRONG] * (4 - right) for right in rights]
    shares = [by_enumeration(4, right, 2) for right in rights]
    wanted = [bootstrap(shares, lambda share: (share, 1), seed=seed) for seed in (0, 5)]
    assert wanted[0].low != wanted[1].low
    lows = [figures_of(*draws, seed=seed)["pass_at"]["2"]["low"] for seed in (0, 5)]
    assert lows == pytest.approx([one.low for one in wanted])


@pytest.mark.parametrize(
    ("num", "ks"), [(1, "1"), (2, "12"), (3, "12"), (4, "124"), (7, "124"), (8, "1248"), (9, "1248")]
)
def test_k_doubles_up_to_the_number_of_solutions(num, ks):
    assert "".join(figures_of([RIGHT] * num, [WRONG] * num)["pass_at"]) == ks


def test_without_solutions_there_is_no_pass_at():
    assert gsm8k_figures([])["pass_at"] == {}
    found = figures_of([RIGHT], [])
    assert found["pass_at"] == {}
    assert found["marked"] == {"value": 1, "low": None, "high": None, "num": 1}


def test_the_table_has_pass_at_only_of_several_solutions():
    several = gsm8k_table(figures_of([RIGHT, WRONG], [WRONG, WRONG]))
    (line,) = [line for line in several.splitlines() if "pass@2" in line]
    assert line.split()[2:] == ["50.00", "[0.0,", "100.0]"]
    assert max(map(len, several.splitlines())) <= 110
    assert "pass@" not in gsm8k_table(figures_of([RIGHT], [WRONG]))
