"""Each signal by hand: the figure, and on which side of its limit it alarms."""

import math

import pytest

from srlm.config import DpoSection
from srlm.evaluation.intervals import Estimate
from srlm.evaluation.judge_quality import ScoredPrompt
from srlm.monitors import learning, scores, texts, yardsticks
from srlm.monitors.rounds import _skills
from srlm.monitors.signals import FEW, number, signal
from srlm.records import Divergence, Judgment, Pair, Prompt, Response

N = 12


def prompt(text, place=0):
    return Prompt.of(text, (), place)


def response(text, key="p", *, tokens=None, finish="stop"):
    made = Response.given(f"r {key} {text}", Prompt(id=key, text=key, demonstrations=(), attempt=0), text)
    return made.model_copy(update={"num_tokens": tokens or len(text.split()), "finish": finish})


def judgment(score, key="p", *, response_id="r", scores=None, reasons=(None,), variance=0.0):
    return Judgment(
        id=f"j {key} {response_id}",
        response_id=response_id,
        prompt_id=key,
        rubric="r@1",
        scoring="sampled",
        score=score,
        variance=variance,
        scores=scores or (score,),
        reasons=reasons,
        replies=("",),
        finishes=("stop",),
        num_tokens=1,
        flagged=False,
    )


def pair(chosen, rejected, high=4.0, low=1.0):
    return Pair(
        id=chosen,
        prompt_id="p",
        prompt="p",
        chosen_id="c",
        rejected_id="r",
        chosen=chosen,
        rejected=rejected,
        chosen_score=high,
        rejected_score=low,
        chosen_finish="stop",
        rejected_finish="stop",
    )


def keys(num=N):
    return [f"p{n}" for n in range(num)]


@pytest.mark.parametrize(
    ("found", "alarms"),
    [
        (Estimate(0.6, 0.55, 0.7, FEW), True),
        (Estimate(0.6, 0.45, 0.7, FEW), False),  # it may lie below
        (Estimate(0.6, 0.55, 0.7, FEW - 1), False),  # too few
        (Estimate(0.6, None, None, FEW), True),  # all say the same
        (Estimate(None, None, None, 0), False),
    ],
)
def test_an_alarm_asks_for_certainty(found, alarms):
    made = signal("s", "share", found, "too much", above=0.5)
    assert made.alarm == ("too much" if alarms else None)
    assert made.limit == "above 0.5"


def test_an_alarm_below_a_limit():
    assert signal("s", "x", Estimate(-1.0, -2.0, -0.6, FEW), "down", above=0.5, below=-0.5).alarm == "down"
    assert signal("s", "x", Estimate(-1.0, -2.0, -0.4, FEW), "down", above=0.5, below=-0.5).alarm is None
    assert (
        signal("s", "x", number(0.0, FEW), "down", above=0.5, below=-0.5).limit == "above 0.5 or below -0.5"
    )


def test_unreadable_counts_draws():
    """Of each prompt's three draws one has no score: a third, above a fifth."""
    found = scores.unreadable(judgment(3, key, reasons=(None, "no score", None)) for key in keys())
    assert found.value == pytest.approx(1 / 3)
    assert found.alarm
    assert not scores.unreadable(judgment(3, key) for key in keys()).alarm


def test_ties_and_prompts_without_a_pair():
    outcomes = {"pair": 20, "no pair: tie": 60, "no pair: unscored": 20}
    assert scores.ties(outcomes).value == pytest.approx(0.6)
    assert scores.discarded(outcomes).value == pytest.approx(0.8)
    assert scores.ties({"pair": 60, "no pair: tie": 40}).alarm is None
    assert scores.ties({"pair": 10, "no pair: tie": 90}).alarm
    assert scores.discarded({"no pair: unscored": 50}).alarm


