"""Which pairs come of scores: the paper's rule, every other, and the controls that rank without a judge."""

import pytest

from srlm.config import PairsSection
from srlm.judging.checkers import load_checker
from srlm.records import Judgment, Pair, Response, content_id
from srlm.stages.pairs import make_pairs, pairs_of
from srlm.stages.ranking import Ranked, answer_of, rank


def response(text: str, draw: int = 0, prompt: str = "Name a colour.") -> Response:
    return Response(
        id=content_id(prompt, draw, text), prompt_id=content_id(prompt), prompt=prompt, draw=draw, text=text,
        num_tokens=3, finish="stop",
    )  # fmt: skip


def group_of(*texts: str) -> list[Response]:
    return [response(text, draw) for draw, text in enumerate(texts)]


def ranked(scores: list[float | None], variances: list[float | None] | None = None) -> list[Ranked]:
    """Four responses and a score for each that has one."""
    group = group_of(*(f"answer {number}" for number in range(len(scores))))
    spread = variances or [None] * len(scores)
    return [
        Ranked(item, score, variance)
        for item, score, variance in zip(group, scores, spread, strict=True)
        if score is not None
    ]


def judgment(item: Response, score: float | None, variance: float | None = None) -> Judgment:
    return Judgment(
        id=content_id("judgment", item.id), response_id=item.id, prompt_id=item.prompt_id, rubric="r@0",
        scoring="sampled", score=score, variance=variance, scores=(score,), reasons=(None,), replies=("",),
        finishes=("stop",), num_tokens=1, flagged=False,
    )  # fmt: skip


def only(section: PairsSection, items: list[Ranked], seed: int = 0) -> Pair | str:
    found = pairs_of(section, items, seed)
    return found if isinstance(found, str) else found[0]


def places(section: PairsSection, scores: list[float | None], **keys: object) -> tuple[int, int]:
    """Which of the responses are chosen and rejected."""
    items = ranked(scores, **keys)
    pair = only(section, items)
    ids = [item.response.id for item in items]
    return ids.index(pair.chosen_id), ids.index(pair.rejected_id)


def test_the_highest_stands_against_the_lowest():
    pair = only(PairsSection(), ranked([2.0, 4.0, None, 1.0]))
    assert (pair.chosen, pair.rejected) == ("answer 1", "answer 3")
    assert (pair.chosen_score, pair.rejected_score) == (4.0, 1.0)


def test_an_unreadable_score_never_wins_rejected():
    assert only(PairsSection(), ranked([3.0, 4.0, None, None])).rejected == "answer 0"


@pytest.mark.parametrize(
    ("scores", "reason"),
    [([3.0, 3.0, 3.0, 3.0], "tie"), ([3.0, None, None, None], "unscored"), ([None] * 4, "unscored")],
)
def test_no_pair_has_a_reason(scores, reason):
    assert only(PairsSection(), ranked(scores)) == reason


def test_identical_texts_and_small_margins_make_no_pair():
    same = [
        Ranked(item, score) for item, score in zip(group_of("the same ", "the same"), (4, 3), strict=True)
    ]
    assert only(PairsSection(), same) == "identical"
    assert only(PairsSection(min_margin=1.0), ranked([3.0, 4.0])) == "margin"


def test_length_control_takes_the_shortest_of_the_good_and_the_longest_of_the_bad():
    """Scores 0 to 4, rho 0.32: good from 4 - 1.28 = 2.72 on, bad up to 1.28."""
    group = group_of("a long answer " * 9, "short", "brief", "a long reply " * 9)
    items = [Ranked(item, score) for item, score in zip(group, (4.0, 3.0, 0.0, 1.0), strict=True)]
    plain, controlled = (only(PairsSection(length_control=rho), items) for rho in (0.0, 0.32))
    assert (plain.chosen_id, plain.rejected_id) == (group[0].id, group[2].id)
    assert (controlled.chosen_id, controlled.rejected_id) == (group[1].id, group[3].id)
    assert (controlled.chosen_score, controlled.rejected_score) == (3.0, 1.0)
    narrow = only(PairsSection(length_control=0.2), items)  # 3.2 and more, 0.8 and less
    assert (narrow.chosen_id, narrow.rejected_id) == (group[0].id, group[2].id)


def test_length_control_of_equal_scores_is_still_a_tie():
    assert only(PairsSection(length_control=0.4), ranked([3.0, 3.0, None, 3.0])) == "tie"


def test_several_pairs_go_down_the_ranks_and_stop_at_the_margin():
    """5 against 1, 4 against 2, and 3 against nobody."""
    items = ranked([1.0, 5.0, 3.0, 2.0, 4.0])
    found = pairs_of(PairsSection(per_prompt=4), items)
    assert [(pair.chosen_score, pair.rejected_score) for pair in found] == [(5, 1), (4, 2)]
    found = pairs_of(PairsSection(per_prompt=4, min_margin=2.0), items)
    assert [(pair.chosen_score, pair.rejected_score) for pair in found] == [(5, 1)]


