"""The phase map of a study: gains by accuracy and N, corrected, as a table and in the page."""

import pytest

from srlm.proving.mapping import map_table, phase_map
from srlm.proving.page import page_of
from srlm.proving.study import Study, study_of


def rounds(first: float, then: float, judge: float | None = 0.7) -> list[dict[str, object]]:
    keys = ("greedy", "greedy_right", "sampled_right", "pass_8", "tokens", "ended")
    return [
        {"model": name, "sampled": sampled, "judge": judge, **dict.fromkeys(keys, 1.0)}
        for name, sampled in (("M1", first), ("M2", then))
    ]


def outcome(then: float, samples: int, margin: float = 0.0, **more: float) -> dict[str, object]:
    return {"rounds": rounds(4.0, then), "samples": samples, "margin": margin, **more}


@pytest.fixture
def study(tmp_path) -> Study:
    arms = ("judge", "one-point-off-n2", "one-point-off-n8", "one-point-off-n8-margin2")
    found = study_of(tmp_path / "study", arms, 3, ())
    found.save()
    for seed in range(3):
        noise = 0.01 * seed
        found.keep(seed, "judge", outcome(4.05 + noise, 8))
        found.keep(seed, "one-point-off-n2", outcome(4.1 + noise, 2, ranker=0.85))
        found.keep(seed, "one-point-off-n8-margin2", outcome(4.2 + noise, 8, 2.0, ranker=0.85))
    found.keep(0, "one-point-off-n8", {"failure": "crashed"})
    found.keep(1, "one-point-off-n8", outcome(4.3, 8, ranker=0.87))
    return found


def test_a_place_is_the_gain_of_one_round_by_accuracy_and_n(study):
    by_arm = {one.arm: one for one in phase_map(study)}
    own = by_arm["judge"]
    assert by_arm["one-point-off-n2"].gain.by_seed == pytest.approx((0.1, 0.11, 0.12))
    assert (by_arm["one-point-off-n2"].accuracy, by_arm["one-point-off-n2"].samples) == (0.85, 2)
    assert by_arm["one-point-off-n8"].gain.p is None  # one seed
    assert (own.accuracy, own.samples) == (pytest.approx(0.7), 8)


def test_the_map_is_in_the_page_and_its_arms_are_not_beside_the_controls(study):
    table = map_table(phase_map(study))
    assert table.columns == ("Judge", "accuracy", "N = 2", "N = 8", "N = 8, margin 2")
    assert dict(table.rows)["one point off"][1].text == "+0.11*"
    assert dict(table.rows)["one point off"][3].text == "+0.21*"
    assert dict(table.rows)["own judge"][1].text == "–"
    page = page_of(study)
    assert "Phase map" in [one.title for one in page.tables]
    assert not [line for line in page.verdicts if "one-point" in line]
    assert any("crashed" in line for line in page.missing)
    assert "phase map" in page.figures[0].lower()


def test_n_and_margin_are_those_that_were_run_and_a_judge_without_a_score_has_no_place(tmp_path):
    found = study_of(tmp_path / "study", ("judge", "n4", "one-point-off-n2"), 1, ("responses.samples=4",))
    found.save()
    found.keep(0, "judge", outcome(4.1, 4, 1.5))
    found.keep(0, "n4", {"rounds": rounds(4.0, 4.1, None), "samples": 4, "margin": 0.0})
    found.keep(0, "one-point-off-n2", outcome(4.1, 2, ranker=0.85))
    by_arm = {one.arm: one for one in phase_map(found)}
    assert (by_arm["judge"].samples, by_arm["judge"].margin) == (4, 1.5)
    assert by_arm["n4"].accuracy is None
    assert map_table([by_arm["n4"]]).rows[0][1][0].text == "–"
    assert "Phase map" in [one.title for one in page_of(found).tables]