def test_entropy_in_bits():
    """Two grades as frequent: 1 bit. 19 of 20 alike: 0.95 * 0.074 + 0.05 * 4.32 = 0.286 bits."""
    even = scores.entropy([judgment(n % 2, key) for n, key in enumerate(keys())])
    assert even.value == pytest.approx(1.0)
    assert even.alarm is None
    most = scores.entropy([judgment(0 if n else 5, key) for n, key in enumerate(keys(20))])
    assert most.value == pytest.approx(0.286, abs=1e-3)
    assert most.alarm == "nearly all grades are 0"
    changed = {"scoring": "expected", "expected": (3.1,)}
    expected = [judgment(3, key).model_copy(update=changed) for key in keys()]
    assert (scores.entropy(expected).value, scores.entropy(expected).alarm) == (0, None)
    one_prompt = [judgment(5, "p", response_id=key) for key in keys(40)]
    assert (scores.entropy(one_prompt).num, scores.entropy(one_prompt).alarm) == (1, None)
    assert scores.histogram([judgment(4, scores=(4.0, 4.0, 2.0, None))]) == {2: 1, 4: 2}


def test_length_of_chosen_by_rejected():
    assert scores.length_gap([pair("x" * 30, "x" * 20)] * N).value == pytest.approx(1.5)
    assert scores.length_gap([pair("x" * 30, "x" * 20)] * N).alarm
    assert scores.length_gap([pair("x" * 24, "x" * 20)] * N).alarm is None
    assert scores.score_gap([pair("a", "b", 4, 1), pair("a", "b", 3, 2)]).value == pytest.approx(2.0)


def test_the_slope_of_length_compares_within_a_prompt():
    """Prompt n is worth n points at base length 2^n: across prompts score and length rise together, within
    a prompt twice the length brings nothing, or exactly 0.7 points."""
    for slope in (0.0, 0.7):
        group, judged = [], []
        for n, key in enumerate(keys()):
            for times in (1, 2):
                made = response("x" * (times * 2**n), key)
                group.append(made)
                judged.append(judgment(n + slope * math.log2(times), key, response_id=made.id))
        found = scores.length_slope(group, judged)
        assert found.value == pytest.approx(slope)
        assert bool(found.alarm) == (slope > 0.5)


SEEDS = [f"Explain the {word} of the old {word} in a few words, please." for word in "abcdefghijkl"]


def test_signals_of_prompts():
    same = [prompt(text + " Now.") for text in SEEDS]
    assert texts.prompt_length(same, SEEDS).value == pytest.approx(16 / 14)  # signs count
    assert texts.prompt_length([prompt(text * 3) for text in SEEDS], SEEDS).alarm
    assert texts.prompt_length([prompt("One two.")] * N, SEEDS).alarm
    assert texts.prompt_nearness(same, SEEDS).alarm
    other = [prompt(f"Why does number {n} come before number {n + 1}?") for n in range(N)]
    assert texts.prompt_nearness(other, SEEDS).value < 0.3
    assert texts.contamination(other, SEEDS).value == 0
    assert texts.contamination([*other, prompt(SEEDS[3])], SEEDS).alarm
    assert texts.prompt_variety([prompt("the same words again")] * N, SEEDS).alarm
    assert texts.prompt_variety([prompt(text) for text in SEEDS], SEEDS).value == pytest.approx(1.0)
    assert texts.prompt_p95([prompt("a b"), prompt("a b c")]).value == pytest.approx(2.95)


def test_signals_of_answers_compare_the_same_prompts():
    short = [response("one two three four five six", key, tokens=6) for key in keys()]
    long = [response("one two three four " * 3, key, tokens=12, finish="length") for key in keys()]
    other = response("of another prompt", "elsewhere", tokens=500)
    assert texts.answer_length([*long, other], short).value == pytest.approx(2.0)
    assert texts.answer_length(long, short).alarm
    assert texts.answer_length(short, short).alarm is None
    assert texts.ended(long, short).value == pytest.approx(-1.0)
    assert texts.ended(long, short).alarm
    assert texts.repeated(long, short).value == pytest.approx(5 / 9)  # 9 4-grams, of which 4 are new
    assert texts.repeated(long, short).alarm
    assert texts.variety(short, short).value == pytest.approx(1.0)
    assert texts.answer_p95(short).value == 6


