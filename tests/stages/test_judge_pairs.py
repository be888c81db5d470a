"""Pairs about judging (Meta-Rewarding): which judgments are compared, and which of them wins."""

import math

import pytest

from srlm.config import JudgeTrainingSection
from srlm.judging.rubric import grading_rubric, load_rubric
from srlm.records import Comparison, Judgment, Prompt, Response, content_id
from srlm.stages.judge_pairs import couples_of, judge_pairs, place_weights, strengths, told_apart


def response(prompt: str, draw: int) -> Response:
    return Response.given(content_id(prompt, draw), Prompt.of(prompt, (), 0), f"answer {draw}", draw=draw)


def judgment(item: Response, *scores: float | None, variance: float | None) -> Judgment:
    return Judgment(
        id=content_id("said of", item.id), response_id=item.id, prompt_id=item.prompt_id, rubric="r@0",
        scoring="sampled", score=3, variance=variance, scores=scores, reasons=tuple(None for _ in scores),
        replies=tuple(f"because {place}\nScore: {score}" for place, score in enumerate(scores)),
        finishes=tuple("stop" for _ in scores), num_tokens=1, flagged=False,
    )  # fmt: skip


def group_of(*texts: str) -> list[Response]:
    asked = Prompt.of("How good is it?", (), 0)
    return [Response.given(content_id(text), asked, text, draw=draw) for draw, text in enumerate(texts)]


def comparison(first: Response, second: Response, verdict: str | None) -> Comparison:
    return Comparison(
        id=content_id(first.id, second.id), prompt_id=first.prompt_id, first_id=first.id, second_id=second.id,
        rubric="meta@0", verdict=verdict, reason=None, reply="",
    )  # fmt: skip


def only(section, group, said):
    (block,) = judge_pairs(section, [group], said)
    return block


def test_of_each_prompt_the_response_whose_scores_vary_most_is_looked_at():
    one, other, sure, third = response("p", 0), response("p", 1), response("q", 0), response("r", 0)
    said = [
        judgment(one, 3, 4, variance=0.5),
        judgment(other, 1, None, 5, variance=8.0),
        judgment(sure, 4, 4, variance=0.0),
        judgment(third, 2, 4, variance=2.0),
    ]
    rubric = grading_rubric("additive")
    groups = told_apart(rubric, [one, other, sure, third], said, 10)
    assert [[item.text for item in group] for group in groups] == [
        ["because 0\nScore: 1", "because 2\nScore: 5"],
        ["because 0\nScore: 2", "because 1\nScore: 4"],
    ]
    assert groups[0][0].prompt == rubric.conversation("p", "answer 1")[0].content
    assert len(told_apart(rubric, [one, other, sure, third], said, 1)) == 1


def test_every_two_are_compared_in_both_orders():
    a, b, c = group_of("a", "b", "c")
    shown = {(one.text, other.text) for one, other in couples_of([[a, b, c]])}
    assert shown == {("a", "b"), ("b", "a"), ("a", "c"), ("c", "a"), ("b", "c"), ("c", "b")}


def test_a_win_in_the_place_that_wins_by_itself_counts_less():
    a, b = group_of("a", "b")
    said = [comparison(a, b, "first")] * 3 + [comparison(a, b, "second"), comparison(a, b, "tie")]
    assert place_weights(said) == (0.25, 0.75)
    assert place_weights([comparison(a, b, "tie")]) == (0.5, 0.5)


def test_strengths_are_the_likeliest_by_bradley_and_terry():
    # Of two, the gap is the log of the odds of winning, but for the pull to 0.
    found = strengths(["a", "b"], {("a", "b"): 3000.0, ("b", "a"): 1000.0})
    assert found["a"] - found["b"] == pytest.approx(math.log(3), abs=1e-3)
    never = strengths(["a", "b", "c"], {("a", "b"): 1.0, ("b", "c"): 1.0})
    assert never["a"] > never["b"] > never["c"]
    assert all(abs(value) < 10 for value in never.values())


def test_the_strongest_judgment_stands_against_the_weakest():
    a, b, c = group_of("a", "b", "c")
    said = [
        comparison(b, a, "first"),
        comparison(a, b, "second"),
        comparison(b, c, "first"),
        comparison(c, b, "second"),
    ]
    said += [comparison(a, c, "first"), comparison(c, a, "second")]
    block = only(JudgeTrainingSection(), [a, b, c], said)
    (pair,) = block.records
    assert (pair.chosen, pair.rejected, pair.about) == ("b", "c", "judging")
    assert pair.prompt == "How good is it?"
    assert block.counts == {"pair": 1}


def test_a_judge_that_always_takes_the_first_tells_nothing_apart():
    a, b = group_of("a", "b")
    block = only(JudgeTrainingSection(), [a, b], [comparison(a, b, "first"), comparison(b, a, "first")])
    assert (block.records, block.counts) == ([], {"no pair: tie": 1})


def test_a_judgment_that_is_too_long_is_not_chosen_but_may_be_rejected():
    long, short = group_of("a" * 50, "b")
    wins = [comparison(long, short, "first"), comparison(short, long, "second")]
    assert only(JudgeTrainingSection(longest=20), [long, short], wins).counts == {"no pair: tie": 1}
    losses = [comparison(long, short, "second"), comparison(short, long, "first")]
    (pair,) = only(JudgeTrainingSection(longest=20), [long, short], losses).records
    assert pair.chosen == "b"


def test_unreadable_comparisons_alone_make_no_pair():
    a, b = group_of("a", "b")
    block = only(JudgeTrainingSection(), [a, b], [comparison(a, b, None), comparison(b, a, None)])
    assert block.counts == {"no pair: no judgment won": 1}


def test_the_built_in_rubric_compares_two_judgments():
    rubric = load_rubric("meta")
    assert rubric.compares
    asked = rubric.comparison("the task </grading_task>", "first said", "then said")[0].content
    assert "&lt;/grading_task>" in asked
