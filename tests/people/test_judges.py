"""Judges of a run beside people: whose word is found where, and how far each agrees, counted by hand."""

import json

import pytest

from srlm.people.asking import BOTH_BAD, CANNOT_JUDGE, CHOICES, Answer, Item, Vote
from srlm.people.judges import judge_figures, judge_verdicts
from srlm.records import Comparison, Judgment

FIRST, _, TIE, _, SECOND = CHOICES
MODELS = ("M3", "M1")


def answer(model, n, text=""):
    return Answer(model, f"{model}-{n}", text or f"{model} says {n}")


def pair(n, models=MODELS, texts=("", ""), check=""):
    answers = tuple(answer(model, n, text) for model, text in zip(models, texts, strict=True))
    return Item(f"p{n}", f"Prompt {n}?", answers, check)


def write(path, records):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(item.model_dump_json() + "\n" for item in records))


def scores(folder, step, model, *given):
    """The score of the model's answer to each prompt."""
    words = [
        Judgment(
            id=f"j{n}",
            response_id=f"{model}-{n}",
            prompt_id=f"p{n}",
            rubric="r@1",
            scoring="sampled",
            score=score,
            variance=None,
            scores=(score,),
            reasons=(None,),
            replies=("",),
            finishes=("stop",),
            num_tokens=1,
            flagged=False,
        )
        for n, score in enumerate(given)
    ]
    write(folder / f"{model}/{step}.jsonl", words)


def word(first, second, verdict):
    ids = {"id": f"{first} {second}", "prompt_id": "p", "first_id": first, "second_id": second}
    return Comparison(
        **ids, rubric="r@1", verdict=verdict, reason=None if verdict else "no verdict", reply=""
    )


def config(folder, **sections):
    (folder / "config.json").write_text(json.dumps({"config": sections, "origins": {}}))


@pytest.fixture
def run(tmp_path):
    """Four prompts: M3 praises itself on all; M1 prefers M3, nothing, M1, and cannot be read on the last."""
    scores(tmp_path, "watch/own", "M3", 5.0, 5.0, 5.0, 5.0)
    scores(tmp_path, "watch/own", "M1", 3.0, 3.0, 4.0, 1.0)
    scores(tmp_path, "watch/frozen", "M3", 4.0, 3.0, 2.0, None)
    return tmp_path


def test_own_is_each_models_word_on_itself_and_frozen_is_m1s_on_both(run):
    items = [pair(n) for n in range(4)]
    found = judge_verdicts(run, items)
    assert list(found) == ["own", "frozen"]
    assert list(found["own"].prefers.values()) == ["win"] * 4
    assert found["frozen"].prefers == {items[0].id: "win", items[1].id: "tie", items[2].id: "loss"}
    assert found["frozen"].scores[items[2].id] == (2.0, 4.0)
    assert found["frozen"].lacking == {items[3].id: "no readable score of an answer of M3"}


def test_where_the_config_names_a_judge_m1s_word_on_itself_is_not_its_own(run):
    config(run, judge={"judge": "gpt"})
    assert "M1/watch/frozen.jsonl is not there" in next(
        iter(judge_verdicts(run, [pair(0)])["frozen"].lacking.values())
    )
    scores(run, "watch/frozen", "M1", 1.0)
    found = judge_verdicts(run, [pair(0)])
    assert found["frozen"].scores == {pair(0).id: (4.0, 1.0)}
    assert found["own"].who == "gpt, the judge of every round"


def test_agreement_is_of_decided_prompts_and_a_judges_tie_is_a_half(run):
    items = [pair(n) for n in range(4)]
    votes = [Vote(items[n].id, 1, choice) for n, choice in enumerate((FIRST, FIRST, TIE, SECOND))]
    found = judge_figures(items, votes, judge_verdicts(run, items))["M3 against M1"]
    own, frozen = found["own"], found["frozen"]
    assert (own["num"], own["agreement"]["num"]) == (4, 3)
    assert own["agreement"]["value"] == pytest.approx(2 / 3)
    assert own["win_rate"]["value"] == 1
    assert own["kappa"] == pytest.approx(0)  # it always says the same
    assert (frozen["num"], frozen["agreement"]["num"]) == (3, 2)
    assert frozen["agreement"]["value"] == pytest.approx((1 + 0.5) / 2)
    assert frozen["kappa"] == pytest.approx(
        (1 / 3 - 2 / 9 - 1 / 9) / (1 - 2 / 9 - 1 / 9)
    )  # win: 2·1, tie: 1·1
    assert frozen["lacking"] == {"no readable score of an answer of M3": 1}
    assert own["lacking"] == {}
    json.dumps(found)


def test_a_judges_own_taste_for_length_is_measured_on_the_same_prompts(run):
    texts = [("long answer", "short"), ("a", "longer"), ("aa", "bb"), ("much longer", "b")]
    items = [pair(n, texts=two) for n, two in enumerate(texts)]
    votes = [Vote(item.id, 1, FIRST) for item in items[:3]]
    found = judge_figures(items, votes, judge_verdicts(run, items))["M3 against M1"]
    assert found["own"]["length"]["longer"]["value"] == pytest.approx(0.5)  # of the first two
    assert found["own"]["length"]["equal"] == 1
    assert (
        found["frozen"]["length"]["longer"]["value"] == 1
    )  # the tie and the answers of one length have no part


