"""How far pairs are believed: CREAM, SCIR and SPA by the models' own probabilities, ScPO by the votes."""

import pytest

from srlm.config import Config, PairsSection
from srlm.records import Judgment, Likelihood, Pair, Response, content_id
from srlm.stages.belief import consistency, earlier_reward, implicit_reward
from srlm.stages.pairs import make_pairs, trained_again


def likelihood(response: Response, *nats: float) -> Likelihood:
    return Likelihood(
        id=response.id, response_id=response.id, prompt_id=response.prompt_id, nats=nats, num_tokens=4
    )


def responses(prompts: int, texts: tuple[str, ...]) -> list[Response]:
    return [
        Response(
            id=content_id(number, draw), prompt_id=str(number), prompt=f"prompt {number}", draw=draw,
            text=text, num_tokens=4, finish="stop",
        )
        for number in range(prompts)
        for draw, text in enumerate(texts)
    ]  # fmt: skip


def judged(items: list[Response], scores: dict[str, float]) -> list[Judgment]:
    return [
        Judgment(
            id=item.id, response_id=item.id, prompt_id=item.prompt_id, rubric="r@0", scoring="sampled",
            score=scores[item.text], variance=None, scores=(), reasons=(), replies=(), finishes=(),
            num_tokens=1, flagged=False,
        )
        for item in items
    ]  # fmt: skip


def pairs_and_counts(section, items, said=(), likelihoods=()):
    blocks = list(make_pairs(section, items, said, likelihoods))
    return [pair for block in blocks for pair in block.records], blocks[0].counts


def test_an_implicit_reward_is_how_much_likelier_than_m0_a_response_is():
    (item,) = responses(1, ("a",))
    said = likelihood(item, -3.0, -5.0, -9.0)
    assert (implicit_reward(said), earlier_reward(said)) == (6.0, 4.0)
    assert earlier_reward(likelihood(item, -3.0, -8.0)) == -2.0  # before M1 there is M0 alone: nats a token


def test_consistency_is_the_mean_of_kendalls_tau_from_0_to_1():
    one = responses(1, ("a", "b", "c"))
    same = [likelihood(item, now, now, 0.0) for item, now in zip(one, (-1.0, -2.0, -3.0), strict=True)]
    turned = [likelihood(item, now, -now, 0.0) for item, now in zip(one, (-1.0, -2.0, -3.0), strict=True)]
    alike = [likelihood(item, -1.0, -1.0, 0.0) for item in one]
    assert consistency([same]) == 1.0
    assert consistency([turned]) == 0.0
    assert consistency([same, turned, same, alike]) == pytest.approx(2 / 3)
    assert consistency([alike]) == 1.0


def test_cream_ranks_by_the_implicit_reward_and_believes_as_far_as_both_models_agree():
    items = responses(2, ("a", "b"))
    # On prompt 0 both models prefer b, on prompt 1 this one a and the one before b.
    nats = [(-5.0, -5.0, -4.0), (-1.0, -2.0, -4.0), (-1.0, -5.0, -4.0), (-5.0, -1.0, -4.0)]
    said = [likelihood(item, *each) for item, each in zip(items, nats, strict=True)]
    pairs, _ = pairs_and_counts(PairsSection(rank_by="implicit", labels="cream"), items, (), said)
    assert [(pair.chosen, pair.rejected) for pair in pairs] == [("b", "a"), ("a", "b")]
    assert {pair.label for pair in pairs} == {0.5}


def test_scir_keeps_the_pairs_on_which_judge_and_implicit_reward_agree():
    items = responses(2, ("a", "b"))
    rewards = (-1.0, -3.0, -3.0, -1.0)
    said = [likelihood(item, now, -2.0) for item, now in zip(items, rewards, strict=True)]
    section = PairsSection(labels="scir")
    pairs, counts = pairs_and_counts(section, items, judged(items, {"a": 5, "b": 1}), said)
    assert [(pair.prompt_id, pair.chosen) for pair in pairs] == [("0", "a")]
    assert counts == {"pair": 1, "no pair: the implicit reward disagrees": 1}
    _, counts = pairs_and_counts(section, items, judged(items, {"a": 5, "b": 1}), said[:2])
    assert counts == {"pair": 1, "no pair: no likelihood": 1}


