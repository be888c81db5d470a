"""Advice from the phase map: the judge that an N wants, and a warning where one is too weak."""

import pytest

from srlm.evaluation import phase_map
from srlm.evaluation.phase_map import MEASURED, Place, before_a_run, least_accuracy, nearest, warning
from srlm.proving.arms import PLACES
from srlm.report.evidence import counsel
from srlm.report.rows import ModelRow

SMALL = (
    Place(0.9, 2, 0, 0.05, 0.02, 0.08),
    Place(0.6, 2, 0, -0.01, -0.04, 0.02),
    Place(0.9, 8, 0, 0.10, 0.05, 0.15),
    Place(0.75, 8, 0, 0.05, 0.01, 0.09),
    Place(0.6, 8, 0, -0.05, -0.09, -0.01),
    Place(0.9, 8, 2, 0.10, 0.05, 0.15),
    Place(0.75, 8, 2, 0.00, -0.04, 0.04),
)


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(phase_map, "MEASURED", SMALL)


def test_n_counts_first_and_then_the_accuracy(small):
    assert nearest(0.62, 3) == SMALL[1]
    assert nearest(0.7, 16) == SMALL[3]


def test_the_weakest_judge_that_still_added_something(small):
    assert (least_accuracy(2), least_accuracy(8), least_accuracy(100)) == (0.9, 0.75, 0.75)
    assert "right on about 75%" in before_a_run(8)
    assert "N = 2 added anything" in before_a_run(3)


def test_a_margin_has_places_of_its_own(small):
    assert least_accuracy(8, 3) == 0.9
    assert "N = 8 and a margin of 2 added anything" in before_a_run(8, 1.5)
    assert warning(0.8, 8) == ""
    assert "changed the truth at N = 8 and a margin of 2 by +0.00" in warning(0.8, 8, 2)
    assert warning(0.8, 2, 2) != ""  # N counts first, and there no margin was tried


def test_a_weak_judge_is_warned_of_with_the_figure(small):
    assert warning(0.8, 8) == ""
    said = warning(0.61, 8)
    assert "right on 61%" in said
    assert "-0.05 [-0.09, -0.01]" in said


def test_what_was_measured_is_told_best_first_for_every_n():
    assert {(place.samples, place.margin) for place in MEASURED} == set(PLACES)
    assert [place.accuracy for place in MEASURED] == sorted((one.accuracy for one in MEASURED), reverse=True)
    assert all(place.low <= place.gain <= place.high for place in MEASURED)
    for n in (2, 4, 8):
        assert 0.6 < least_accuracy(n) < 1.0
        assert warning(0.99, n) == ""
        assert warning(0.5, n)


def test_a_report_warns_where_the_judge_that_ranks_is_too_weak(small):
    def judged(value):
        return [ModelRow("M0", {}), ModelRow("M2", {"judge": {"pairwise": {"half": {"value": value}}}})]

    assert len(counsel(judged(0.61), {"responses.samples": 8})) == 1
    assert counsel(judged(0.9), {"responses.samples": 8}) == []
    assert counsel(judged(0.8), {"responses.samples": 8}) == []
    assert len(counsel(judged(0.8), {"responses.samples": 8, "pairs.min_margin": 2.0})) == 1
    assert counsel(judged(None), {"responses.samples": 8}) == []
    assert counsel(judged(0.61), {"responses.samples": 8, "pairs.rank_by": "consensus"}) == []
    assert counsel([], {}) == []
