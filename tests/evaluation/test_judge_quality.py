import gzip
import json
from itertools import combinations, permutations
from itertools import pairwise as adjacent
from pathlib import Path
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from srlm.evaluation.judge_quality import (
    PairCounts,
    ScoredPrompt,
    calibration,
    correlation,
    count_pairs,
    coverage,
    exact_match,
    judge_quality,
    length_correlation,
    over_longer,
    pairwise,
    pairwise_by_prompt,
    rank_correlations,
    top_best,
)
from srlm.evaluation.tables import PAPER_COLUMN, quality_table

MT_BENCH = Path(__file__).parents[3] / "shared/data/prometheus/mt_bench_eval.json.gz"
POLICIES = ("wrong", "half", "left_out")
EMPTY = {"value": None, "low": None, "high": None, "num": 0}


def prompt(places, scores, lengths=None):
    return ScoredPrompt(tuple(lengths or range(10, 10 + len(places))), tuple(places), tuple(scores))


def values(by_policy):
    return tuple(estimate.value for estimate in by_policy.values())


TIES = prompt((0, 1, 1, 2), (5, 5, 3, 3))
ALL_TIED = prompt((0, 0, 1), (4, 4, 4))
HUMAN_TIE = prompt((0, 0, 1), (4, 5, 1))
MISTAKE_AND_TIE = prompt((0, 1, 2), (3, 3, 4))
UNSCORED = prompt((0, 1, 2), (5, None, 1))
UNRANKED = prompt((0, 0, 0), (5, 5, 1))


@pytest.mark.parametrize(
    ("item", "counts", "by_policy"),
    [
        (TIES, (3, 0, 2, 0), (3 / 5, 4 / 5, 1.0)),
        (ALL_TIED, (0, 0, 2, 0), (0.0, 0.5, None)),
        (HUMAN_TIE, (2, 0, 0, 0), (1.0, 1.0, 1.0)),
        (MISTAKE_AND_TIE, (0, 2, 1, 0), (0.0, 0.5 / 3, 0.0)),
        (UNSCORED, (1, 0, 0, 2), (1.0, 1.0, 1.0)),
        (UNRANKED, (0, 0, 0, 0), (None, None, None)),
    ],
)
def test_pairs_by_hand(item, counts, by_policy):
    """TIES: six pairs less the one people tied; 5 = 5 (first, second) and 3 = 3 (third, last) are ties.

    ALL_TIED: the last against each of two. MISTAKE_AND_TIE: 3 < 4 twice, 3 = 3 once: half a right of three.
    UNSCORED: both pairs with the middle answer are out. UNRANKED: no pair has a better answer.
    """
    assert count_pairs(item) == PairCounts(*counts)
    assert values(pairwise([item])) == tuple(None if v is None else pytest.approx(v) for v in by_policy)


@pytest.mark.parametrize(
    ("item", "by_policy"),
    [
        (TIES, (0.0, 1 / 4, None)),
        (ALL_TIED, (0.0, 1 / 3, None)),
        (HUMAN_TIE, (1.0, 1.0, 1.0)),
        (MISTAKE_AND_TIE, (0.0, 0.0, None)),
        (UNSCORED, (None, None, None)),
        (UNRANKED, (None, None, None)),
        (prompt((0, 1, 2), (3, 2, 1)), (1.0, 1.0, 1.0)),
        (prompt((0, 1, 2), (3, 1, 2)), (0.0, 0.0, 0.0)),
        (prompt((0, 1, 1), (3, 2, 2)), (1.0, 1.0, 1.0)),
    ],
)
def test_exact_match_by_hand(item, by_policy):
    """TIES: two groups of two, each in the right order half the time: 1/4.

    ALL_TIED: the one worst answer is last of three once in three. HUMAN_TIE: 5 before 4 is as good as 4
    before 5. MISTAKE_AND_TIE: no way to break the tie mends 3 < 4; left out for its tie all the same.
    """
    assert values(exact_match([item])) == tuple(None if v is None else pytest.approx(v) for v in by_policy)


def test_correlations_by_hand():
    """TIES, Kendall: 3 pairs agree, none disagrees; people separate 5 of 6, the judge 4: 3 / sqrt(5 * 4).

    Spearman: people's ranks, centred, are 1.5, 0, 0, -1.5 and the judge's 1, 1, -1, -1: their product is 3
    and their squares sum to 4.5 and 4: 3 / sqrt(18).
    """
    assert values(correlation([TIES], "kendall")) == pytest.approx((3 / 20**0.5,) * 2)
    assert values(correlation([TIES], "spearman")) == pytest.approx((3 / 18**0.5,) * 2)


