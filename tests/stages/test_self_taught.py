"""Judgments that are known to be right: a response against the model's answer to another task."""

from srlm.config import JudgeTrainingSection, ResponsesSection
from srlm.engines.scripted import ScriptedEngine
from srlm.judging.rubric import grading_rubric
from srlm.records import Judgment, Prompt, Response, content_id
from srlm.stages import records_of
from srlm.stages.self_taught import answers_to_others, right_judgments
from srlm.store.blocks import Resume
from srlm.templates import template

SECTION, ANSWERING = JudgeTrainingSection(block=2), ResponsesSection()
REQUEST = template("other_task")


class Prompts(list):
    digest = "prompts"


def prompts(*texts):
    return Prompts(Prompt.of(text, (), 0) for text in texts)


def script(request, draw):
    text = request.conversation[0].content
    if request.purpose == "prompt":
        return "Name a fish." if "colour" in text else "Name a river." if "town" in text else "Sing a song."
    return f"answer to: {text}"


def judgment(item, *scores):
    known = [score for score in scores if score is not None]
    return Judgment(
        id=content_id("said of", item.id, scores),
        response_id=item.id,
        prompt_id=item.prompt_id,
        rubric="r@0",
        scoring="sampled",
        score=sum(known) / len(known) if known else None,
        variance=None,
        scores=scores,
        reasons=tuple(None for _ in scores),
        finishes=tuple("stop" for _ in scores),
        num_tokens=1,
        flagged=False,
        replies=tuple(f"draw {draw}\nScore: {score}" for draw, score in enumerate(scores)),
    )


def test_a_worse_answer_is_the_answer_to_another_task():
    asked = prompts("Name a colour.", "Name a town.", "Sing a song.")
    blocks = list(answers_to_others(SECTION, ScriptedEngine(script), REQUEST, ANSWERING, asked))
    found = [(item.prompt, item.text) for block in blocks for item in block.records]
    assert found == [
        ("Name a colour.", "answer to: Name a fish."),
        ("Name a town.", "answer to: Name a river."),
    ]
    assert blocks[1].counts == {"no other task": 1}  # it wrote the same
    (again,) = answers_to_others(
        SECTION, ScriptedEngine(script), REQUEST, ANSWERING, asked, resume=Resume(1, blocks[0].records)
    )
    assert again.records == blocks[1].records


def test_judgments_that_order_the_two_rightly_are_learned_from():
    (prompt,) = prompts("Name a colour.")
    best, other, worse = (
        Response.given(content_id(name), prompt, name, draw=draw)
        for draw, name in enumerate(("best", "other", "worse"))
    )
    rubric = grading_rubric("additive")
    said = [judgment(other, 1, 1, 1), judgment(best, 2, 5, 4), judgment(best, None)]
    found = right_judgments(rubric, [best, other], said[:2], [worse], [judgment(worse, 3, 2, 1)])
    assert [(item.prompt, item.response) for item in found] == [
        (rubric.conversation("Name a colour.", "best")[0].content, "draw 1\nScore: 5"),
        (rubric.conversation("Name a colour.", "worse")[0].content, "draw 1\nScore: 2"),
    ]
    assert {item.kind for item in found} == {"eft"}


def test_a_judge_that_is_fooled_or_unreadable_teaches_nothing():
    (prompt,) = prompts("Name a colour.")
    best = Response.given("1", prompt, "best")
    worse = Response.given("2", prompt, "worse")
    rubric = grading_rubric("additive")
    for ours, theirs in (((3, 3), (3, 4)), ((None, 5), (0, None))):
        assert (
            right_judgments(rubric, [best], [judgment(best, *ours)], [worse], [judgment(worse, *theirs)])
            == []
        )
    assert right_judgments(rubric, [best], [judgment(best, 5)], [], []) == []
    assert records_of(answers_to_others(SECTION, ScriptedEngine(script), REQUEST, ANSWERING, prompts())) == []
