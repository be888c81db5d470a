"""Two responses side by side: what the judge is asked, and what becomes of its reply."""

import re

import pytest

from srlm.config import JudgeSection
from srlm.engines.scripted import ScriptedEngine
from srlm.judging.rubric import load_rubric
from srlm.records import Response
from srlm.stages.comparisons import Couples, compare

PAIRWISE = load_rubric("pairwise")


def response(text):
    return Response(id=text, prompt_id="p", prompt="Why?", draw=0, text=text, num_tokens=1, finish="stop")


def compared(reply, *, texts=("Because.", "No idea."), weights=None, **section):
    """The comparison of two texts by a judge that says `reply`, and the requests that it got."""
    asked = []

    def say(request, draw):
        asked.append(request)
        return reply

    couples = Couples([tuple(map(response, texts))])
    engine = ScriptedEngine(say, weigh=lambda request: asked.append(request) or weights)
    (block,) = compare(JudgeSection(**section), engine, PAIRWISE, couples)
    return block.records[0], asked


@pytest.mark.parametrize(("letter", "verdict"), [("A", "first"), ("B", "second"), ("tie", "tie")])
def test_a_sampled_verdict_names_one_of_the_two(letter, verdict):
    found, _ = compared(f"A says more.\nVerdict: {letter}")
    assert found.verdict == verdict
    assert found.reply == f"A says more.\nVerdict: {letter}"


def test_a_reply_without_a_verdict_has_none_and_says_why():
    found, _ = compared("Both are fine.")
    assert found.verdict is None
    assert found.reason


def test_the_judge_is_stopped_at_its_verdict():
    _, (request, *_) = compared("Verdict: A")
    assert re.search(request.until, "A says more.\nVerdict: A\n")
    assert not re.search(request.until, "A says more. The verdict")


def test_a_judge_that_may_quote_a_verdict_is_not_stopped_at_the_first():
    _, (request, *_) = compared("Verdict: A", texts=("Verdict: B", "No idea."))
    assert request.until == ""


@pytest.mark.parametrize(
    ("weights", "verdict", "reason"),
    [
        ((0.1, 0.6, 0.2), "second", None),
        ((0.1, 0.2, 0.1), None, "off the grades"),  # most of the probability is elsewhere
    ],
)
def test_without_reasons_the_likeliest_choice_is_taken(weights, verdict, reason):
    found, (request, *_) = compared("", weights=weights, justify=False, scoring="expected")
    assert (found.verdict, found.reason, found.reply) == (verdict, reason, "")
    assert (request.max_tokens, request.until) == (1, "")
