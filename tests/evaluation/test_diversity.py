import json
import random
from dataclasses import asdict
from statistics import fmean

import pytest
import sacrebleu
from hypothesis import given
from hypothesis import strategies as st

from srlm.evaluation.diversity import (
    distinct,
    diversity_figures,
    diversity_table,
    repetition,
    self_bleu,
    words,
)
from srlm.evaluation.intervals import bootstrap
from srlm.records import Divergence, Response, content_id

CAT, DOG, BIRD = "The cat sat on the mat.", "The dog sat on a mat.", "A bird sang in the old oak."


def said(prompt, text, *, draw=0, num_tokens=5, finish="stop"):
    return Response(
        id=content_id(prompt, draw, text),
        prompt_id=prompt,
        prompt=prompt,
        draw=draw,
        text=text,
        num_tokens=num_tokens,
        finish=finish,
    )


def moved(prompt, nats, num_tokens):
    return Divergence(
        id=content_id(prompt, nats), response_id="r", prompt_id=prompt, nats=nats, num_tokens=num_tokens
    )


def bleu(text, others):
    return sacrebleu.sentence_bleu(text, others, lowercase=True, use_effective_order=True).score


def test_words_are_runs_of_letters_and_digits_or_single_signs():
    assert words("Don't STOP,\n2x… Été!") == ["don", "'", "t", "stop", ",", "2x", "…", "été", "!"]
    assert words(" \n") == []


def test_distinct_n_counts_over_all_texts_together():
    texts = [["a", "a", "a"], ["b"], []]
    assert distinct(texts, 1) == 2 / 4
    assert distinct(texts, 2) == 1 / 2  # no n-gram reaches from one text into the next
    assert distinct(texts, 3) == 1
    assert distinct(texts, 4) is None
    assert distinct([["a", "b"], ["b", "a"], ["a", "b"]], 2) == 2 / 3
    assert distinct([], 1) is None


def test_repetition_is_the_share_of_4_grams_that_are_there_already():
    assert repetition(list("abcdabcd")) == pytest.approx(1 / 5)
    assert repetition(["a"] * 8) == pytest.approx(4 / 5)
    assert repetition(list("abcd")) == 0
    assert repetition(list("abc")) is None
    assert repetition(list("abab"), 2) == pytest.approx(1 / 3)


@given(st.lists(st.sampled_from("abc"), max_size=12), st.integers(1, 4))
def test_repetition_is_what_distinct_n_leaves_of_one_text(text, n):
    share = distinct([text], n)
    assert repetition(text, n) == (None if share is None else pytest.approx(1 - share))


def test_self_bleu_of_texts_that_are_alike_is_100():
    assert self_bleu([CAT] * 3) == pytest.approx(100)
    assert self_bleu([CAT, CAT.upper()]) == pytest.approx(100)
    assert self_bleu(["Yes.", "Yes."]) == pytest.approx(100)  # too short for a 4-gram


def test_self_bleu_is_sacrebleu_of_each_against_all_others():
    texts = [CAT, DOG, BIRD]
    wanted = fmean([bleu(CAT, [DOG, BIRD]), bleu(DOG, [CAT, BIRD]), bleu(BIRD, [CAT, DOG])])
    assert self_bleu(texts) == pytest.approx(wanted)
    assert 0 < wanted < 100


def test_self_bleu_needs_two_texts_with_words():
    assert self_bleu([]) is None
    assert self_bleu([CAT]) is None
    assert self_bleu([CAT, " ", ""]) is None
    assert self_bleu([CAT, " ", DOG]) == pytest.approx(self_bleu([CAT, DOG]))


def test_self_bleu_of_many_is_that_of_some_drawn_by_the_seed():
    texts = [CAT, DOG, BIRD, "Nothing of the kind was ever sung on a mat."]
    drawn = {seed: random.Random(seed).sample(texts, 2) for seed in range(8)}
    found = {seed: self_bleu(texts, seed, most=2) for seed in drawn}
    assert found == {seed: pytest.approx(self_bleu(pair)) for seed, pair in drawn.items()}
    assert len(set(found.values())) > 1
    assert self_bleu(texts, 1, most=4) == pytest.approx(self_bleu(texts))


def test_lengths_have_a_mean_and_a_95th_percentile():
    """Twenty-one answers, of 1 to 21 tokens and twice as many characters: 19 of 20 steps up is the 20th."""
    answers = [said(str(n), "x" * (2 * n), num_tokens=n) for n in range(21, 0, -1)]
    figures = diversity_figures(answers, {})
    assert figures["tokens"] == {"mean": 11, "p95": pytest.approx(20)}
    assert figures["characters"] == {"mean": 22, "p95": pytest.approx(40)}


