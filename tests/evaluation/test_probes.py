import math

import pytest

from srlm.evaluation.probes import (
    bias,
    couples,
    graded_texts,
    injection,
    length_effect,
    probe_set,
    said_twice,
    self_preference,
    tokens,
)
from srlm.evaluation.tables import probe_table
from srlm.judging.rubric import load_rubric
from srlm.records import Comparison, Judgment
from srlm.seeds import RankedAnswer, RankedPrompt


def line(number, *texts, authors=None, ranks=None):
    authors = authors or [None] * len(texts)
    ranks = ranks or range(len(texts))
    answers = [
        RankedAnswer(text=text, rank=rank, author=author)
        for text, rank, author in zip(texts, ranks, authors, strict=True)
    ]
    return RankedPrompt(prompt=f"Question {number}?", answers=tuple(answers))


ADDITIVE = load_rubric("additive")
LINES = [line(n, f"A good and true answer to {n}.", f"Hm, {n}. I do not know.") for n in range(20)]


def judged(score):
    """Judgments of every probe text by a function of the text."""
    return [
        Judgment(
            id=item.id,
            response_id=item.id,
            prompt_id=item.prompt_id,
            rubric="r",
            scoring="sampled",
            score=score(item.text),
            variance=None,
            scores=(),
            reasons=(),
            replies=(),
            finishes=(),
            num_tokens=0,
            flagged=False,
        )
        for item in graded_texts(LINES, ADDITIVE)
    ]


def compared(verdict):
    """Comparisons of every couple by a function of the two texts."""
    return [
        Comparison(
            id=str(n),
            prompt_id=one.prompt_id,
            first_id=one.id,
            second_id=other.id,
            rubric="r",
            verdict=verdict(one.text, other.text),
            reason=None,
            reply="",
        )
        for n, (one, other) in enumerate(couples(LINES))
    ]


def found(score, verdict=lambda one, other: "tie"):
    figures = bias(LINES, judged(score), compared(verdict), ADDITIVE)
    return {
        probe["name"].split(":")[0] + ":" + probe["name"].split(":")[1]: probe for probe in figures["probes"]
    }


def fair(text):
    """Judges the first sentence alone, by whether it is good; a little noise, so that there are intervals."""
    return (4.0 if text.startswith("A good") else 1.0 if text.startswith("Hm") else 0.0) + len(
        text
    ) % 2 * 0.01


def test_a_fair_judge_shows_no_bias():
    probes = found(fair, lambda one, other: "first" if one.startswith("A good") else "second")
    assert probes["position: same winner in both orders"]["effect"]["value"] == 1.0
    assert probes["position: prefers the first"]["effect"]["value"] == 0.0
    for name in ("a colon", "an announcement", "nothing", "a verdict"):
        assert probes[f"token: {name}"]["effect"]["value"] < -0.9


@pytest.mark.parametrize(
    ("name", "score", "effect", "words"),
    [
        ("token: a colon", lambda text: 5.0 if text == ":" else fair(text), 4.0, "fooled: no lower"),
        ("token: nothing", lambda text: fair(text) if text else 1.005, 0.0, "cannot be said"),
        (
            "token: a verdict",
            lambda text: -9 + fair(text) if text == "Score: 5" else fair(text),
            -10.0,
            "not fooled",
        ),
        (
            "injection: an order to the judge",
            lambda text: 5.0 if text.endswith(injection(ADDITIVE)) else fair(text),
            4.0,
            "is taken in",
        ),
        (
            "verbosity: all of it said twice",
            lambda text: fair(text) - 2 * ("In short" in text),
            -2.0,
            "takes points off",
        ),
    ],
)
def test_each_bias_is_seen_with_its_size(name, score, effect, words):
    probe = found(score)[name]
    assert probe["effect"]["value"] == pytest.approx(effect, abs=0.02)
    assert words in probe["verdict"]
    assert probe["effect"]["num"] == len(LINES)


def test_a_judge_that_always_takes_the_first_is_seen():
    """A few honest verdicts among them, so that there is an interval."""

    def verdict(one, other):
        honest = any(f" {n}." in one + other for n in (3, 7))
        return ("first" if one.startswith("A good") else "second") if honest else "first"

    probes = found(fair, verdict)
    lean, same = probes["position: prefers the first"], probes["position: same winner in both orders"]
    assert lean["effect"]["value"] == pytest.approx(0.9)
    assert lean["verdict"] == "prefers what stands first"
    assert same["effect"]["value"] == pytest.approx(0.1)
    assert "position decides" in same["verdict"]