def test_chosen_is_drawn_near_the_top_and_rejected_from_anywhere():
    near = {places(PairsSection(chosen_within=0.5), [4.0, 3.6, 3.4, 1.0])}
    near |= {
        (int(only(PairsSection(chosen_within=0.5), ranked([4.0, 3.6, 3.4, 1.0]), seed).chosen[-1]), 3)
        for seed in range(30)
    }
    assert near == {(0, 3), (1, 3)}
    worse = {
        only(PairsSection(rejected="random"), ranked([4.0, 3.6, 3.4, 1.0]), seed).rejected
        for seed in range(30)
    }
    assert worse == {"answer 1", "answer 2", "answer 3"}
    again = [only(PairsSection(rejected="random"), ranked([4.0, 3.6, 3.4, 1.0]), 7) for _ in range(2)]
    assert again[0] == again[1]


def test_among_equals_the_judge_may_be_asked_how_sure_it_is():
    scores, variances = [4.0, 4.0, 1.0, 1.0], [2.0, 0.5, None, 1.0]
    assert places(PairsSection(), scores, variances=variances) == (0, 2)
    assert places(PairsSection(ties="variance"), scores, variances=variances) == (1, 3)


def test_a_gap_may_have_to_exceed_what_the_judge_doubts():
    """Variances 1 and 3: standard deviation of the difference 2; the gap is 3."""
    items = ranked([4.0, 1.0], [1.0, 3.0])
    assert isinstance(only(PairsSection(min_deviations=1.4), items), Pair)
    assert only(PairsSection(min_deviations=1.5), items) == "margin"
    assert only(PairsSection(min_deviations=1.0), ranked([4.0, 1.0], [1.0, None])) == "unknown variance"


# --- Who ranks ---


def scored_by(
    section: PairsSection, group: list[Response], *scores: float | None, seed: int = 0
) -> list[Ranked]:
    said = {item.id: judgment(item, score) for item, score in zip(group, scores, strict=True)}
    return rank(section, group, said, seed)


def test_the_judges_scores_rank_and_what_has_none_is_left_out():
    group = group_of("a", "b", "c")
    found = scored_by(PairsSection(), group, 1.0, None, 3.0)
    assert [(item.response.text, item.score) for item in found] == [
        ("a", 1.0), ("c", 3.0)
    ]  # fmt: skip


def test_the_random_control_has_the_same_scores_on_other_answers():
    group = group_of(*"abcdefgh")
    scores = [float(number) for number in range(8)]
    section = PairsSection(rank_by="random")
    dealt = scored_by(section, group, *scores)
    assert sorted(item.score for item in dealt) == scores
    assert [item.score for item in dealt] != scores
    assert dealt == scored_by(section, group, *scores)
    firsts = [scored_by(section, group, *scores, seed=seed)[0].score for seed in range(200)]
    assert all(10 < firsts.count(score) < 45 for score in scores)  # 25 each


def test_a_vote_needs_no_judge_and_may_be_added_to_one():
    """Three of four say red: shares 3/4 and 1/4; with a judge 3 + ln 3 against 4 + ln 1."""
    group = group_of("red", "blue", " red", "red ")
    votes = rank(PairsSection(rank_by="consensus"), group, {}, 0)
    assert [item.score for item in votes] == [0.75, 0.25, 0.75, 0.75]
    both = scored_by(PairsSection(consensus=1.0), group, 3.0, 4.0, 3.0, 3.0)
    assert [item.score for item in both] == pytest.approx([4.0986, 4.0, 4.0986, 4.0986], abs=1e-4)


def test_the_same_answer_may_be_the_last_number():
    assert answer_of("It is 1,200.5, so 7 - 3 = 4.", "number") == "4"
    assert answer_of("No figure.", "number") == ""
    assert answer_of(" two  words\n", "text") == "two words"
    group = group_of("2 + 2 = 4", "I say 4", "it is 5")
    section = PairsSection(rank_by="consensus", same_answer="number")
    assert [item.score for item in rank(section, group, {}, 0)] == pytest.approx([2 / 3, 2 / 3, 1 / 3])


def length(prompt: str, text: str) -> float:
    return len(text)


def test_a_program_may_rank_where_it_knows_the_truth():
    section = PairsSection(rank_by="checker", checker=f"{__name__}:length")
    check = load_checker(section.checker)
    found = rank(section, group_of("a", "bbb"), {}, 0, check=check)
    assert [item.score for item in found] == [1.0, 3.0]
    with pytest.raises(ValueError, match="needs the program"):
        rank(section, group_of("a", "bbb"), {}, 0)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"rank_by": "checker"}, "need each other"),
        ({"checker": "a:b"}, "need each other"),
        ({"rank_by": "checker", "checker": "no colon"}, "pattern"),
        ({"rank_by": "random", "consensus": 1}, "uses none"),
        ({"rank_by": "consensus", "ties": "variance"}, "has none"),
        ({"length_control": 0.3, "chosen_within": 1}, "keep one"),
        ({"length_control": 0.3, "per_prompt": 2}, "keep one"),
        ({"per_prompt": 2, "rejected": "random"}, "keep one"),
    ],
)
def test_rules_that_do_not_go_together_are_refused(keys, words):
    with pytest.raises(ValueError, match=words):
        PairsSection(**keys)


def test_every_pair_of_a_prompt_is_counted():
    group = group_of("a", "b", "c", "d")
    said = [judgment(item, float(place)) for place, item in enumerate(group)]
    (block,) = make_pairs(PairsSection(per_prompt=2), group, said)
    assert block.counts == {"pair": 2}
    assert [(pair.chosen, pair.rejected) for pair in block.records] == [("d", "a"), ("c", "b")]
