import json
import random
import time

import pytest
from scipy.stats import binomtest

from srlm.errors import DataError
from srlm.evaluation.head_to_head import (
    both_orders,
    couples_of,
    head_to_head,
    head_to_head_table,
    matrix_table,
    outcome,
    win_matrix,
)
from srlm.records import Comparison, Response

NAMES = ("M2", "M1")


def response(prompt, text):
    return Response(
        id=f"{prompt}:{text}",
        prompt_id=f"p{prompt}",
        prompt=f"prompt {prompt}",
        draw=0,
        text=text,
        num_tokens=1,
        finish="stop",
    )


def couple(prompt, ours="ours", theirs="theirs"):
    return response(prompt, ours), response(prompt, theirs)


def said(first, second, verdict):
    return Comparison(
        id=f"{first.id}/{second.id}",
        prompt_id=first.prompt_id,
        first_id=first.id,
        second_id=second.id,
        rubric="pairwise@0",
        verdict=verdict,
        reason=None if verdict else "no verdict",
        reply="",
    )


def match(*verdicts, names=NAMES):
    """A head-to-head in which prompt n got these verdicts in the two orders; "absent" is not judged."""
    couples = [couple(n) for n in range(len(verdicts))]
    comparisons = [
        said(*order, verdict)
        for (a, b), pair in zip(couples, verdicts, strict=True)
        for order, verdict in zip(((a, b), (b, a)), pair, strict=True)
        if verdict != "absent"
    ]
    return head_to_head(names, couples, comparisons)


WIN, LOSS, TIE = ("first", "second"), ("second", "first"), ("tie", "tie")


@pytest.mark.parametrize(
    ("one", "turned", "expected"),
    [
        (*WIN, "win"),
        (*LOSS, "loss"),
        (*TIE, "tie"),
        ("first", "first", "tie"),
        ("second", "second", "tie"),
        ("tie", "first", "tie"),
        ("first", "tie", "tie"),
        ("tie", "second", "tie"),
        (None, "first", "unreadable"),
        ("second", None, "unreadable"),
        (None, None, "unreadable"),
    ],
)
def test_a_win_needs_both_orders(one, turned, expected):
    a, b = couple(0)
    assert outcome(said(a, b, one), said(b, a, turned)) == expected
    assert outcome(None, said(b, a, turned)) == "missing"


def test_every_prompt_is_counted_once():
    found = match(WIN, WIN, WIN, LOSS, TIE, ("first", "first"), (None, "first"), ("first", "absent"))
    assert found["prompts"] == 8
    assert [found[key] for key in ("wins", "ties", "losses", "unreadable", "missing")] == [3, 2, 1, 1, 1]
    assert found["win_rate"]["value"] == pytest.approx(4 / 6)
    assert found["win_rate"]["num"] == 6
    assert found["sign_test"] == pytest.approx(binomtest(3, 4).pvalue)
    assert found["ties_by"] == {"judge": 1, "disagreement": 1, "equal": 0}
    assert found["reasons"] == {"no verdict": 1}
    assert found["by_prompt"]["p6"] == "unreadable"
    assert json.loads(json.dumps(found)) == found


def test_swapping_the_models_swaps_the_figures():
    couples = [couple(n) for n in range(30)]
    rng = random.Random(0)
    comparisons = [
        said(*order, rng.choice(["first", "second", "tie", None])) for order in both_orders(couples)
    ]
    one = head_to_head(NAMES, couples, comparisons)
    other = head_to_head(NAMES[::-1], [(b, a) for a, b in couples], comparisons)
    assert (one["wins"], one["ties"], one["losses"]) == (other["losses"], other["ties"], other["wins"])
    assert one["win_rate"]["value"] == pytest.approx(1 - other["win_rate"]["value"])
    assert one["sign_test"] == other["sign_test"]
    assert one["first_place"] == other["first_place"]


def test_a_judge_that_loves_the_first_place_decides_nothing():
    found = match(*[("first", "first")] * 10)
    assert (found["wins"], found["ties"], found["losses"]) == (0, 10, 0)
    assert found["sign_test"] is None
    assert found["first_place"]["value"] == 1
    assert found["win_rate"]["low"] is None  # all alike: the data cannot say