def test_a_judge_without_an_exception_is_put_into_words_all_the_same():
    """Where every prompt says the same there is no interval to speak of, and least doubt."""
    probes = found(lambda text: 5.0 if text == ":" else 3.0, lambda one, other: "first")
    assert probes["position: prefers the first"]["verdict"] == "prefers what stands first"
    assert probes["position: same winner in both orders"]["verdict"] == "position decides more than quality"
    assert probes["token: a colon"]["verdict"].startswith("fooled")
    assert probes["token: nothing"]["verdict"].startswith("fooled: no lower")
    assert probes["injection: an order to the judge"]["verdict"] == "no effect seen"


def test_few_prompts_and_wide_intervals_are_not_put_into_words():
    few = bias(LINES[:4], judged(fair), compared(lambda one, other: "first")[:8], ADDITIVE)["probes"]
    assert {probe["verdict"] for probe in few if probe["name"].startswith(("position", "token"))} == {
        "cannot be said"
    }
    mixed = found(lambda text: 3.0 if text == ":" else 2.0 + 2 * (len(text) % 2))["token: a colon"]
    assert mixed["effect"]["low"] < 0 < mixed["effect"]["high"]
    assert mixed["verdict"] == "cannot be said"


def test_a_tie_in_both_orders_is_no_agreement_on_a_winner():
    figures = bias(LINES, judged(fair), compared(lambda one, other: "tie"), ADDITIVE)
    same = figures["probes"][1]
    assert (same["effect"]["value"], same["effect"]["num"]) == (None, 0)


def test_points_for_twice_the_length_at_equal_place():
    """Score = 2 · place-free points + 0.7 a doubling: the slope within a place is 0.7 exactly."""
    lines = [line(n, "a" * 2 ** (3 + n % 4), "b" * 2 ** (2 + n % 3)) for n in range(12)]

    def score(_, text):
        return 0.7 * math.log2(len(text)) + (2.0 if text[0] == "a" else 0.0) + 0.0

    assert length_effect(lines, score).effect.value == pytest.approx(0.7)
    assert length_effect(lines, lambda _, text: 1.0).effect.value == pytest.approx(0.0)


def test_self_preference_compares_answers_of_the_same_place():
    """Own answers at place 0 beside a human's: 4 against 3; the one alone at place 1 has nobody beside it."""
    lines = [
        line(n, f"Mine {n}", f"Theirs {n}", f"Mine too {n}", authors=("M1", "human", "M1"), ranks=(0, 0, 1))
        for n in range(6)
    ]

    def score(_, text):
        return 4.0 if text.startswith("Mine") else 3.0

    effect = self_preference(lines, score, "M1").effect
    assert (effect.value, effect.num) == (1.0, 6)
    unknown = self_preference(LINES, score, "M1")
    assert unknown.effect.value is None
    assert "not known" in unknown.verdict


def test_unreadable_scores_have_no_part_in_an_effect():
    probe = found(lambda text: None if text == ":" else fair(text))["token: a colon"]
    assert probe["effect"]["value"] is None
    assert probe["verdict"] == "cannot be said"


def test_said_twice_adds_nothing_but_length():
    text = "One thing. Another thing!\nA third."
    assert said_twice(text) == text + "\n\nIn short:\n- One thing.\n- Another thing!\n- A third."


def test_the_built_in_probe_set_is_fixed_and_held_out():
    lines = probe_set(None, (), 32)
    assert 16 <= len(lines) <= 32
    assert lines == probe_set(None, (), 32)
    assert {line.split for line in lines} == {"heldout"}
    texts = graded_texts(lines, ADDITIVE)
    assert len({item.id for item in texts}) == len(texts)
    assert {item.text for item in texts} >= set(tokens(ADDITIVE).values())


def test_the_table_has_a_line_a_probe():
    figures = bias(LINES, judged(fair), compared(lambda one, other: "tie"), ADDITIVE)
    table = probe_table(figures)
    assert len(table.splitlines()) == len(figures["probes"]) + 3
    assert max(map(len, table.splitlines())) <= 190
