import pytest

from srlm.evaluation.heldout import answer_shape, judge_quality
from srlm.judging.eft import as_responses
from srlm.records import Judgment, Response
from srlm.seeds import RankedAnswer, RankedPrompt

LINE = RankedPrompt(
    prompt="What is rain?",
    answers=(
        RankedAnswer(text="Water that falls from clouds.", score=5),
        RankedAnswer(text="Water, and a great deal more that nobody asked for.", score=3),
        RankedAnswer(text="No.", score=0),
    ),
)


def judged(scores):
    return [
        Judgment(
            id=str(n),
            response_id=response.id,
            prompt_id=response.prompt_id,
            score=score,
            scores=(score,),
            reasons=(None if score is not None else "no score",),
            replies=("",),
            num_tokens=1,
            flagged=False,
        )
        for n, (response, score) in enumerate(zip(as_responses([LINE]), scores, strict=True))
    ]


@pytest.mark.parametrize(
    ("scores", "counts", "accuracy"),
    [
        ([5, 3, 0], (3, 0, 0, 0), 1.0),
        ([0, 3, 5], (0, 0, 3, 0), 0.0),
        ([4, 4, 4], (0, 3, 0, 0), 0.5),
        ([5, 5, 0], (2, 1, 0, 0), 2.5 / 3),
        ([None, 3, 0], (1, 0, 0, 2), 1.0),
        ([None, None, None], (0, 0, 0, 3), None),
    ],
)
def test_pairwise_accuracy_by_hand(scores, counts, accuracy):
    found = judge_quality(judged(scores), [LINE])
    assert tuple(found[name] for name in ("right", "tied", "wrong", "unscored")) == counts
    assert found["accuracy"] == (None if accuracy is None else pytest.approx(accuracy))
    assert found["pairs"] == 3


def test_the_line_to_beat_is_the_longer_answer():
    # Longer wins: 5 against 3 wrong, 5 against 0 right, 3 against 0 right.
    assert judge_quality(judged([1, 1, 1]), [LINE])["longer_wins"] == pytest.approx(2 / 3)


def test_equal_human_scores_make_no_pair():
    line = LINE.model_copy(update={"answers": tuple(a.model_copy(update={"score": 3}) for a in LINE.answers)})
    assert judge_quality([], [line])["pairs"] == 0


def test_unreadable_replies_are_a_rate_of_their_own():
    found = judge_quality(judged([5, None, 0]), [LINE])
    assert found["unreadable"] == pytest.approx(1 / 3)
    assert found["mean_score"] == 2.5


def test_shape_of_answers():
    def answer(text, finish):
        return Response(id="a", prompt_id="p", prompt="q", draw=0, text=text, num_tokens=4, finish=finish)

    found = answer_shape([answer("four", "stop"), answer("eightish", "length")])
    assert found == {"num": 2, "tokens": 4, "characters": 6, "ended": 0.5}
    assert answer_shape([])["ended"] is None