def test_checks_and_what_people_did_not_judge_have_no_part(run):
    items = [pair(0), pair(1), pair(2, check="bad"), pair(3)]
    votes = [
        Vote(item.id, 1, choice) for item, choice in zip(items, (FIRST, CANNOT_JUDGE, FIRST), strict=False)
    ]
    found = judge_figures(items, votes, judge_verdicts(run, items))
    assert found["M3 against M1"]["own"]["num"] == 1
    assert found["M3 against M1"]["frozen"]["lacking"] == {}


def test_answers_that_were_not_judged_have_a_reason_and_no_figure(run):
    other = Item("file", "From a file?", (Answer("M3", "new", "x"), Answer("M1", "new too", "y")))
    before = pair(0, ("M3", "SFT"))
    votes = [Vote(item.id, 1, FIRST) for item in (other, before)]
    found = judge_figures([other, before], votes, judge_verdicts(run, [other, before]))
    for judge in ("own", "frozen"):
        assert found["M3 against M1"][judge]["agreement"]["value"] is None
        assert found["M3 against M1"][judge]["kappa"] is None
        assert found["M3 against M1"][judge]["num"] == 0
        assert found["M3 against M1"][judge]["lacking"] == {
            "an answer of M3 that was not judged in the run": 1
        }
    assert found["M3 against SFT"]["own"]["lacking"] == {
        "answers of SFT: SFT/watch/own.jsonl is not there": 1
    }


def test_a_run_of_which_nothing_is_there_has_no_words(tmp_path):
    found = judge_verdicts(tmp_path / "nowhere", [pair(0)])
    assert [judge.prefers for judge in found.values()] == [{}, {}]
    assert all(judge.lacking for judge in found.values())


def test_of_a_file_that_is_being_written_the_whole_lines_count(run):
    path = run / "M3/watch/own.jsonl"
    path.write_bytes(path.read_bytes()[:-30])
    items = [pair(n) for n in range(4)]
    assert len(judge_verdicts(run, items)["own"].prefers) == 3


@pytest.mark.parametrize("late", MODELS)
def test_a_suite_compares_in_both_orders_whoever_came_later(run, late):
    early = next(name for name in MODELS if name != late)
    config(
        run,
        evaluation={
            "judge": {"model": "gpt"},
            "suites": [{"suite": "ifeval"}, {"suite": "head_to_head", "name": "duel"}],
        },
    )
    both = [("first", "second"), ("second", "first"), ("first", "first"), (None, "first")]
    said = [
        item
        for n, (verdict, turned) in enumerate(both)
        for item in (word(f"M3-{n}", f"M1-{n}", verdict), word(f"M1-{n}", f"M3-{n}", turned))
    ]
    write(run / f"{late}/evaluation/duel/comparisons_{early}.jsonl", said)
    items = [*(pair(n) for n in range(5)), pair(5, texts=("same", "same"))]
    judge = judge_verdicts(run, items)["duel"]
    assert judge.who == "gpt, in duel"
    assert list(judge.prefers.values()) == ["win", "loss", "tie", "tie"]  # orders disagree; equal texts
    assert list(judge.lacking.values()) == ["no readable verdict", "answers that were not compared in duel"]


def test_a_suite_that_grades_prefers_the_higher_grade(run):
    config(run, evaluation={"suites": [{"suite": "head_to_head", "name": ""}]})
    scores(run, "evaluation/head_to_head/judgments", "M3", 2.0)
    scores(run, "evaluation/head_to_head/judgments", "M1", 4.0)
    assert judge_verdicts(run, [pair(0)])["head_to_head"].prefers == {pair(0).id: "loss"}


def test_a_suite_that_was_not_run_says_so(run):
    config(run, evaluation={"suites": [{"suite": "head_to_head"}]})
    assert list(judge_verdicts(run, [pair(0)])["head_to_head"].lacking.values()) == [
        "M3 and M1 were not compared in head_to_head"
    ]


def test_grades_are_ranked_against_scores_model_by_model(run):
    items = [Item(f"p{n}", "?", (answer(model, n),)) for model in MODELS for n in range(4)]
    grades = {"M3": "4310", "M1": "2352"}
    votes = [
        Vote(item.id, 1, grade) for item, grade in zip(items, [*grades["M3"], *grades["M1"]], strict=True)
    ]
    found = judge_figures(items, votes, judge_verdicts(run, items))
    frozen = found["M3"]["frozen"]
    assert (frozen["num"], frozen["spearman"]["value"]) == (3, pytest.approx(1))  # 4, 3, 1 and 4, 3, 2
    assert frozen["lacking"] == {"no readable score of an answer of M3": 1}
    assert found["M3"]["own"]["spearman"]["value"] is None  # all fives
    assert found["M1"]["own"] == {**found["M1"]["frozen"], "who": "each answer by its own model"}
    assert "agreement" not in frozen


def test_both_bad_is_a_tie_of_people(run):
    items = [pair(0)]
    found = judge_figures(items, [Vote(items[0].id, 1, BOTH_BAD)], judge_verdicts(run, items))
    assert found["M3 against M1"]["own"]["num"] == 1
    assert found["M3 against M1"]["own"]["agreement"]["num"] == 0