def step(**figures):
    plain = {"accuracy": 0.6, "chosen_length": 50.0, "rejected_length": 25.0}
    return plain | {"chosen_reward": 0.0, "rejected_reward": 0.0} | figures


def test_paths_are_nats_a_token_of_the_last_quarter():
    """Reward -1 at beta 0.1 is -10 nats, of 50 tokens -0.2 each; of rejected ones, 25 tokens, -0.4."""
    last = step(chosen_reward=-1.0, rejected_reward=-1.0)
    log = [step()] + [step(chosen_reward=9.0)] * 5 + [last] * 2
    assert learning.chosen_path(log, DpoSection(beta=0.1)).value == pytest.approx(-0.2)
    assert learning.chosen_path(log, DpoSection(beta=0.1)).alarm
    assert learning.rejected_path(log, DpoSection(beta=0.1)).value == pytest.approx(-0.4)
    means = [step()] + [step(chosen_reward=-0.02)] * 3
    mean = learning.chosen_path(means, DpoSection(beta=0.1, length_normalised=True))
    assert mean.value == pytest.approx(-0.2)  # of means, not divided again
    dropped = [step(chosen_reward=-20.0 + reward) for reward in (0.0, 0.1, 0.2, 0.3)]
    assert learning.chosen_path(dropped, DpoSection(beta=0.1)).value == pytest.approx(0.06)  # dropout's part
    assert learning.chosen_path([], DpoSection()).value is None


def test_implicit_agreement_looks_at_pairs_not_yet_trained_on():
    log = [step(accuracy=0.0)] * 4 + [step(accuracy=0.75)] * 4
    assert learning.implicit_agreement(log, DpoSection()).value == pytest.approx(0.75)
    assert learning.implicit_agreement([step(accuracy=0.3)] * 4, DpoSection()).alarm
    alone = learning.implicit_agreement([step(accuracy=0.0)], DpoSection())  # the model is its reference
    assert (alone.value, alone.num) == (None, 0)
    chance = [step(accuracy=0.4)] * 4  # of two fresh steps of eight pairs: 6 or 7 of 16
    assert learning.implicit_agreement(chance, DpoSection(batch_size=8)).alarm is None
    twice = [*log, *[step(accuracy=1.0)] * 8]  # the second pass over the same pairs
    assert learning.implicit_agreement(twice, DpoSection(epochs=2)).value == pytest.approx(0.75)


def test_divergence_is_by_token_and_only_m1_has_a_limit():
    items = [
        Divergence(id=key, response_id=key, prompt_id=key, nats=nats, num_tokens=tokens)
        for key, nats, tokens in zip(keys(), (10.0, 30.0) * 6, (20, 20) * 6, strict=True)
    ]
    assert learning.divergence(items, "M1", 0.5).value == pytest.approx(1.0)
    assert learning.divergence(items, "M1", 0.5).gate == "kl"
    assert learning.divergence(items, "M1", 0.5).alarm
    assert learning.divergence(items, "M0", None).alarm is None


def test_forgetting():
    """A quarter more nats on every answer alarms; the same in all, from one answer of twelve, does not."""
    before = [(20.0, 10)] * N
    assert learning.forgetting([(25.0, 10)] * N, before).alarm
    assert learning.forgetting([(21.0, 10)] * N, before).alarm is None
    one = learning.forgetting([(20.0, 10)] * (N - 1) + [(80.0, 10)], before)
    assert one.value == pytest.approx(1.25)
    assert one.alarm is None
    assert learning.forgetting([], before).value is None  # an older run's
    assert learning.forgetting([(25.0, 10)] * 2, [(20.0, 10)] * 2).alarm is None


def ranked(*given):
    return ScoredPrompt(lengths=(10, 10), places=(0, 1), scores=given)


def test_agreement_with_people_is_paired_and_unread_pairs_are_a_half():
    right, wrong, unread = ranked(5, 1), ranked(1, 5), ranked(None, 5)
    assert yardsticks.human_agreement([unread] * N, [right] * N).value == pytest.approx(-0.5)
    assert yardsticks.human_agreement([wrong] * N, [right] * N).alarm
    assert yardsticks.human_agreement([right, wrong] * N, [wrong, right] * N).alarm is None


