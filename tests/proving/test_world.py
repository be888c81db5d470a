"""The small world: what its programs say of answers, and what is drawn for a seed."""

import random
from collections import Counter

import pytest

from srlm.errors import ConfigError
from srlm.judging.reading import read_verdict
from srlm.judging.rubric import parse_rubric
from srlm.proving.language import (
    META_RUBRIC,
    OTHER_TASK,
    RUBRIC,
    TALK,
    WORDS,
    asked_to_judge,
    comparison,
    document,
    judgment,
    request,
)
from srlm.proving.tasks import TOP, draw_edit, draw_walk, parse, points
from srlm.proving.world import WorldSection, documents, tasks
from srlm.records import ask
from srlm.templates import fill

EDIT = "rev up sq bang a b c"
WALK = "walk A D dot AB CF BD AE BC"
FAMILIES = [draw_edit, draw_walk]


@pytest.mark.parametrize(
    ("prompt", "answer", "flags"),
    [
        (EDIT, "[ C B A ] !", "length content order case closing"),
        (EDIT, "[ c b a ] !", "length content order closing"),
        (EDIT, "[ A B C ] !", "length content case closing"),
        (EDIT, "[ C B B ] !", "length case closing"),
        (EDIT, "[ C B ] !", "case closing"),
        (EDIT, "[ C B A ] .", "length content order case"),
        (EDIT, "[ C B A ] ! ~", "length content order case"),
        (EDIT, "( C B A ) !", "length content order case"),
        (EDIT, "", ""),
        (WALK, "AB BD .", "start there joined goal closing"),
        (WALK, "AD .", "start joined goal closing"),
        (WALK, "BD .", "there joined goal closing"),
        (WALK, "AB .", "start there joined closing"),
        (WALK, "AB CF BD .", "start there goal closing"),
        (WALK, "AB BD !", "start there joined goal"),
        (WALK, ".", "closing"),
    ],
)
def test_an_answer_gets_a_point_for_each_requirement(prompt, answer, flags):
    names = "length content order case closing" if prompt == EDIT else "start there joined goal closing"
    met = [name for name, flag in zip(names.split(), parse(prompt).flags(answer), strict=True) if flag]
    assert " ".join(met) == flags
    assert points(prompt, answer) == len(flags.split())


@pytest.mark.parametrize("draw", FAMILIES)
def test_a_solution_meets_everything_and_a_prompt_says_all_of_its_task(draw):
    chance = random.Random(1)
    for _ in range(200):
        task = draw(chance)
        assert parse(task.prompt) == task
        assert points(task.prompt, task.solution()) == TOP
        assert set(f"{task.prompt} {task.solution()}".split()) <= set(WORDS)


@pytest.mark.parametrize("draw", FAMILIES)
@pytest.mark.parametrize("place", range(5))
def test_carelessness_about_a_requirement_costs_it_as_a_rule(draw, place):
    chance = random.Random(2)
    fails = tuple(number == place for number in range(5))
    missed = Counter()
    for _ in range(200):
        task = draw(chance)
        answer = task.attempt(chance, fails)
        assert set(answer.split()) <= set(WORDS)
        missed[task.flags(answer)[place]] += 1
    assert missed[False] > 100


@pytest.mark.parametrize(
    "prompt", ["", "walk A D dot", "walk A D dot BC", "rev up sq bang", "sing up sq bang a", "x"]
)
def test_a_foreign_prompt_is_named(prompt):
    with pytest.raises(ValueError, match="no task of the proving ground"):
        points(prompt, "[ A ] !")


def test_documents_follow_from_the_seed_and_hold_answers_and_reviews():
    world = WorldSection(documents=400)
    first = list(documents(world, 3))
    assert first == list(documents(world, 3))
    assert first != list(documents(world, 4))
    assert sum("judge" in text for text in first) == 200
    assert set(" ".join(first).replace("\n", " ").split()) <= set(WORDS)


