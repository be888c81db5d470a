"""Wins by the majority of annotators, grades, attention checks: counted by hand, and on real votes."""

import gzip
import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlm.errors import DataError
from srlm.people.asking import BOTH_BAD, CANNOT_JUDGE, CHOICES, Answer, Item, Vote
from srlm.people.results import comparison_figures, majority, rating_figures
from srlm.report.cells import outcomes, share

FIRST, SLIGHTLY, TIE, SECOND_SLIGHTLY, SECOND = CHOICES


def pair(n, ours="ours", theirs="theirs!", models=("M3", "M1"), check=""):
    answers = tuple(
        Answer(name, f"{name}-{n}", text) for name, text in zip(models, (ours, theirs), strict=True)
    )
    return Item(f"p{n}", f"Prompt {n}?", answers, check)


def alone(n, text="four", model="M1", check=""):
    return Item(f"p{n}", f"Prompt {n}?", (Answer(model, f"{model}-{n}", text),), check)


def cast(item, *choices, **more):
    """A vote of annotators 1, 2, ... each."""
    return [Vote(item.id, who, choice, **more) for who, choice in enumerate(choices, 1)]


def figures(*said):
    """Of one match with a prompt for every tuple of choices."""
    items = [pair(n) for n in range(len(said))]
    votes = [vote for item, choices in zip(items, said, strict=True) for vote in cast(item, *choices)]
    return comparison_figures(items, votes)["matches"]["M3 against M1"]


@pytest.mark.parametrize(
    ("said", "outcome"),
    [
        (("win",), ("win", False)),
        (("loss", "loss", "win"), ("loss", False)),
        (("tie", "tie", "win"), ("tie", False)),
        (("win", "tie", "loss"), ("tie", True)),
        (("win", "loss"), ("tie", True)),
        (("win", "tie", "tie", "win"), ("tie", True)),
        (("win", "win", "tie", "loss"), ("win", False)),  # more than any other, if not more than half
    ],
)
def test_a_prompt_goes_to_what_more_annotators_say_than_anything_else(said, outcome):
    assert majority(said) == outcome


@given(st.lists(st.sampled_from(["win", "tie", "loss"]), min_size=1), st.randoms(use_true_random=False))
def test_the_majority_does_not_depend_on_order_or_side(said, random):
    turned = {"win": "loss", "loss": "win", "tie": "tie"}
    shuffled = random.sample(said, len(said))
    outcome, split = majority(said)
    assert majority(shuffled) == (outcome, split)
    assert majority([turned[one] for one in said]) == (turned[outcome], split)


def test_wins_ties_and_losses_are_by_majority():
    found = figures(
        (FIRST, SLIGHTLY, SECOND),  # a win, however strong the other side's word
        (SECOND, SECOND_SLIGHTLY, TIE),
        (BOTH_BAD, BOTH_BAD, FIRST),
        (BOTH_BAD, TIE, FIRST),
        (FIRST, TIE, SECOND),
        (CANNOT_JUDGE, CANNOT_JUDGE, FIRST),
        (CANNOT_JUDGE,),
        (),
    )
    assert found["models"] == ["M3", "M1"]
    assert (found["wins"], found["ties"], found["losses"]) == (2, 3, 1)
    assert (found["prompts"], found["unvoted"]) == (6, 2)
    assert (found["split"], found["both_bad"], found["annotators"]) == (1, 1, 3)
    assert found["win_rate"]["value"] == pytest.approx((2 + 3 / 2) / 6)
    assert found["win_rate"]["num"] == 6
    assert found["sign_test"] == pytest.approx(1.0)  # 2 of 3
    assert found["by_prompt"] == {
        "p0": "win",
        "p1": "loss",
        "p2": "tie",
        "p3": "tie",
        "p4": "tie",
        "p5": "win",
    }


def test_the_figures_of_a_match_fit_the_cells_of_a_report():
    found = figures((FIRST,), (FIRST,), (SECOND,), (TIE,))
    assert outcomes(found).text == "50 / 25 / 25"
    assert share("win_rate")(found).text == "62.5 %"
    assert share("win_rate")(found).interval