def test_the_frozen_judge_compares_answers_to_the_same_prompts():
    first = [judgment(3, key) for key in keys()]
    worse = [judgment(2 if n % 4 else 3, key) for n, key in enumerate(keys())]
    found = yardsticks.frozen_win_rate(worse, first)
    assert found.value == pytest.approx(0.125)  # nine losses, three ties
    assert found.alarm
    unread = [judgment(None, key, reasons=("no score",)) for key in keys()]
    assert yardsticks.frozen_win_rate(unread, first).value is None


def test_self_praise_and_drift_are_by_response():
    frozen = [judgment(2, key, response_id=key) for key in keys()]
    own = [judgment(3, key, response_id=key) for key in keys()]
    assert yardsticks.self_praise(own, frozen).value == pytest.approx(1.0)
    assert yardsticks.self_praise(own, frozen).alarm
    assert yardsticks.self_praise(frozen, own).alarm is None
    assert yardsticks.probe_drift(frozen, own).alarm  # either way
    many = [judgment(3, "p", response_id=key) for key in keys()]  # twelve texts of one prompt
    assert yardsticks.probe_drift(many, frozen).num == 1
    assert yardsticks.probe_drift(own, frozen).alarm


def share(value, half):
    return {"value": value, "low": value - half, "high": value + half, "num": 100}


def test_a_lost_skill_is_one_whose_difference_is_certain():
    """0.2 and 0.5, each ± 0.1: the difference is -0.3 ± 0.141, surely below -0.1. With ± 0.2, ± 0.283."""
    found = yardsticks.lost("gsm8k: right", share(0.2, 0.1), share(0.5, 0.1))
    assert (found.low, found.high) == pytest.approx((-0.4414, -0.1586), abs=1e-4)
    assert found.alarm
    assert found.gate is None
    assert yardsticks.lost("gsm8k: right", share(0.2, 0.2), share(0.5, 0.2)).alarm is None


def test_the_gate_looks_at_all_tests_together():
    """One of nine that has surely fallen by twenty points is two of the mean; all of them are twenty."""
    same, fallen = (share(0.5, 0.01), share(0.5, 0.01)), (share(0.3, 0.01), share(0.5, 0.01))
    one = yardsticks.skills([fallen] + [same] * 9)
    assert one.value == pytest.approx(-0.02)
    assert one.high - one.value == pytest.approx(0.01 * 2**0.5 * 10**0.5 / 10)
    assert (one.alarm, one.gate) == (None, "panel")
    assert yardsticks.skills([fallen] * 10).alarm
    unknown = {"value": None, "low": None, "high": None, "num": 0}
    assert yardsticks.skills([(unknown, unknown), fallen]).value == pytest.approx(-0.2)


def test_skills_of_a_group_count_once_and_only_shares_of_right_answers_do():
    def row(metrics, part_of=None):
        return {"metrics": metrics, "items": 50, "fewshot": 0, "part_of": part_of}

    perplexity = {"value": 9.0, "low": None, "high": None, "num": 0}
    tasks = {
        "mmlu": row({"acc": share(0.4, 0.1)}),
        "mmlu_physics": row({"acc": share(0.3, 0.1)}, "mmlu"),
        "lambada": row({"perplexity": perplexity, "acc": share(0.6, 0.1)}),
    }
    assert list(_skills({"tasks": tasks})) == ["mmlu acc", "lambada acc"]


def test_a_win_rate_that_length_alone_has_raised():
    first = {"raw": 10.0, "controlled": 10.0, "num": 50}
    assert yardsticks.length_gain({"raw": 20.0, "controlled": 11.0, "num": 50}, first).value == 9.0
    assert yardsticks.length_gain({"raw": 20.0, "controlled": 11.0, "num": 50}, first).alarm
    assert yardsticks.length_gain({"raw": 20.0, "controlled": 18.0, "num": 50}, first).alarm is None
    assert yardsticks.length_gain({"raw": 20.0, "controlled": None, "num": 50}, first).value is None
