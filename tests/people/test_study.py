"""What a study of a run asks about, and what it refuses."""

import pytest

from people.made_runs import made_run, plain_run
from srlm.errors import ConfigError, DataError, RunError
from srlm.people.study import default_models, open_study, studies
from srlm.store.run import Quiet


def opened(folder, name="votes", **wanted):
    return open_study(folder, name, {"kind": "comparison"} | wanted, Quiet())


def test_every_model_is_compared_with_the_first_one(tmp_path):
    box = opened(plain_run(tmp_path, prompts=4), models=("M1", "M2", "M3"))
    assert [item.models for item in box.items] == [("M2", "M1")] * 4 + [("M3", "M1")] * 4
    assert all(
        one.text.endswith(f"(2.{place})")
        for place, item in enumerate(box.items[4:])
        for one in item.answers[:1]
    )
    assert studies(tmp_path) == [box.path]


def test_by_default_the_last_model_stands_beside_the_baseline_of_the_paper(tmp_path):
    run = plain_run(tmp_path / "a", models=[f"M{n}" for n in range(11)])
    assert default_models(run) == ("M1", "M10")
    assert default_models(plain_run(tmp_path / "b", models=("SFT", "M1", "M2"))) == ("SFT", "M2")


def test_prompts_are_spread_over_all_of_them_up_to_the_limit(tmp_path):
    box = opened(plain_run(tmp_path, prompts=20), models=("M1", "M2"), limit=5)
    assert [item.prompt.split()[1] for item in box.items] == ["0:", "4:", "8:", "12:", "16:"]


def test_in_rating_mode_every_answer_stands_alone_below_the_criteria(tmp_path):
    box = opened(plain_run(tmp_path, prompts=3), "ratings", kind="rating", models=("M1", "M2"))
    assert [item.models for item in box.items] == [("M1",)] * 3 + [("M2",)] * 3
    assert "five points" in box.study.criteria
    assert "<" not in box.study.criteria


def test_attention_checks_are_equal_answers_and_answers_to_another_prompt(tmp_path):
    box = opened(plain_run(tmp_path, prompts=12), models=("M1", "M2"), checks=2)
    same = [item for item in box.items if item.check == "same"]
    bad = [item for item in box.items if item.check == "bad"]
    assert len(same) == len(bad) == 2
    assert all(item.answers[0] == item.answers[1] for item in same)
    texts = {(text.split()[-1], item.prompt) for item in box.items for text in [item.answers[0].text]}
    for item in bad:
        own, stray = (answer.text.rpartition(".")[2][:-1] for answer in item.answers)
        assert item.prompt.startswith(f"Question {own}:")
        assert own != stray
        assert len(set(item.models)) == 1
    assert texts


def test_a_check_tells_nothing_about_other_ballots(tmp_path):
    """Its prompt stands in no other ballot, and its answer is any model's."""
    plain_run(tmp_path, prompts=60)
    box = opened(tmp_path, models=("M1", "M2", "M3"), checks=9, limit=30)
    prompts = [item.prompt_id for item in box.items if item.check]
    others = {item.prompt_id for item in box.items if not item.check}
    assert len(prompts) == len(set(prompts)) == 18
    assert not set(prompts) & others
    assert len(others) == 30  # checks took prompts beyond the limit
    assert {item.models[0] for item in box.items if item.check} == {"M1", "M2", "M3"}


def test_checks_of_grades_are_answers_to_another_prompt(tmp_path):
    box = opened(plain_run(tmp_path), "ratings", kind="rating", models=("M1",), checks=3)
    checks = [item for item in box.items if item.check]
    assert [item.check for item in checks] == ["bad"] * 3
    assert not [one for one in checks if f"0.{one.prompt.split()[1][:-1]})" in one.answers[0].text]
    assert len(box.items) == 20