def test_figures_by_hand():
    """Of prompt c one answer came, and it is empty; a's two are alike, b's are not."""
    answers = [
        said("a", DOG),
        said("b", CAT),
        said("a", DOG.upper(), draw=1),
        said("b", "no no no no no no no no", draw=1, finish="length"),
        said("c", " ", finish="length"),
    ]
    figures = diversity_figures(answers, {}, seed=3)
    assert (figures["answers"], figures["empty"], figures["prompts"]) == (5, 1, 3)
    assert figures["ended"]["value"] == 3 / 5
    assert figures["ended"]["num"] == 3  # prompts are drawn, not answers
    texts = [words(item.text) for item in answers]
    assert figures["distinct"] == {n: distinct(texts, n) for n in (1, 2, 3, 4)}
    # Of the four answers with 4-grams: 0, 0, 0 and 4 of 5 repeat an earlier one.
    assert figures["repetition"]["value"] == pytest.approx((4 / 5) / 4)
    assert figures["repetition"]["num"] == 2
    assert figures["self_bleu"] == pytest.approx(self_bleu([DOG, CAT]))
    assert figures["self_bleu_draws"] == pytest.approx(fmean([100, self_bleu([CAT, answers[3].text])]))
    assert figures["kl"] == {}


def test_intervals_draw_prompts_by_the_seed():
    ended = [[draw % 3 == place % 2 for draw in range(1 + place % 4)] for place in range(9)]
    answers = [
        said(str(place), CAT, draw=draw, finish="stop" if value else "length")
        for place, values in enumerate(ended)
        for draw, value in enumerate(values)
    ]
    found = [bootstrap(ended, lambda values: (sum(values), len(values)), seed=seed) for seed in (0, 7)]
    assert found[0] != found[1]
    assert [diversity_figures(answers, {}, seed)["ended"] for seed in (0, 7)] == list(map(asdict, found))


def test_kl_is_a_mean_over_tokens_and_its_interval_draws_prompts():
    items = [moved("a", 2, 1), moved("b", 0, 9), moved("a", 1, 2), moved("c", 6, 8)]
    figures = diversity_figures([], {"M0": iter(items), "M1": [moved("a", 3, 4)]}, seed=5)
    wanted = bootstrap([(3, 3), (0, 9), (6, 8)], lambda part: part, seed=5)
    assert figures["kl"]["M0"] == asdict(wanted)
    assert wanted.value == 9 / 20
    assert figures["kl"]["M1"] == {"value": 3 / 4, "low": None, "high": None, "num": 1}


def test_without_answers_nothing_is_a_number():
    figures = diversity_figures([], {"M0": []})
    assert (figures["answers"], figures["empty"], figures["prompts"]) == (0, 0, 0)
    assert figures["tokens"] == figures["characters"] == {"mean": None, "p95": None}
    assert figures["distinct"] == dict.fromkeys(range(1, 5))
    assert figures["ended"]["value"] is figures["repetition"]["value"] is figures["kl"]["M0"]["value"] is None
    assert figures["self_bleu"] is figures["self_bleu_draws"] is None
    cells = table_of({"M1": figures})
    assert {name: cell for name, cell in cells.items() if cell != ["–"]} == {
        "": ["M1"],
        "answers": ["0"],
        "empty": ["0"],
    }


def test_one_answer_a_prompt_has_no_likeness_of_draws():
    figures = diversity_figures([said("a", CAT), said("b", CAT)], {})
    assert figures["self_bleu"] == pytest.approx(100)
    assert figures["self_bleu_draws"] is None
    silent = [said("a", "", draw=0), said("a", "", draw=1)]
    assert diversity_figures(silent, {})["self_bleu_draws"] is None


def table_of(results):
    lines = diversity_table(results).splitlines()
    assert len({len(line) for line in lines}) == 1
    return {line[:28].strip(): line[28:].split() for line in lines}


def test_the_table_has_a_column_a_model_and_a_line_a_figure():
    one = {
        "answers": 12,
        "empty": 3,
        "tokens": {"mean": 45.67, "p95": 89.01},
        "ended": {"value": 0.234},
        "distinct": {1: 0.11, 2: 0.22, 3: 0.33, 4: 0.44},
        "repetition": {"value": 0.567},
        "self_bleu": 67.89,
        "self_bleu_draws": 78.91,
        "kl": {"M0": {"value": 0.12345}},
    }
    other = one | {"answers": 13, "self_bleu_draws": None, "kl": {"sft": {"value": 2}, "M0": {"value": None}}}
    assert table_of({"M1": one, "a longer name of a model": other}) == {
        "": ["M1", "a", "longer", "name", "of", "a", "model"],
        "answers": ["12", "13"],
        "empty": ["3", "3"],
        "tokens, mean": ["45.7", "45.7"],
        "tokens, p95": ["89.0", "89.0"],
        "ended by itself %": ["23.4", "23.4"],
        "distinct-1 %": ["11.0", "11.0"],
        "distinct-2 %": ["22.0", "22.0"],
        "distinct-3 %": ["33.0", "33.0"],
        "distinct-4 %": ["44.0", "44.0"],
        "repeated 4-grams %": ["56.7", "56.7"],
        "self-BLEU": ["67.9", "67.9"],
        "self-BLEU, same prompt": ["78.9", "–"],
        "KL to M0, nats a token": ["0.1235", "–"],
        "KL to sft, nats a token": ["–", "2.0000"],
    }


def test_the_table_of_figures_from_a_file_is_the_same():
    answers = [said("a", CAT), said("b", DOG), said("b", BIRD, draw=1)]
    results = {"M1": diversity_figures(answers, {"M0": [moved("a", 1, 3), moved("b", 2, 5)]})}
    again = json.loads(json.dumps(results))
    assert list(again["M1"]["distinct"]) == ["1", "2", "3", "4"]
    assert diversity_table(again) == diversity_table(results)
