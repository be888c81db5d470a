"""Other labels for the seed answers, and judges of any accuracy."""

import json
from collections import Counter

from srlm.judging.checkers import load_checker
from srlm.proving.arms import ARMS, GROUPS, MAP, find
from srlm.proving.labels import biased, dealt_anew, without_remarks
from srlm.proving.noise import DIAL, accuracy, noisy
from srlm.proving.tasks import TOP, parse, points
from srlm.proving.world import WorldSection, careless_answer, tasks

RIGHT, FAULTY, RAMBLING = "AB BD .", "AB CF BD .", "AB CF BD . ~ ~ ~ ~ ~ ~"
PROMPT = "walk A D dot AB CF BD AE BC"


def line(*texts, split="train", prompt=PROMPT):
    answers = [{"text": text, "score": int(points(prompt, text)), "justification": "told"} for text in texts]
    return {"prompt": prompt, "answers": answers, "split": split}


def drawn(count=200, split="heldout"):
    import random

    world, chance = WorldSection(), random.Random(5)
    found = []
    for task in tasks(world, count, "test"):
        texts = dict.fromkeys(careless_answer(world, task, chance) for _ in range(6))
        found.append(line(*[text for text in texts if text.strip()], split=split, prompt=task.prompt))
    return found


def test_labels_dealt_anew_are_the_same_labels_on_other_answers():
    lines = drawn(split="train")
    dealt = dealt_anew([*lines, line(RIGHT, FAULTY, split="heldout")], seed=1)

    def labels(found):
        return [(answer["score"], answer["text"]) for one in found for answer in one["answers"]]

    assert Counter(score for score, _ in labels(dealt[:-1])) == Counter(score for score, _ in labels(lines))
    moved = [now != before for now, before in zip(labels(dealt[:-1]), labels(lines), strict=True)]
    assert sum(moved) > len(moved) / 4
    assert dealt[-1] == line(RIGHT, FAULTY, split="heldout")
    assert dealt == dealt_anew([*lines, dealt[-1]], seed=1) != dealt_anew([*lines, dealt[-1]], seed=2)


def test_who_likes_length_prefers_rambling_to_the_right_answer():
    found = {one["text"]: one for one in biased(line(RIGHT, FAULTY, RAMBLING))["answers"]}
    assert found[RIGHT]["score"] == 3
    assert found[RAMBLING]["score"] == TOP > found[RIGHT]["score"]
    for one in found.values():
        assert one["justification"].split().count("yes") == one["score"]
        assert len(one["justification"].split()) == TOP
    assert biased(line(RIGHT, RAMBLING, split="heldout")) == line(RIGHT, RAMBLING, split="heldout")


def test_scores_may_stand_without_remarks():
    assert {answer["justification"] for answer in without_remarks(line(RIGHT, FAULTY))["answers"]} == {""}


def test_noise_stays_with_an_answer_and_grows_less_accurate(tmp_path):
    path = tmp_path / "ranked.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in drawn()))
    found = [accuracy(load_checker(f"srlm.proving.noise:{dial}"), path) for dial in DIAL]
    assert found == sorted(found, reverse=True)
    assert found[0] > 0.9
    assert 0.5 < found[-1] < 0.65
    assert accuracy(points, path) == 1.0
    assert accuracy(lambda prompt, response: 1.0, path) == 0.5
    assert noisy(1.0, PROMPT, RIGHT) == noisy(1.0, PROMPT, f" {RIGHT} ") != noisy(1.0, PROMPT, FAULTY) + 1
    assert parse(PROMPT).solution() == RIGHT


def test_a_group_names_its_arms():
    assert list(find(("map",))) == list(MAP)
    assert set(GROUPS["all"]) | set(MAP) | set(GROUPS["talk"]) == set(ARMS)
    assert not any(ARMS[arm].talks for arm in GROUPS["all"])
    assert list(find(("oracle", "map", "oracle")))[:2] == ["oracle", next(iter(MAP))]