@pytest.mark.parametrize("texts", [["same"] * 9, [""] * 9, ["a", *[""] * 8]])
def test_no_check_is_made_that_nobody_could_pass(tmp_path, texts):
    made_run(tmp_path, {"M1": texts, "M2": texts})
    with pytest.raises(ConfigError, match="a check takes a prompt of its own"):
        opened(tmp_path, models=("M1", "M2"), checks=1)
    assert not (tmp_path / "human/votes.sqlite").exists()


def test_a_study_goes_on_as_it_was_and_refuses_other_questions(tmp_path):
    run = plain_run(tmp_path)
    before = opened(run, models=("M1", "M3"), limit=7)
    before.cast(1, before.items[0], "tie")
    before.close()
    again = opened(run)
    assert again.items == before.items
    assert len(again.votes()) == 1
    with pytest.raises(ConfigError, match=r"(?s)models=M1,M3.*--study") as error:
        opened(run, models=("M1", "M2"))
    assert len(str(error.value).splitlines()) == 3
    with pytest.raises(ConfigError, match="kind=comparison"):
        opened(run, kind="rating")


def test_a_redone_run_does_not_change_what_was_voted_on(tmp_path):
    before = opened(plain_run(tmp_path), models=("M1", "M3"))
    made_run(tmp_path, {"M1": ["other"] * 20, "M3": ["words"] * 20})
    assert opened(tmp_path).items == before.items


def test_models_without_answers_are_named_with_those_that_have_some(tmp_path):
    with pytest.raises(RunError, match=r"(?s)answers of M4, M5 .*there are of M1, M2, M3"):
        opened(plain_run(tmp_path), models=("M1", "M4", "M5"))
    empty = made_run(tmp_path / "empty", {})
    with pytest.raises(RunError, match="no model of the run has any"):
        opened(empty)
    assert not (empty / "human").exists()


def test_models_that_answered_different_prompts_are_not_compared(tmp_path):
    made_run(tmp_path, {"M1": ["a", "b"]}, ["one", "two"])
    made_run(tmp_path, {"M2": ["a", "b"]}, ["one", "three"])
    with pytest.raises(DataError, match="2 prompts have the answer of one model only"):
        opened(tmp_path, models=("M1", "M2"))
    assert not (tmp_path / "human/votes.sqlite").exists()


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"models": ("M1",)}, "needs two models"),
        ({"models": ("M1", "M1")}, "twice"),
        ({"models": ("M1", "../run/M3")}, "is no name of a run's model"),
        ({"models": ("M1", "")}, "is no name of a run's model"),
        ({"name": "../votes"}, "name of a file"),
        ({"name": "Browser"}, "which is the run browser's"),
        ({"name": "v" * 200}, "at most 60 letters"),
        ({"name": "browser"}, "which is the run browser's"),
    ],
)
def test_what_cannot_be_asked_is_refused(tmp_path, wanted, words):
    with pytest.raises(ConfigError, match=words):
        opened(plain_run(tmp_path), **wanted)


def test_checks_of_grades_stand_models_that_lack_an_answer_or_have_another_order(tmp_path):
    """A check asks about the prompt that its answer was drawn for, wherever that stands in a file."""
    prompts = [f"Question {n}?" for n in range(8)]
    made_run(tmp_path, {"M1": [f"one {n}" for n in range(8)]}, prompts)
    made_run(tmp_path, {"M2": [f"two {n}" for n in range(7, 2, -1)]}, prompts[:2:-1])
    box = opened(tmp_path, "ratings", kind="rating", models=("M1", "M2"), checks=4)
    checks = [item for item in box.items if item.check]
    assert len({item.prompt_id for item in checks}) == 4
    assert not [one for one in checks if one.answers[0].text.split()[1] == one.prompt.split()[1][:-1]]


def test_checks_leave_something_to_ask_about(tmp_path):
    with pytest.raises(ConfigError, match="0 would be left"):
        opened(plain_run(tmp_path, prompts=2), models=("M1", "M2"), checks=1)


def test_no_run_is_no_study(tmp_path):
    with pytest.raises(RunError, match="no run in this folder"):
        opened(tmp_path / "nowhere")