def test_spa_smooths_the_tenth_whose_implicit_rewards_are_nearest():
    items = responses(20, ("a", "b"))
    said = [
        likelihood(item, float(place) if item.text == "a" else 0.0, 0.0)
        for place, item in enumerate(items, 1)
    ]
    pairs, _ = pairs_and_counts(PairsSection(rank_by="implicit", labels="spa"), items, (), said)
    assert len(pairs) == 20
    assert [pair.prompt_id for pair in pairs if pair.label == 0.9] == ["0", "1"]
    assert {pair.label for pair in pairs} == {0.9, 1.0}


def test_a_scpo_pair_weighs_as_much_as_its_votes_are_apart():
    items = responses(1, ("a", "a", "a", "b"))
    (pair,), _ = pairs_and_counts(
        PairsSection(rank_by="consensus", weights="votes"), items, judged(items, {"a": 1, "b": 1})
    )
    assert (pair.chosen, pair.weight) == ("a", 0.5)


def test_earlier_pairs_are_trained_on_again_all_some_or_none():
    items = responses(200, ("a", "b"))
    pairs, _ = pairs_and_counts(PairsSection(), items, judged(items, {"a": 5, "b": 1}))
    assert trained_again(PairsSection(), pairs, seed=0) == []
    assert trained_again(PairsSection(earlier=1), pairs, seed=0) == pairs
    some = trained_again(PairsSection(earlier=0.3), pairs, seed=0)
    assert 40 < len(some) < 80
    assert trained_again(PairsSection(earlier=0.3), pairs[::-1], seed=0) == some[::-1]


@pytest.mark.parametrize(
    ("keys", "why"),
    [
        ({"pairs": {"weights": "votes"}}, "needs rank_by=consensus"),
        ({"pairs": {"rank_by": "implicit", "labels": "scir"}}, "rank_by another"),
        ({"pairs": {"labels": "cream"}, "engine": {"kind": "scripted"}}, "does not say"),
        ({"judge_training": {"methods": ["meta"]}, "judge": {"samples": 1}}, "judge.samples=2"),
        ({"judge_training": {"methods": ["replay"]}, "eft": {"teach": False}}, "has none"),
        ({"dpo": {"loss": "sft", "nll": 1}}, "leave out nll"),
        ({"dpo": {"loss": "sft", "excess_weight": 0.5}}, "excess_weight"),
        ({"judge_training": {"methods": ["meta"]}, "judge": {"judge": "M1"}}, "judges in its place"),
        ({"dpo": {"loss": "sft"}, "pairs": {"labels": "spa"}}, "no rejected to doubt"),
        ({"judge_training": {"methods": ["replay"]}, "dpo": {"batch_size": 4}}, "not one lesson a batch"),
        (
            {
                "judge_training": {"methods": ["self_taught"]},
                "judge": {"scoring": "expected", "justify": False},
            },
            "what the judge wrote",
        ),
        ({"pairs": {"opponents": "spin", "min_margin": 1}}, "knows no min_margin"),
        ({"pairs": {"opponents": "spin"}, "prompts": {"method": "synthesis"}}, "takes the seed's prompts"),
    ],
)
def test_rules_that_cannot_go_together_are_refused_with_what_could(keys, why):
    with pytest.raises(ValueError, match=why):
        Config.model_validate(keys)


def test_a_pair_of_before_these_fields_can_be_read():
    old = (
        '{"id":"1","prompt_id":"0","prompt":"p","chosen_id":"c","rejected_id":"r","chosen":"a","rejected":"b",'
        '"chosen_score":1,"rejected_score":0,"chosen_finish":"stop","rejected_finish":"stop"}'
    )
    pair = Pair.model_validate_json(old)
    assert (pair.label, pair.weight, pair.about) == (1.0, 1.0, "answers")