def test_an_undefined_correlation_is_zero_or_left_out():
    """ALL_TIED is undefined: the mean of 1 and 0 is 1/2, or it is 1 of the one prompt that has a value."""
    both = correlation([prompt((0, 1), (2, 1)), ALL_TIED], "spearman")
    assert values(both) == pytest.approx((0.5, 1.0))
    assert (both["zero"].num, both["left_out"].num) == (2, 1)
    assert values(correlation([UNRANKED], "kendall")) == (None, None)
    assert values(correlation([UNSCORED], "kendall")) == (1.0, 1.0)  # of the two answers that have a score
    assert values(correlation([prompt((0, 1), (2, None))], "kendall")) == (None, None)


@pytest.mark.parametrize("kind", ["spearman", "kendall"])
def test_a_high_score_for_a_good_place_is_positive(kind):
    assert values(correlation([prompt((0, 1, 2), (5, 3, 1))], kind)) == pytest.approx((1, 1))
    assert values(correlation([prompt((0, 1, 2), (1, 3, 5))], kind)) == pytest.approx((-1, -1))


def test_5_best_by_hand():
    """TIES gives two 5s, to places 0 and 1: 1/2; one of its four answers is best: chance 1/4.

    The other prompt's 4.5 rounds to 5 and is best, its 4.49 does not. UNRANKED's 5s have no part.
    Together 2 of 3, and by chance 2 of 6.
    """
    assert top_best([TIES])["share"].value == 0.5
    assert top_best([TIES])["chance"].value == 0.25
    found = top_best([TIES, prompt((0, 1), (4.5, 4.49)), UNRANKED])
    assert (found["share"].value, found["answers"]) == (pytest.approx(2 / 3), 3)
    assert found["chance"].value == pytest.approx(2 / 6)
    assert top_best([TIES], top=10) | {"chance": None} == {
        "share": top_best([])["share"],
        "answers": 0,
        "chance": None,
    }


def test_coverage_is_the_share_of_answers_with_a_score():
    assert coverage([UNSCORED, TIES]).value == pytest.approx(6 / 7)
    assert coverage([]).value is None


def test_calibration_by_hand():
    """TIES: people's middle places of four are 0, 1.5, 1.5, 3, so 0, 1/2, 1/2, 1: 5s at 1/4, 3s at 3/4.

    The other prompt: 2.5 rounds up to 3 and is best (0), 2.4 rounds to 2 and is worst (1). So the three
    answers of grade 3 are at 1/2, 1 and 0, in the mean 1/2.
    """
    found = calibration([TIES, prompt((0, 1), (2.5, 2.4)), UNRANKED])
    assert [(row["grade"], row["answers"], row["place"].value) for row in found] == [
        (2, 1, 1.0),
        (3, 3, pytest.approx(0.5)),
        (5, 2, 0.25),
    ]


def test_by_prompt_weighs_prompts_alike():
    """One pair of one right, none of three: 1/4 of the pairs, but 1/2 in the mean over prompts."""
    both = [prompt((0, 1), (2, 1)), prompt((0, 1, 2), (1, 2, 3))]
    assert pairwise(both)["half"].value == 0.25
    assert pairwise_by_prompt(both)["half"].value == 0.5
    tied = prompt((0, 1), (2, 2))
    assert values(pairwise_by_prompt([both[0], tied])) == (0.5, 0.75, 1.0)


def test_longer_wins_and_similar_lengths_by_hand():
    """Lengths 100, 79, 80 in the human order: the first beats both; of 79 and 80 the worse is longer.

    79 is less than 80 % of 100, so two of three pairs are similar: 100 against 80 right, 79 against 80
    wrong. The judge has the order reversed: it gets none of three, none of two.
    """
    found = judge_quality([prompt((0, 1, 2), (1, 2, 3), (100, 79, 80))])
    assert found["longer_wins"]["pairwise"]["half"]["value"] == pytest.approx(2 / 3)
    assert found["longer_wins"]["kendall"]["zero"]["value"] == pytest.approx(1 / 3)
    assert found["longer_wins"]["spearman"]["zero"]["value"] == pytest.approx(1 / 2)
    assert found["similar_length"]["longer_wins"]["half"]["value"] == 0.5
    assert found["similar_length"]["pairs"] == {"right": 0, "wrong": 2, "tied": 0, "unscored": 0}
    assert found["pairwise"]["half"]["value"] == 0.0


def test_longer_wins_is_the_same_line_for_every_judge():
    scored, unscored = prompt((0, 1), (2, 1)), prompt((0, 1), (None, None))
    assert judge_quality([scored])["longer_wins"] == judge_quality([unscored])["longer_wins"]


def test_the_judge_is_compared_with_length_on_the_pairs_it_scored():
    """Scored: 100 against 79, which length gets right and the judge ties: 1/2 - 1 = -1/2.

    In the second prompt the worse of two is longer and the judge is right: 1 - 0 = 1; the mean is 1/4.
    """
    partly = prompt((0, 1, 2), (3, None, 3), (100, 200, 79))
    assert over_longer([partly]).value == -0.5
    assert over_longer([partly, prompt((0, 1), (2, 1), (5, 6))]).value == 0.25
    assert over_longer([prompt((0, 1), (2, None))]).value is None