def test_faults_slips_and_carelessness_are_shares():
    perfect = WorldSection(documents=200, faults=0, careless=0, slips=0, silent=0)
    for text in documents(perfect, 0):
        prompt, answer = text.removeprefix("<|user|> ").removesuffix(" <|end|>").split(" <|bot|> ")
        if prompt.startswith("judge"):
            assert answer == "yes yes yes yes yes\nScore: 5"
        else:
            assert points(prompt, answer) == TOP
    wrong = "".join(documents(WorldSection(documents=200, slips=0.5), 0))
    assert 0.3 < wrong.count(" no") / (wrong.count(" no") + wrong.count("yes")) < 0.6


def test_tasks_for_a_purpose_differ_from_each_other_and_from_others():
    world = WorldSection()
    some, others = tasks(world, 50, "this", 0), tasks(world, 50, "that", 0)
    assert some == tasks(world, 50, "this", 0)
    assert len({task.prompt for task in some}) == 50
    assert {task.prompt for task in some} != {task.prompt for task in others}
    avoided = [task.prompt for task in some[:10]]
    assert not {task.prompt for task in tasks(world, 50, "this", 0, avoid=avoided)} & set(avoided)


def test_a_review_is_what_the_judge_is_asked_and_would_say():
    rubric = parse_rubric("world", RUBRIC)
    (turn,) = rubric.conversation(EDIT, "[ C B A ] !")
    assert asked_to_judge(EDIT, "[ C B A ] !") == turn.content
    assert judgment("yes yes yes yes yes", 5) == rubric.target("yes yes yes yes yes", 5)
    assert read_verdict("yes no yes yes yes \n Score: 4", "stop", rubric).score == 4


def test_two_reviews_are_compared_as_meta_rewarding_asks():
    rubric = parse_rubric("world", META_RUBRIC)
    asked, one, two = asked_to_judge(EDIT, "[ C B A ] !"), judgment("yes no", 1), judgment("", 5)
    (turn,) = rubric.comparison(asked, one, two)
    assert comparison(asked, one, two, "yes yes", "B") == document(turn.content, "yes yes\nBetter: B")
    assert read_verdict("yes yes \n Better: B", "stop", rubric).verdict == "B"
    (turn,) = ask(fill(OTHER_TASK.rstrip("\n"), task=WALK))
    assert request(WALK, EDIT) == document(turn.content, EDIT)


def test_a_world_that_talks_compares_reviews_and_asks_for_other_tasks():
    world = WorldSection(documents=400, talk=0.5, slips=0, careless=0)
    found = list(documents(world, 3))
    assert set(" ".join(found).replace("\n", " ").split()) <= {*WORDS, *TALK}
    compared = [text for text in found if "compare" in text]
    asked = [text for text in found if "another" in text]
    assert len(compared) > 70
    assert len(asked) > 70
    assert all(text.endswith("Better: tie <|end|>") for text in compared)  # nobody errs here
    sloppy = "".join(documents(WorldSection(documents=400, talk=0.5, slips=0.3), 3))
    assert min(sloppy.count(f"Better: {verdict} <|end|>") for verdict in ("A", "B", "tie")) > 10


@pytest.mark.parametrize("draw", FAMILIES)
def test_a_right_answer_to_another_task_is_mostly_wrong(draw):
    chance = random.Random(5)
    wrong = 0
    for _ in range(100):
        task = draw(chance)
        other = task.another(chance)
        assert other != task
        assert parse(other.prompt) == other
        wrong += points(task.prompt, other.solution()) < TOP
    assert wrong > 90


def test_a_rich_graph_may_have_every_edge_and_a_poor_world_says_so():
    assert len(list(documents(WorldSection(documents=2000, astray=12), 0))) == 2000
    with pytest.raises(ConfigError, match=r"5,000 different tasks(.|\n)*none was new(.|\n)*world.astray"):
        tasks(WorldSection(astray=0), 5000, "poor", 0)
