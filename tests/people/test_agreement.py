"""Agreement against published worked examples, and against plain arithmetic on real votes."""

import gzip
import json
import math
import warnings
from collections import Counter
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srlm.people.agreement import agreement, cohen, fleiss, krippendorff, resampled, spearman

KRIPPENDORFF = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, 0, 0, 0),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, 0, 3),
    (0, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, 0),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, 0),
)
"""Four observers, twelve units, five values, 0 is none ("Computing Krippendorff's Alpha-Reliability",
2011).
"""
FLEISS = (
    (0, 0, 0, 0, 14),
    (0, 2, 6, 4, 2),
    (0, 0, 3, 5, 6),
    (0, 3, 9, 2, 0),
    (2, 2, 8, 1, 1),
    (7, 7, 0, 0, 0),
    (3, 2, 6, 3, 0),
    (2, 5, 3, 2, 2),
    (6, 5, 2, 1, 0),
    (0, 2, 2, 3, 7),
)
"""Fourteen raters, ten subjects, five categories: how many raters put a subject into each."""


def table(rows):
    """From a row an annotator to labels by item; 0 is none."""
    return {
        f"item {place}": {who: row[place] for who, row in enumerate(rows, 1) if row[place]}
        for place in range(len(rows[0]))
    }


@pytest.mark.parametrize(("level", "known"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_is_that_of_krippendorffs_example(level, known):
    """Nominal by hand: 40 values of 11 units can be paired, the one of the twelfth cannot; 9, 13, 10, 5 and
    3 are 1 to 5. Of unequal pairs, unit 2 has 3·1·2/3 = 2, unit 6 all of 4·3/3 = 4, unit 8 2, so observed
    are 8 of 40. By chance Σ n(40 - n) / 39 = (1600 - 81 - 169 - 100 - 25 - 9) / 39 = 1216 / 39 are unequal,
    and 1 - 8 · 39 / 1216 = 0.743.
    """
    found = krippendorff(table(KRIPPENDORFF), level)
    assert round(found.value, 3) == known
    assert found.num == 11
    assert found.low < found.value < found.high
    if level == "nominal":
        assert found.value == pytest.approx(1 - 8 * 39 / 1216)


def test_fleiss_is_that_of_the_worked_example():
    """By hand: the categories have 20, 28, 39, 21 and 32 of 140 ratings, so chance is .2128; pairs within
    subjects agree in .3780; (.3780 - .2128) / (1 - .2128) = .2099.
    """
    chance = sum(Fraction(n, 140) ** 2 for n in (20, 28, 39, 21, 32))
    within = Fraction(sum(n * (n - 1) for row in FLEISS for n in row), 10 * 14 * 13)
    found = fleiss(np.array(FLEISS))
    assert found == pytest.approx(float((within - chance) / (1 - chance)))
    assert round(found, 3) == 0.210


def test_cohen_is_that_of_the_worked_example():
    """Fifty proposals, both say yes to 20 and no to 15, the first alone to 5, the second alone to 10: equal
    are .7, by chance .5 · .6 + .5 · .4 = .5, so (.7 - .5) / .5 = .4.
    """
    one, other = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert cohen(one, other) == pytest.approx(0.4)


def test_cohen_squares_the_distance_where_labels_have_an_order():
    """Grades 0 and 4 of two annotators who swap them once: 1 - Σ observed d² / Σ expected d². Labels that
    nobody gave keep their place between.
    """
    one, other = [0, 0, 4, 1], [0, 4, 4, 0]
    observed = sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) / 4
    expected = sum((a - b) ** 2 for a in one for b in other) / 16
    assert cohen(one, other, "ordinal") == pytest.approx(1 - observed / expected)


def test_every_figure_of_a_table_of_labels():
    """Three annotators; the third leaves out the last item, and the first alone has seen one more."""
    labels = {"a": {1: 1, 2: 1, 3: 1}, "b": {1: 0, 2: 0, 3: 1}, "c": {1: 0, 2: 1}, "d": {1: 0}}
    found = agreement(labels, "nominal")
    assert (found["annotators"], found["items"]) == (3, 3)
    assert found["raw"]["value"] == pytest.approx(4 / 7)  # pairs: 3 of 3, 1 of 3, 0 of 1
    assert found["fleiss"] == {"value": pytest.approx(fleiss(np.array([[0, 3], [2, 1]]))), "num": 2}
    first, second, third = found["cohen"]["pairs"]
    assert first == {"annotators": [1, 2], "value": pytest.approx(0.4), "num": 3}  # (2/3 - 4/9) / (5/9)
    assert (second["annotators"], second["value"], second["num"]) == ([1, 3], pytest.approx(0.0), 2)
    assert (third["annotators"], third["num"]) == ([2, 3], 2)
    assert found["cohen"]["value"] == pytest.approx((0.4 + 0 + third["value"]) / 3)
    json.dumps(found)


@pytest.mark.parametrize(
    "labels",
    [
        {},
        {"a": {1: 1}, "b": {1: 0}},  # one annotator
        {"a": {1: 1}, "b": {2: 0}},  # no item that two have seen
        {"a": {1: 1, 2: 1}, "b": {1: 1, 2: 1}},  # one label
        {"a": {1: 1, 2: 1}, "b": {1: 0}},  # one label where two have seen the item
    ],
)
@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_what_cannot_be_said_is_none_without_a_warning(labels, level):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = agreement(labels, level)
    assert found["alpha"]["value"] is None
    assert found["fleiss"]["value"] is None
    assert found["cohen"]["value"] is None


def test_full_agreement_is_one_and_has_no_interval():
    labels = {"a": {1: 1, 2: 1}, "b": {1: 0, 2: 0}, "c": {1: 0, 2: 0}, "d": {1: 1, 2: 1}, "e": {1: 1, 2: 1}}
    found = agreement(labels, "nominal")
    assert found["alpha"]["value"] == found["raw"]["value"] == found["fleiss"]["value"] == 1
    assert found["alpha"]["low"] is None
    assert found["raw"]["low"] is None


labels = st.dictionaries(
    st.text("abcdefgh", min_size=1, max_size=2),
    st.dictionaries(st.integers(1, 4), st.integers(-2, 2), min_size=1),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(labels, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_no_table_of_labels_gives_a_figure_that_is_no_number(table, level):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = agreement(table, level)
    for value in (found["alpha"]["value"], found["fleiss"]["value"], found["cohen"]["value"]):
        assert value is None or (math.isfinite(value) and value <= 1 + 1e-9)


def test_an_interval_is_as_wide_as_theory_says():
    """The mean of 200 draws of spread 1: ± 1.96 / √200."""
    values = np.random.default_rng(1).normal(size=200)
    found = resampled(200, lambda drawn: float(values[drawn].mean()), 0)
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(200), rel=0.1)
    assert resampled(200, lambda drawn: float(values[drawn].mean()), 0) == found
    assert resampled(200, lambda drawn: 1.0, 0).low is None  # all the same: nothing is known of the next
    assert resampled(4, lambda drawn: 1.0 * drawn[0] if len({*drawn}) > 1 else None, 0).low == 0
    assert resampled(2, lambda drawn: 1.0 * drawn[0] if len({*drawn}) > 1 else None, 0).low is None


def test_spearman_is_of_ranks_and_none_where_a_side_is_all_equal():
    assert spearman([1, 2, 3, 4], [10, 100, 1000, 10000]).value == pytest.approx(1)
    assert spearman([1, 2, 3, 4], [4, 3, 2, 1]).value == pytest.approx(-1)
    assert spearman([1, 1, 1], [1, 2, 3]).value is None
    assert spearman([1], [2]).value is None
    assert spearman([], []).value is None


def test_three_annotators_of_real_pairs(shared_data):
    """PandaLM's votes (0 tie, 1, 2): kappas and alpha from their definitions, in plain Python."""
    path = shared_data("pandalm/testset-v1.json.gz")
    rows = json.loads(gzip.decompress(path.read_bytes()))
    votes = [tuple(int(row[f"annotator{who}"]) for who in (1, 2, 3)) for row in rows]
    found = agreement({str(n): dict(enumerate(said, 1)) for n, said in enumerate(votes)}, "nominal")

    equal = [sum(one == other for one, other in combinations(said, 2)) / 3 for said in votes]
    given_ = Counter(vote for said in votes for vote in said)
    total = given_.total()
    by_chance = sum((count / total) ** 2 for count in given_.values())
    observed = sum(equal) / len(votes)
    assert found["items"] == found["fleiss"]["num"] == found["alpha"]["num"] == len(votes) == 481
    assert found["raw"]["value"] == pytest.approx(observed)
    assert found["fleiss"]["value"] == pytest.approx((observed - by_chance) / (1 - by_chance))
    unequal = 1 - sum(count * (count - 1) for count in given_.values()) / (total * (total - 1))
    assert found["alpha"]["value"] == pytest.approx(1 - (1 - observed) / unequal)
    assert found["alpha"]["low"] < found["alpha"]["value"] < found["alpha"]["high"]
    for pair in found["cohen"]["pairs"]:
        one, other = ([said[who - 1] for said in votes] for who in pair["annotators"])
        same = sum(a == b for a, b in zip(one, other, strict=True)) / len(votes)
        chance = sum(one.count(label) * other.count(label) for label in (0, 1, 2)) / len(votes) ** 2
        assert pair["value"] == pytest.approx((same - chance) / (1 - chance))
    assert len(found["cohen"]["pairs"]) == 3