def test_verbosity_is_the_correlation_of_score_and_length():
    """Scores rise with length in an unranked prompt, too; equal lengths have no part; equal scores are 0."""
    follows = prompt((0, 0, 0), (1, 2, 3), (5, 6, 7))
    assert values(length_correlation([follows])) == pytest.approx((1.0, 1.0))
    assert values(length_correlation([prompt((0, 1), (1, 2), (5, 5))])) == (None, None)
    assert values(length_correlation([follows, prompt((0, 1), (2, 2), (5, 6))])) == pytest.approx((0.5, 1.0))


few = st.integers(0, 3)
rows = st.lists(st.tuples(few, few), min_size=2, max_size=6)


@given(rows)
@settings(max_examples=200, deadline=None)
def test_correlations_equal_those_of_scipy(row):
    one, other = zip(*row, strict=True)
    found = rank_correlations(one, other)
    if len(set(one)) < 2 or len(set(other)) < 2:
        assert found is None
    else:
        assert found == pytest.approx((spearmanr(one, other).statistic, kendalltau(one, other).statistic))


@given(rows)
@settings(max_examples=100, deadline=None)
def test_half_is_the_share_of_orders_that_break_the_ties_as_people_do(row):
    """Written out: of all orders of the answers in which no score rises, those in which no place falls."""
    places, scores = zip(*row, strict=True)
    orders = [
        [places[n] for n in order]
        for order in permutations(range(len(row)))
        if all(scores[a] >= scores[b] for a, b in adjacent(order))
    ]
    found = exact_match([prompt(places, scores)])["half"].value
    expected = fmean(order == sorted(order) for order in orders)
    assert found == (pytest.approx(expected) if len(set(places)) > 1 else None)


@given(st.lists(st.lists(st.tuples(few, st.none() | few), min_size=2, max_size=5), max_size=5))
@settings(max_examples=100, deadline=None)
def test_pairwise_accuracy_equals_a_plain_loop(data):
    scored = [prompt(*zip(*row, strict=True)) for row in data]
    found = {name: estimate.value for name, estimate in pairwise(scored).items()}
    expected = plain_pairwise([(item.places, item.scores) for item in scored])
    assert found == {
        name: value if value is None else pytest.approx(value) for name, value in expected.items()
    }


def plain_pairwise(prompts):
    """Pairwise accuracy by policy, from (places, scores) of each prompt."""
    points = {name: [] for name in POLICIES}
    for places, scores in prompts:
        for (place, score), (other, other_score) in combinations(zip(places, scores, strict=True), 2):
            if place == other or score is None or other_score is None:
                continue
            if score == other_score:
                points["wrong"].append(0)
                points["half"].append(0.5)
            else:
                for name in POLICIES:
                    points[name].append((score > other_score) == (place < other))
    return {name: fmean(found) if found else None for name, found in points.items()}


def test_bad_prompts_are_refused():
    with pytest.raises(ValueError, match="2 lengths, 1 places and 2 scores"):
        ScoredPrompt((1, 2), (0,), (1.0, 2.0))
    with pytest.raises(ValueError, match="an unreadable score is None"):
        prompt((0, 1), (float("nan"), 1))


@pytest.mark.parametrize(
    "scored", [[], [UNRANKED], [prompt((0,), (3,))], [prompt((), ())], [prompt((0, 1), (None, None))]]
)
def test_nothing_to_measure_is_none_and_still_a_table(scored):
    found = judge_quality(scored)
    assert found["pairwise"]["half"] == EMPTY
    assert found["top_best"]["share"] == EMPTY
    assert found["kendall"]["zero"] == EMPTY
    json.dumps(found, allow_nan=False)
    assert "pairwise accuracy %" in quality_table({"nothing": found})


ALL = [TIES, ALL_TIED, HUMAN_TIE, MISTAKE_AND_TIE, UNSCORED, UNRANKED]


def test_figures_are_plain_and_the_same_again():
    found = judge_quality(ALL, seed=4)
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert found == judge_quality(ALL, seed=4)
    assert found["pairs"] == {"right": 6, "wrong": 2, "tied": 5, "unscored": 2}
    assert (found["prompts"], found["ranked_prompts"], found["answers"]) == (6, 5, 19)


def test_the_table_has_the_paper_beside_and_longer_wins_beneath():
    lines = quality_table({"one": judge_quality(ALL), "two": judge_quality(ALL)}).splitlines()
    assert max(map(len, lines)) <= 110
    assert sum(PAPER_COLUMN in line for line in lines) == 2
    place = next(n for n, line in enumerate(lines) if line.startswith("pairwise accuracy %"))
    assert lines[place].endswith("65.1 / 78.7")
    assert lines[place + 1].strip().startswith("longer wins")
    assert quality_table({}) == ""


