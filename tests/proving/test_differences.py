"""Differences over seeds: numbers by hand, Holm's correction, and what a study says in words."""

import json
from pathlib import Path

import pytest

from srlm.errors import ConfigError
from srlm.evaluation.differences import Difference, corrected
from srlm.proving import study as study_module
from srlm.proving.arms import ARMS, CONTROLS, DEFAULT, find
from srlm.proving.comparing import beside_controls, since_m1
from srlm.proving.ground import GroundSection
from srlm.proving.page import missing, page_of, write_page
from srlm.proving.study import Study, study_of
from srlm.recipes import load


def rounds(*sampled: float, judge: float = 0.7) -> list[dict]:
    names = ("greedy", "greedy_right", "sampled_right", "pass_8", "tokens", "ended")
    return [
        {"model": f"M{place}", "sampled": value, "judge": judge + 0.01 * place} | dict.fromkeys(names, 0.5)
        for place, value in enumerate(sampled, 1)
    ]


OUTCOMES = {
    "judge": {seed: rounds(3.0, 3.1 + 0.1 * seed) for seed in range(4)},
    "random": {seed: rounds(3.0, 3.0) for seed in range(4)},
    "oracle": {seed: rounds(3.0, 4.0 + 0.01 * seed) for seed in range(3)},
}


def test_a_difference_is_paired_by_seed_with_a_t_interval():
    """Differences .1 .2 .3 .4: mean .25, sd .1291, standard error .0645, t(3, .975) = 3.182, so ± .2054."""
    (judge, oracle) = beside_controls(OUTCOMES, ("random", "consensus"), "sampled")
    assert (judge.arm, judge.other) == ("judge", "random")
    assert judge.by_seed == pytest.approx((0.1, 0.2, 0.3, 0.4))
    assert (judge.mean, judge.low, judge.high) == pytest.approx((0.25, 0.0446, 0.4554), abs=1e-4)
    assert oracle.by_seed == pytest.approx((1.0, 1.01, 1.02))


def test_p_allows_for_the_number_of_comparisons():
    """Two tests: the smaller p counts twice, the larger as it is (Holm): .0305 for t(3) = 3.873."""
    judge, oracle = beside_controls(OUTCOMES, ("random",), "sampled")
    assert judge.p == pytest.approx(0.0305, abs=2e-4)
    assert not judge.is_sure
    assert oracle.p < 0.001
    assert oracle.is_sure
    one, two, three = corrected([Difference("a", "b", "c", (), p=p) for p in (0.01, 0.04, 0.03)])
    assert (one.p, three.p, two.p) == pytest.approx((0.03, 0.06, 0.06))


def test_one_seed_or_equal_ones_have_no_interval():
    (one,) = beside_controls(
        {"judge": {0: rounds(3, 4)}, "random": {0: rounds(3, 3)}}, ("random",), "sampled"
    )
    assert (one.mean, one.low, one.p, one.is_sure) == (1.0, None, None, False)
    judge = next(one for one in since_m1(OUTCOMES, "judge") if one.arm == "judge")
    assert judge.mean == pytest.approx(0.01)
    assert judge.p is None or judge.p < 0.05  # equal to the last bit, or nearly


# --- A study ---


@pytest.fixture
def study(tmp_path) -> Study:
    made = Study(tmp_path, ("judge", "random", "oracle"), (0, 1, 2, 3), GroundSection(), ())
    made.save()
    for arm, seeds in OUTCOMES.items():
        for seed, found in seeds.items():
            made.keep(seed, arm, {"verdict": "", "rounds": found})
    return made


def test_the_page_says_what_is_shown_and_what_is_not(study):
    page = page_of(study)
    said = "\n".join(page.verdicts)
    assert "oracle: beats random, +1.01" in said
    assert "judge: no difference to random shown, +0.25 [+0.04, +0.46]" in said
    assert page.missing == ["oracle, seed 3: not done yet."]
    markdown, html = write_page(page, study.folder)
    assert "| oracle – random | +1.010" in markdown.read_text("utf-8")
    text = html.read_text("utf-8")
    assert text.count("<svg") == 4
    assert "beats random" in text


def test_failures_are_counted_and_never_dropped(study):
    study.keep(3, "oracle", {"failure": "its process ended with status -9: <b>killed</b>"})
    for arm in study.arms:
        study.keep(2, arm, {"failure": "M0 failed to pretrain: coverage 3%", "ground": True})
    said = missing(study)
    assert "oracle, seed 3: its process ended with status -9: <b>killed</b>" in said
    assert "Seed 2 is in no figure: M0 failed to pretrain: coverage 3%." in said
    assert "&lt;b&gt;killed" in write_page(page_of(study), study.folder)[1].read_text("utf-8")


def test_a_study_goes_on_only_in_its_own_world(study, tmp_path, monkeypatch):
    again = study_of(tmp_path, ("judge",), 2, ())
    again.save()
    assert Study.read(tmp_path).seeds == (0, 1)
    with pytest.raises(ConfigError, match="begun with another ground"):
        study_of(tmp_path, ("judge",), 2, ("world.slips=0.3",)).save()
    with pytest.raises(ConfigError, match="begun with another overrides"):
        study_of(tmp_path, ("judge",), 2, ("dpo.beta=0.3",)).save()
    monkeypatch.setattr(study_module, "__version__", "0.0.1")
    with pytest.raises(ConfigError, match="begun with another version"):
        again.save()


def test_words_belong_to_the_world_or_to_the_recipe(tmp_path):
    found = study_of(tmp_path, (), 1, ("world.faults=0.1", "sizes.test=9", "dpo.beta=0.5", "prompts.count=7"))
    assert (found.ground.world.faults, found.ground.sizes.test) == (0.1, 9)
    assert found.overrides == ("dpo.beta=0.5", "prompts.count=7")
    with pytest.raises(ConfigError, match=r"2 mistakes(.|\n)*world.fault: (.|\n)*sizes.test"):
        study_of(tmp_path, (), 1, ("world.fault=0.1", "sizes.test=0"))


def test_every_arm_is_a_valid_config_and_an_unknown_one_is_named():
    plain = load("proving-ground").config
    for name, arm in ARMS.items():
        config = load("proving-ground", arm.on(Path("ground"))).config
        assert (config == plain) == (name == "judge"), name
    assert set(CONTROLS) <= set(DEFAULT) <= set(ARMS)
    assert list(find(())) == list(DEFAULT)
    with pytest.raises(ConfigError, match="arm 'orcale'"):
        find(("orcale",))


def test_a_study_is_plain_json(study):
    assert json.loads((study.folder / "study.json").read_text())["arms"] == ["judge", "random", "oracle"]