def test_equal_answers_are_a_tie_and_are_not_asked():
    couples = [couple(0), couple(1, "same", "same")]
    orders = both_orders(couples)
    assert [item.id for order in orders for item in order] == ["0:ours", "0:theirs", "0:theirs", "0:ours"]
    found = head_to_head(NAMES, couples, [said(*order, "first") for order in orders])
    assert (found["ties"], found["missing"]) == (2, 0)
    assert found["ties_by"] == {"judge": 0, "disagreement": 1, "equal": 1}


def test_answers_are_joined_by_prompt_whatever_their_order():
    ours = [response(n, "ours") for n in range(3)]
    theirs = [response(n, "theirs") for n in (2, 0, 1)]
    assert couples_of(ours, theirs) == [couple(n) for n in range(3)]
    with pytest.raises(DataError, match="1 prompts have the answer of one model only"):
        couples_of(ours, theirs[:2])
    with pytest.raises(DataError, match="two answers of the second model to the prompt 'prompt 2'"):
        couples_of(ours, [*theirs, theirs[0]])


def test_a_prompt_twice_and_two_verdicts_are_refused():
    a, b = couple(0)
    with pytest.raises(DataError, match="two answers of M2"):
        head_to_head(NAMES, [(a, b), (a, b)], [])
    with pytest.raises(DataError, match="one says first, the other no verdict"):
        head_to_head(NAMES, [(a, b)], [said(a, b, "first"), said(a, b, None)])
    assert head_to_head(NAMES, [(a, b)], [said(a, b, "first")] * 2)["missing"] == 1


def test_no_prompts_no_figures():
    found = match()
    assert found["win_rate"] == {"value": None, "low": None, "high": None, "num": 0}
    assert found["sign_test"] is None
    assert "–" in head_to_head_table([found])


def test_the_interval_covers_the_truth():
    rng = random.Random(1)
    inside = 0
    for _ in range(60):
        found = match(*[WIN if rng.random() < 0.6 else LOSS for _ in range(80)])["win_rate"]
        inside += found["low"] <= 0.6 <= found["high"]
    assert inside >= 52


def test_the_matrix_holds_every_match_from_both_sides():
    matrix = win_matrix(
        [
            match(WIN, WIN, LOSS, TIE, names=("M2", "M1")),
            match(WIN, names=("M2", "M0")),
            match((None, None), names=("M1", "M0")),
        ]
    )
    assert matrix["models"] == ["M2", "M1", "M0"]
    assert matrix["rows"]["M2"] == {"M2": None, "M1": 0.625, "M0": 1.0}
    assert matrix["rows"]["M1"] == {"M2": 0.375, "M1": None, "M0": None}
    assert matrix["mean"] == {"M2": 0.8125, "M1": 0.375, "M0": 0.0}
    lines = matrix_table(matrix).splitlines()
    assert lines[0].split() == ["M2", "M1", "M0", "mean"]
    assert lines[1].split() == ["M2", "–", "62.5", "100.0", "81.2"]


def test_a_match_twice_is_refused():
    with pytest.raises(DataError, match="M1 against M2"):
        win_matrix([match(WIN, names=("M2", "M1")), match(WIN, names=("M1", "M2"))])
    with pytest.raises(DataError, match="its own opponent"):
        win_matrix([match(WIN, names=("M1", "M1"))])


def test_the_table_has_a_line_a_match():
    lines = head_to_head_table([match(*[WIN] * 15, *[LOSS] * 3, *[TIE] * 2)]).splitlines()
    assert lines[1].split()[:6] == ["M2", "against", "M1", "75.0", "10.0", "15.0"]
    assert lines[1].split()[-4:] == ["0.008", "20", "0", "0"]


def test_805_comparisons_take_no_time():
    rng = random.Random(0)
    verdicts = [rng.choices(["first", "second", "tie"], k=2) for _ in range(805)]
    start = time.perf_counter()
    match(*verdicts)
    assert time.perf_counter() - start < 2