def test_a_table_cell_holds_the_value_and_its_interval():
    found = judge_quality([prompt((0, 1), (2, 1)), prompt((0, 1), (1, 2))])
    text = quality_table({"two prompts": found})
    assert "pairwise accuracy %   50.0 [0.0, 100.0]" in text
    assert ".000 [-1.000, 1.000]" in text
    assert "100.0 [–]" in quality_table({"one prompt": judge_quality([prompt((0, 1), (2, 1))])})


@pytest.fixture(scope="module")
def mt_bench():
    """48 prompts, 4 answers each: people's places from the mean of GPT-4's draws 1 and 2, scores draw 3."""
    if not MT_BENCH.exists():
        pytest.skip(f"{MT_BENCH} is not here: the shared data lies beside the checkout")
    with gzip.open(MT_BENCH, "rt", encoding="utf-8") as file:
        rows = json.load(file)
    prompts = {}
    for row in rows:
        text = row["instruction"].split("###Response to evaluate:\n")[1].split("\n\n###Reference Answer")[0]
        prompts.setdefault(row["idx"], []).append((len(text), row["gpt4_score"]))
    scored = []
    for answers in prompts.values():
        goodness = [first + second for _, (first, second, _) in answers]
        places = [sorted(set(goodness), reverse=True).index(good) for good in goodness]
        scored.append(prompt(places, [draws[2] for _, draws in answers], [length for length, _ in answers]))
    assert [len(item.scores) for item in scored] == [4] * 48
    return scored


def plain_exact(prompts):
    """Exact match by policy: a score's order is right where sorting by it leaves the places sorted."""
    points = {name: [] for name in POLICIES}
    for places, scores in prompts:
        if len(set(places)) < 2:
            continue
        pairs = [
            pair for pair in combinations(zip(places, scores, strict=True), 2) if pair[0][0] != pair[1][0]
        ]
        tied = any(one[1] == other[1] for one, other in pairs)
        right = all((one[0] < other[0]) == (one[1] > other[1]) and one[1] != other[1] for one, other in pairs)
        points["wrong"].append(right)
        orders = [
            [places[n] for n in order]
            for order in permutations(range(len(places)))
            if sorted(scores, reverse=True) == [scores[n] for n in order]
        ]
        points["half"].append(fmean(order == sorted(order) for order in orders))
        if not tied:
            points["left_out"].append(right)
    return {name: fmean(found) for name, found in points.items()}


def plain_correlation(kind, prompts):
    """The mean of scipy's coefficient, undefined as 0 and left out."""
    found = []
    for places, scores in prompts:
        if len(set(places)) > 1:
            defined = len(set(scores)) > 1
            found.append(kind([-place for place in places], scores).statistic if defined else None)
    return {
        "zero": fmean(value or 0.0 for value in found),
        "left_out": fmean(value for value in found if value is not None),
    }


def assert_equal(found, expected):
    assert {name: estimate["value"] for name, estimate in found.items()} == pytest.approx(expected)


def test_real_scores_equal_an_independent_implementation(mt_bench):
    found = judge_quality(mt_bench)
    by_score = [(item.places, item.scores) for item in mt_bench]
    by_length = [(item.places, item.lengths) for item in mt_bench]
    for figures, prompts in ((found, by_score), (found["longer_wins"], by_length)):
        assert_equal(figures["pairwise"], plain_pairwise(prompts))
        assert_equal(figures["exact_match"], plain_exact(prompts))
        assert_equal(figures["spearman"], plain_correlation(spearmanr, prompts))
        assert_equal(figures["kendall"], plain_correlation(kendalltau, prompts))
    perfect = [
        place
        for places, scores in by_score
        if len(set(places)) > 1
        for place, score in zip(places, scores, strict=True)
        if score == 5
    ]
    assert found["top_best"]["share"]["value"] == pytest.approx(perfect.count(0) / len(perfect))
    assert found["top_best"]["answers"] == len(perfect)


def test_real_scores_say_that_gpt_4_agrees_with_itself(mt_bench):
    """A judge that is the same model as the labels beats length, though two intervals apart overlap."""
    found = judge_quality(mt_bench)
    judge, longer = (item["pairwise"]["half"]["value"] for item in (found, found["longer_wins"]))
    assert found["over_longer"]["value"] == pytest.approx(judge - longer)
    assert found["over_longer"]["low"] > 0
    places = [row["place"]["value"] for row in found["calibration"]]
    assert places[-1] < 0.5 < places[0]
    assert found["coverage"] == {"value": 1.0, "low": None, "high": None, "num": 48}
