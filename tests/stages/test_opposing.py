"""Pairs of responses that different models wrote, or a person and a model."""

import pytest

from srlm.config import PairsSection
from srlm.judging.checkers import load_checker
from srlm.records import Example, Judgment, Prompt, Response, content_id
from srlm.stages.opposing import Side, oppose, oppose_seed


def said(who, prompts, *scores):
    """Responses to each prompt, and judgments with these scores, None for one without."""
    responses, judgments = [], []
    for text in prompts:
        for draw, score in enumerate(scores):
            item = Response.given(
                content_id(who, text, draw), Prompt.of(text, (), 0), f"{who} {draw}", draw=draw
            )
            responses.append(item)
            judgments.append(
                Judgment(
                    id=item.id,
                    response_id=item.id,
                    prompt_id=item.prompt_id,
                    rubric="r@0",
                    scoring="sampled",
                    score=score,
                    variance=None,
                    scores=(),
                    reasons=(),
                    replies=(),
                    finishes=(),
                    num_tokens=1,
                    flagged=False,
                )
            )
    return responses, judgments


def block_of(section, better, worse):
    (block,) = oppose(section, Side(*better), Side(*worse))
    return block


def test_the_best_of_one_side_stands_against_the_worst_of_the_other():
    block = block_of(PairsSection(), said("ahead", "pq", 3, 5, 4), said("m1", "pq", 2, None, 1))
    assert [(pair.chosen, pair.rejected) for pair in block.records] == [("ahead 1", "m1 2")] * 2
    assert [pair.prompt for pair in block.records] == ["p", "q"]
    assert block.counts == {"pair": 2}


def test_a_side_that_is_not_better_makes_no_pair():
    block = block_of(PairsSection(), said("ahead", "p", 1, 2), said("m1", "p", 2, 3))
    assert (block.records, block.counts) == ([], {"no pair: tie": 1})
    block = block_of(PairsSection(), said("ahead", "p", 1, 2), said("m1", "p", None))
    assert block.counts == {"no pair: unscored": 1}
    block = block_of(PairsSection(), said("ahead", "p", 5), said("m1", "q", 1))
    assert block.counts == {"no pair: unscored": 1}


def test_spin_sets_the_seeds_answer_against_a_sample():
    responses, _ = said("m1", ["p", "q"], 0, 0)
    answers = [Example(id="1", kind="ift", prompt="p", response="right"),
               Example(id="2", kind="ift", prompt="q", response="m1 0")]  # fmt: skip
    (block,) = oppose_seed(PairsSection(), answers, responses)
    assert [(pair.chosen, pair.rejected, pair.chosen_finish) for pair in block.records] == [
        ("right", "m1 0", "stop")
    ]
    assert block.counts == {"pair": 1, "no pair: identical": 1}


@pytest.mark.parametrize(
    "keys", [{"per_prompt": 2}, {"length_control": 0.2}, {"labels": "spa"}, {"rank_by": "implicit"}]
)
def test_what_only_a_rounds_own_responses_have_is_refused(keys):
    with pytest.raises(ValueError, match=r"opponents=temporal|opponents=own"):
        PairsSection(opponents="temporal", **keys)


def by_name(prompt, response):
    """More points for texts that end in a higher digit, but never from M1."""
    return -1.0 if "m1" in response else float(response[-1])


def test_a_program_may_rank_both_sides():
    section = PairsSection(rank_by="checker", checker=f"{__name__}:by_name")
    sides = Side(*said("ahead", "p", 5, 4, 3)), Side(*said("m1", "p", 9, 8))
    (by_program,) = oppose(section, *sides, load_checker(section.checker))
    (pair,) = by_program.records
    assert (pair.chosen_score, pair.rejected_score) == (2.0, -1.0)  # of the judge the first is best
