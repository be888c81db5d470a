from collections import Counter

import pytest

from srlm.config import EftSection
from srlm.judging.eft import agreed, agrees, as_responses, cap_commonest, eft_examples
from srlm.judging.rubric import load_rubric
from srlm.records import Judgment
from srlm.seeds import RankedAnswer, RankedPrompt

ADDITIVE = load_rubric("additive")


def ranked(number, ranks=(0, 1, 2)):
    answers = [RankedAnswer(text=f"Answer {n} to {number}.", rank=rank) for n, rank in enumerate(ranks)]
    return RankedPrompt(prompt=f"Question {number}?", answers=tuple(answers))


def judged(line, *draws):
    """One judgment an answer; a draw gives the scores of all answers."""
    return [
        Judgment(
            id=response.id,
            response_id=response.id,
            prompt_id=response.prompt_id,
            rubric=ADDITIVE.version,
            scoring="sampled",
            score=None,
            variance=None,
            scores=tuple(draw[place] for draw in draws),
            reasons=(None,) * len(draws),
            replies=tuple(f"Reason {n}.\nScore: {draw[place]}" for n, draw in enumerate(draws)),
            finishes=("stop",) * len(draws),
            num_tokens=1,
            flagged=False,
        )
        for place, response in enumerate(as_responses([line]))
    ]


@pytest.mark.parametrize(
    ("places", "scores", "drop", "keep"),
    [
        ((0, 1, 2), (5, 4, 1), True, True),
        ((0, 1, 2), (5, 5, 1), False, True),
        ((0, 1, 2), (4, 5, 1), False, False),
        ((0, 0, 1), (3, 5, 1), True, True),  # people's ties may come in any order
        ((0, 0, 1), (1, 5, 1), False, True),
        ((2, 0, 1), (1, 5, 3), True, True),
    ],
)
def test_agreement_with_the_peoples_order(places, scores, drop, keep):
    assert agrees(places, scores, "drop") == drop
    assert agrees(places, scores, "keep") == keep


def test_the_first_draw_that_agrees_is_kept_with_its_reasons():
    lines = [ranked(0), ranked(1), ranked(2), ranked(3)]
    judgments = [
        *judged(lines[0], (1, 2, 3), (5, 3, 0), (5, 4, 3)),
        *judged(lines[1], (1, 2, 3), (3, 3, 3), (0, 0, 5)),
        *judged(lines[2], (5, None, 1), (None, 2, 1), (None, None, None)),
    ]
    found, counts = agreed(EftSection(max_share=1), ADDITIVE, lines, judgments, seed=0)
    assert [line.prompt for line in found] == ["Question 0?"]
    assert [(a.score, a.justification, a.labelled_by) for a in found[0].answers] == [
        (5, "Reason 1.", "agreement"),
        (3, "Reason 1.", "agreement"),
        (0, "Reason 1.", "agreement"),
    ]
    assert counts == {
        "prompts": 4,
        "kept": 1,
        "dropped: order": 1,
        "dropped: unreadable": 2,  # one with holes in every draw, one that was never judged
        "score 5 before the cap": 1,
        "score 3 before the cap": 1,
        "score 0 before the cap": 1,
        "score 5 after the cap": 1,
        "score 3 after the cap": 1,
        "score 0 after the cap": 1,
    }


def test_prompts_whose_answers_people_placed_alike_teach_no_order():
    line = ranked(0, ranks=(0, 0, 0))
    found, counts = agreed(EftSection(), ADDITIVE, [line], judged(line, (0, 5, 3)), seed=0)
    assert (found, counts) == ([], {"prompts": 1, "dropped: people placed all alike": 1})


def test_the_commonest_score_is_capped_at_its_share_of_what_is_left():
    """Thirty prompts of 4, 1: 30 of each; with ten more of 4, 2 there are 40 fours, 30 ones, 10 twos.

    A share of 0.4 allows 0.4 / 0.6 * 40 = 26 fours, and 26 / 66 = 0.394.
    """
    lines = [
        RankedPrompt(
            prompt=f"Question {n}?",
            answers=(
                RankedAnswer(text="Good.", score=4, rank=0),
                RankedAnswer(text="Bad.", score=1 if n < 30 else 2, rank=1),
            ),
        )
        for n in range(40)
    ]
    capped = cap_commonest(lines, 0.4, seed=0)
    scores = Counter(answer.score for line in capped for answer in line.answers)
    assert scores == {4: 26, None: 14, 1: 30, 2: 10}
    assert [line.places for line in capped] == [line.places for line in lines]  # the order is still known
    assert cap_commonest(lines, 0.4, seed=0) == capped
    assert cap_commonest(lines, 0.4, seed=1) != capped
    assert cap_commonest(lines[::-1], 0.4, seed=0) == capped[::-1]  # by content, not by position
    assert len(eft_examples(capped, ADDITIVE)) == 66
    assert cap_commonest(lines, 1.0, seed=0) == lines
    assert cap_commonest([], 0.4, seed=0) == []