def test_single_votes_are_counted_by_choice_and_weighed_by_strength():
    found = figures((FIRST, SECOND_SLIGHTLY), (BOTH_BAD, TIE), (SLIGHTLY, CANNOT_JUDGE))
    assert found["votes"] == {
        FIRST: 1,
        SLIGHTLY: 1,
        TIE: 1,
        SECOND_SLIGHTLY: 1,
        SECOND: 0,
        BOTH_BAD: 1,
        CANNOT_JUDGE: 1,
    }
    assert [found["by_vote"][what]["value"] for what in ("win", "tie", "loss")] == [0.4, 0.4, 0.2]
    assert found["strength"]["value"] == pytest.approx((2 - 1 + 0 + 0 + 1) / 5)
    assert found["strength"]["num"] == 3  # prompts: votes on one are drawn together


def test_votes_on_a_prompt_are_no_independent_witnesses():
    """A vote that is copied ten times tells no more: the interval stays as it was."""
    said = [(FIRST,), (FIRST,), (SECOND,), (FIRST,), (TIE,), (FIRST,), (SECOND,), (FIRST,)]
    once, often = figures(*said), figures(*(choices * 10 for choices in said))
    assert often["strength"] == once["strength"]
    assert often["by_vote"] == once["by_vote"]
    assert often["win_rate"] == once["win_rate"]


def test_reasons_are_counted_by_who_won():
    one, other = pair(0), pair(1)
    votes = [
        Vote(one.id, 1, FIRST, ("correct", "clear")),
        Vote(one.id, 2, SECOND, ("clear",)),
        Vote(other.id, 1, BOTH_BAD, ("unsafe",)),
        Vote(other.id, 2, CANNOT_JUDGE, ("too long",)),
    ]
    found = comparison_figures([one, other], votes)["matches"]["M3 against M1"]
    assert found["reasons"] == {
        "correct": {"win": 1, "tie": 0, "loss": 0},
        "clear": {"win": 1, "tie": 0, "loss": 1},
        "unsafe": {"win": 0, "tie": 1, "loss": 0},
    }


def test_the_longer_answer_is_counted_on_decided_prompts_of_different_length():
    items = [
        pair(0, "long one", "short"),
        pair(1, "short", "long one"),
        pair(2, "long one", "x"),
        pair(3, "a", "b"),
    ]
    votes = [*cast(items[0], FIRST), *cast(items[1], FIRST), *cast(items[2], TIE), *cast(items[3], FIRST)]
    found = comparison_figures(items, votes)["matches"]["M3 against M1"]["length"]
    assert (found["longer"]["value"], found["longer"]["num"], found["equal"]) == (0.5, 2, 1)


def test_agreement_is_of_outcomes_and_of_choices():
    found = figures((FIRST, SLIGHTLY), (SECOND, SECOND), (TIE, BOTH_BAD), (FIRST, CANNOT_JUDGE))["agreement"]
    assert found["outcome"]["alpha"]["value"] == found["outcome"]["raw"]["value"] == 1
    assert found["outcome"]["items"] == 3  # one annotator alone has nobody to agree with
    assert found["choice"]["alpha"]["value"] < 1


def test_a_win_is_as_far_from_a_tie_as_from_a_loss():
    """Nominal alpha by hand: of the labels 3 are wins, 4 ties and 1 a loss, so by chance (64 - 9 - 16 - 1) of
    8 · 7 pairs are unequal; two of four are where a tie stands beside another, one where a win and a loss do.
    """
    near = figures((FIRST, FIRST), (FIRST, TIE), (TIE, TIE), (TIE, SECOND))["agreement"]["outcome"]
    assert near["alpha"]["value"] == pytest.approx(1 - (2 / 4) / (38 / 56))
    far = figures((FIRST, FIRST), (FIRST, SECOND), (TIE, TIE), (TIE, TIE))["agreement"]["outcome"]
    assert far["alpha"]["value"] == pytest.approx(1 - (1 / 4) / (38 / 56))


