"""The truth about the pairs of an arm."""

import json

from srlm.proving.language import asked_to_judge
from srlm.proving.measuring import alarms, of_judge_pairs, of_pairs
from srlm.records import Pair, Prompt, Response, content_id

WALK = "walk A D dot AB CF BD AE BC"
NO_WAY = "walk A D dot AB CF"


def pair(prompt: str, chosen: str, rejected: str) -> Pair:
    asked = Prompt.of(prompt, (), 0)
    sides = [Response.given(content_id(prompt, text), asked, text) for text in (chosen, rejected)]
    return Pair.of(*sides, (4.0, 2.0))


def keep(folder, pairs, name="pairs") -> None:
    (folder / "M2").mkdir()
    (folder / f"M2/{name}.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in pairs))
    counts = {"pair": len(pairs), "no pair: tie": 1}
    (folder / "M2/pairs.step.json").write_text(json.dumps({"counts": counts}))


def test_pairs_have_points_an_order_and_ties(tmp_path):
    keep(tmp_path, [pair(WALK, "AB BD .", "AB ."), pair(WALK, "AB .", "AB BD .")])
    found = of_pairs(tmp_path, "M2")
    assert (found["chosen"], found["rejected"], found["chosen_right"]) == (4.5, 4.5, 0.5)
    assert (found["pair_right"], found["longer"], found["no_task"]) == (0.5, 0, 0)
    assert found["ties"] == 0.5
    assert of_pairs(tmp_path, "M1") == {}


def test_a_prompt_that_the_model_wrote_and_that_is_no_task_is_counted_and_has_no_truth(tmp_path):
    keep(tmp_path, [pair(WALK, "AB BD .", "AB ."), pair(NO_WAY, "AB .", ".")])
    found = of_pairs(tmp_path, "M2")
    assert (found["pairs"], found["no_task"], found["chosen"], found["pair_right"]) == (2, 0.5, 5, 1)


def test_pairs_without_any_task_have_no_truth(tmp_path):
    keep(tmp_path, [pair(NO_WAY, "AB .", ".")])
    found = of_pairs(tmp_path, "M2")
    assert (found["no_task"], found["chosen"], found["pair_right"]) == (1, None, None)


def test_a_judge_pair_is_right_where_chosen_is_nearer_the_truth(tmp_path):
    asked = asked_to_judge(WALK, "AB .")  # 4 points
    said = [("yes \n Score: 3 .", "yes \n Score: 0"), ("Score: 5", "Score: 4"), ("Score: 5", "Score: 3")]
    keep(tmp_path, [pair(asked, *texts) for texts in said], "judge_pairs")
    found = of_judge_pairs(tmp_path, "M2")
    assert found == {"judge_pairs": 3, "judge_pair_right": 0.5}
    assert of_judge_pairs(tmp_path, "M3") == {}


def test_a_judge_pair_without_a_truth_is_counted_alone(tmp_path):
    no_task, no_score = asked_to_judge(NO_WAY, "AB ."), asked_to_judge(WALK, "AB .")
    unknown = [
        pair(no_task, "Score: 3", "Score: 0"),
        pair(no_score, "yes", "no"),
        pair(WALK, "Score: 3", "Score: 0"),
    ]
    keep(tmp_path, unknown, "judge_pairs")
    assert of_judge_pairs(tmp_path, "M2") == {"judge_pairs": 3, "judge_pair_right": None}


def test_two_pairs_of_a_prompt_are_one_prompt(tmp_path):
    keep(tmp_path, [pair(WALK, "AB BD .", "AB ."), pair(WALK, "AB BD .", ".")])
    assert of_pairs(tmp_path, "M2")["ties"] == 0.5


def test_what_alarmed_is_there_of_rounds_without_a_model_too(tmp_path):
    for name, alarm in (("M1", None), ("M2", "all replies are unreadable")):
        (tmp_path / name).mkdir()
        signals = [{"name": "unreadable replies", "alarm": alarm}, {"name": "ties", "alarm": None}]
        (tmp_path / name / "monitors.json").write_text(json.dumps({"signals": signals}))
    assert alarms(tmp_path) == {"M1": [], "M2": ["unreadable replies"]}
