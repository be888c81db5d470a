import pytest

from srlm.evaluation.heldout import answer_shape, judge_figures
from srlm.judging.eft import as_responses
from srlm.judging.rubric import load_rubric
from srlm.records import Judgment, Response
from srlm.seeds import RankedAnswer, RankedPrompt

ADDITIVE = load_rubric("additive")
LINE = RankedPrompt(
    prompt="What is rain?",
    answers=(
        RankedAnswer(text="Water that falls from clouds.", score=5),
        RankedAnswer(text="Water, and a great deal more that nobody asked for.", score=3),
        RankedAnswer(text="No.", score=0),
    ),
)


def judged(scores, **others):
    return [
        Judgment(
            id=str(n),
            response_id=response.id,
            prompt_id=response.prompt_id,
            rubric=ADDITIVE.version,
            scoring="sampled",
            score=score,
            variance=None,
            scores=(score,),
            reasons=(None if score is not None else "no score",),
            replies=("",),
            finishes=("stop",),
            num_tokens=1,
            flagged=False,
            **others,
        )
        for n, (response, score) in enumerate(zip(as_responses([LINE]), scores, strict=True))
    ]


@pytest.mark.parametrize(
    ("scores", "right", "accuracy"),
    [
        ([5, 3, 0], 3, 1.0),
        ([0, 3, 5], 0, 0.0),
        ([5, 5, 0], 2, 2.5 / 3),
        ([None, 3, 0], 1, 1.0),
        ([None, None, None], 0, None),
    ],
)
def test_scores_are_joined_with_the_peoples_order_by_id(scores, right, accuracy):
    found = judge_figures(judged(scores)[::-1], [LINE], ADDITIVE)  # the order of the file is no matter
    assert found["pairs"]["right"] == right
    value = found["pairwise"]["half"]["value"]
    assert value == (None if accuracy is None else pytest.approx(accuracy))


def test_ranks_come_before_scores():
    answers = [a.model_copy(update={"score": None, "rank": 2 - n}) for n, a in enumerate(LINE.answers)]
    line = LINE.model_copy(update={"answers": tuple(answers)})
    assert judge_figures(judged([0, 3, 5]), [line], ADDITIVE)["pairs"]["right"] == 3


def test_unreadable_draws_are_a_rate_of_their_own():
    found = judge_figures(judged([5, None, 0]), [LINE], ADDITIVE)
    assert found["unreadable"] == pytest.approx(1 / 3)
    assert found["reasons"] == {"no score": 1}
    assert found["mean_score"] == 2.5
    assert found["coverage"]["value"] == pytest.approx(2 / 3)


def test_probability_off_the_grades_is_reported():
    assert judge_figures(judged([5, 3, 0], outside=(0.25,)), [LINE], ADDITIVE)["outside"] == 0.25
    assert judge_figures(judged([5, 3, 0]), [LINE], ADDITIVE)["outside"] is None


def test_shape_of_answers():
    def answer(text, finish):
        return Response(id="a", prompt_id="p", prompt="q", draw=0, text=text, num_tokens=4, finish=finish)

    found = answer_shape([answer("four", "stop"), answer("eightish", "length")])
    assert found == {"num": 2, "tokens": 4, "characters": 6, "ended": 0.5}
    assert answer_shape([])["ended"] is None