def test_checks_count_for_annotators_and_for_nothing_else():
    asked, same = pair(0), pair(1, "one", "one", ("M3", "M3"), "same")
    bad = pair(2, check="bad")
    votes = [
        *cast(asked, FIRST, CANNOT_JUDGE, SECOND),
        *cast(same, BOTH_BAD, FIRST, CANNOT_JUDGE),
        *cast(bad, SLIGHTLY, TIE, SECOND),
    ]
    with_checks = comparison_figures([asked, same, bad], votes)
    assert with_checks["annotators"] == {
        "1": {"votes": 1, "cannot_judge": 0, "checks": 2, "passed": 2},
        "2": {"votes": 1, "cannot_judge": 1, "checks": 2, "passed": 0},
        "3": {"votes": 1, "cannot_judge": 0, "checks": 1, "passed": 0},
    }
    alone_ = comparison_figures([asked], cast(asked, FIRST, CANNOT_JUDGE, SECOND))
    assert list(with_checks["matches"]) == ["M3 against M1"]
    assert {**with_checks, "annotators": None} == {**alone_, "annotators": None}


def test_the_last_word_of_an_annotator_counts_and_words_on_other_items_do_not():
    item = pair(0)
    votes = [Vote(item.id, 1, FIRST), Vote("elsewhere", 1, FIRST), Vote(item.id, 1, SECOND)]
    found = comparison_figures([item], votes)
    assert (found["votes"], found["prompts"]) == (1, 1)
    assert found["matches"]["M3 against M1"]["losses"] == 1


def test_a_study_without_votes_has_figures_of_none():
    found = comparison_figures([pair(0), pair(1)], [])
    match = found["matches"]["M3 against M1"]
    assert (found["prompts"], found["votes"], found["annotators"]) == (0, 0, {})
    assert (match["prompts"], match["unvoted"], match["sign_test"]) == (0, 2, None)
    assert match["win_rate"] == {"value": None, "low": None, "high": None, "num": 0}
    assert comparison_figures([], []) == {"prompts": 0, "votes": 0, "annotators": {}, "matches": {}}
    assert rating_figures([], [])["models"] == {}
    assert rating_figures([alone(0)], [])["models"]["M1"]["mean"]["value"] is None


def test_a_prompt_that_stands_twice_in_a_match_is_refused():
    twice = [pair(0), pair(0, theirs="another")]
    twice[1] = Item("p0", "Prompt 0?", (twice[1].answers[0], Answer("M1", "other", "another")))
    with pytest.raises(DataError, match="M3 against M1, twice on the prompt"):
        comparison_figures(twice, [])


def test_figures_are_ready_for_json_and_the_same_each_time():
    items = [pair(n) for n in range(6)]
    votes = [
        vote for n, item in enumerate(items) for vote in cast(item, CHOICES[n % 5], CHOICES[(n + 1) % 5])
    ]
    found = comparison_figures(items, votes, seed=3)
    assert json.loads(json.dumps(found)) == found == comparison_figures(items, votes, seed=3)
    assert found != comparison_figures(items, votes, seed=4)


def test_grades_are_means_of_annotators_and_every_answer_weighs_the_same():
    items = [alone(0, "a"), alone(1, "bbb"), alone(2, "cc"), alone(0, "d", "M2")]
    votes = [
        *cast(items[0], "5", "3"),
        *cast(items[1], "1"),
        *cast(items[2], CANNOT_JUDGE),
        *cast(items[3], "2"),
    ]
    found = rating_figures(items, votes)
    first = found["models"]["M1"]
    assert (first["mean"]["value"], first["mean"]["num"]) == (2.5, 2)  # of 4 and 1, not of 5, 3 and 1
    assert (first["answers"], first["unvoted"], first["annotators"]) == (2, 1, 2)
    assert first["by_annotator"] == {"1": {"mean": 3.0, "votes": 2}, "2": {"mean": 3.0, "votes": 1}}
    assert first["votes"] == {"0": 0, "1": 1, "2": 0, "3": 1, "4": 0, "5": 1, CANNOT_JUDGE: 1}
    assert first["length"]["value"] == pytest.approx(-1)  # the longer one got the lower grade
    assert found["models"]["M2"]["mean"]["value"] == 2
    assert (found["prompts"], found["votes"]) == (2, 5)
    assert found["annotators"]["1"] == {"votes": 4, "cannot_judge": 1, "checks": 0, "passed": 0}


