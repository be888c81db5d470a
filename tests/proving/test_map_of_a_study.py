"""The phase map of a study: gains by accuracy and N, corrected, as a table and in the page."""

import pytest

from srlm.proving.mapping import map_table, phase_map, samples_of
from srlm.proving.page import page_of
from srlm.proving.study import Study, study_of


def rounds(first: float, then: float, judge: float = 0.7) -> list[dict[str, object]]:
    keys = ("greedy", "greedy_right", "sampled_right", "pass_8", "tokens", "ended")
    return [
        {"model": name, "sampled": sampled, "judge": judge, **dict.fromkeys(keys, 1.0)}
        for name, sampled in (("M1", first), ("M2", then))
    ]


@pytest.fixture
def study(tmp_path) -> Study:
    arms = ("judge", "one-point-off-n2", "one-point-off-n8", "one-point-off-n8-margin2")
    found = study_of(tmp_path / "study", arms, 3, ())
    found.save()
    for seed in range(3):
        noise = 0.01 * seed
        found.keep(seed, "judge", {"rounds": rounds(4.0, 4.05 + noise)})
        found.keep(seed, "one-point-off-n2", {"rounds": rounds(4.0, 4.1 + noise), "ranker": 0.85})
        found.keep(seed, "one-point-off-n8-margin2", {"rounds": rounds(4.0, 4.2 + noise), "ranker": 0.85})
    found.keep(0, "one-point-off-n8", {"failure": "crashed"})
    found.keep(1, "one-point-off-n8", {"rounds": rounds(4.0, 4.3), "ranker": 0.87})
    return found


def test_a_place_is_the_gain_of_one_round_by_accuracy_and_n(study):
    by_arm = {one.arm: one for one in phase_map(study)}
    own = by_arm["judge"]
    assert by_arm["one-point-off-n2"].gain.by_seed == pytest.approx((0.1, 0.11, 0.12))
    assert (by_arm["one-point-off-n2"].accuracy, by_arm["one-point-off-n2"].samples) == (0.85, 2)
    assert by_arm["one-point-off-n8"].gain.p is None  # one seed
    assert (own.accuracy, own.samples) == (pytest.approx(0.7), 8)
    assert samples_of("n4") == 4


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