def test_agreement_on_grades_is_of_all_models_and_knows_their_distance():
    items = [alone(n, model=model) for n in range(4) for model in ("M1", "M2")]
    near = [vote for n, item in enumerate(items) for vote in cast(item, str(n % 5), str(n % 5 + (n % 2)))]
    far = [
        vote
        for n, item in enumerate(items)
        for vote in cast(item, str(n % 5), str((n % 5 + 3 * (n % 2)) % 6))
    ]
    one, other = rating_figures(items, near), rating_figures(items, far)
    assert one["agreement"]["items"] == 8
    for figure in (lambda found: found["agreement"]["alpha"], lambda found: found["alpha_interval"]):
        assert figure(one)["value"] > figure(other)["value"] + 0.3
    assert one["agreement"]["cohen"]["value"] > other["agreement"]["cohen"]["value"] + 0.3
    assert one["agreement"]["raw"] == other["agreement"]["raw"]


@pytest.mark.parametrize(("grade", "passed"), [("0", 1), ("1", 1), ("2", 0), ("5", 0)])
def test_the_check_of_a_grade_is_passed_by_a_low_one(grade, passed):
    bad = alone(1, check="bad")
    found = rating_figures([alone(0), bad], [*cast(alone(0), "4"), *cast(bad, grade)])
    assert found["annotators"]["1"] == {"votes": 1, "cannot_judge": 0, "checks": 1, "passed": passed}
    assert found["models"]["M1"]["mean"]["value"] == 4


def test_the_majority_of_three_annotators_of_real_pairs(shared_data):
    """PandaLM's votes (0 tie, 1, 2) of all pairs, and wins by counting them in plain Python."""
    path = shared_data("pandalm/testset-v1.json.gz")
    rows = json.loads(gzip.decompress(path.read_bytes()))
    choice = {0: TIE, 1: FIRST, 2: SECOND}
    items, votes, expected, longer, singles = [], [], Counter(), [], Counter()
    for n, row in enumerate(rows):
        items.append(pair(n, row["response1"], row["response2"]))
        said = [int(row[f"annotator{who}"]) for who in (1, 2, 3)]
        votes += cast(items[-1], *(choice[one] for one in said))
        singles.update(said)
        ours, theirs, ties = (said.count(one) for one in (1, 2, 0))
        winner = "win" if ours > max(theirs, ties) else "loss" if theirs > max(ours, ties) else "tie"
        expected[winner] += 1
        expected["split"] += ours == theirs == ties == 1
        lengths = len(row["response1"]), len(row["response2"])
        if winner != "tie" and lengths[0] != lengths[1]:
            longer.append((lengths[0] > lengths[1]) == (winner == "win"))
    found = comparison_figures(items, votes)["matches"]["M3 against M1"]
    assert found["prompts"] == len(rows) == 481
    assert (found["wins"], found["ties"], found["losses"]) == tuple(
        expected[one] for one in ("win", "tie", "loss")
    )
    assert found["split"] == expected["split"]
    assert [found["votes"][one] for one in (TIE, FIRST, SECOND)] == [singles[one] for one in (0, 1, 2)]
    assert found["length"]["longer"]["value"] == pytest.approx(sum(longer) / len(longer))
    assert found["length"]["longer"]["num"] == len(longer)
    rate = found["win_rate"]
    spread = (
        sum(
            (value - rate["value"]) ** 2 * expected[one]
            for one, value in zip(("win", "tie", "loss"), (1, 0.5, 0), strict=True)
        )
        / len(rows)
    ) ** 0.5
    assert rate["high"] - rate["low"] == pytest.approx(2 * 1.96 * spread / len(rows) ** 0.5, rel=0.1)
