"""The built-in seed set is what its documentation says."""

import re
from collections import Counter
from statistics import fmean

import pytest

from srlm.config import SeedSection
from srlm.judging.eft import eft_examples
from srlm.judging.reading import attempts_a_verdict, read_verdict
from srlm.judging.rubric import load_rubric
from srlm.seeds import SeedSet, load_seed
from srlm.similarity import Pool

ADDITIVE = load_rubric("additive")


@pytest.fixture(scope="module")
def seed() -> SeedSet:
    return load_seed(SeedSection())


def test_sizes(seed):
    assert len(seed.instructions) + len(seed.heldout_instructions) >= 96
    assert len(seed.ranked) + len(seed.heldout_ranked) >= 60
    assert len(seed.heldout_instructions) >= 12
    assert len(seed.heldout_ranked) >= 15


def test_answers_have_distinct_scores_that_follow_the_ranks(seed):
    for line in [*seed.ranked, *seed.heldout_ranked]:
        assert len(line.answers) in {3, 4}
        by_rank = sorted(line.answers, key=lambda answer: answer.rank)
        assert [answer.rank for answer in by_rank] == list(range(len(by_rank)))
        scores = [answer.score for answer in by_rank]
        assert scores == sorted(set(scores), reverse=True), line.prompt


def test_justifications_are_short_and_name_no_total(seed):
    for line in [*seed.ranked, *seed.heldout_ranked]:
        for answer in line.answers:
            assert 15 <= len(answer.justification.split()) <= 50, answer.justification
            assert not re.search(r"score|\d", answer.justification, re.I), answer.justification
            assert not attempts_a_verdict(answer.text, ADDITIVE), answer.text


def test_every_grade_is_common(seed):
    counts = Counter(answer.score for line in seed.ranked for answer in line.answers)
    assert min(counts[grade] for grade in range(6)) >= 0.1 * sum(counts.values())


def test_length_does_not_tell_quality(seed):
    """A judge that only learned length must fail here."""
    lines = [*seed.ranked, *seed.heldout_ranked]
    longest_is_best = [max(line.answers, key=lambda a: len(a.text)).rank == 0 for line in lines]
    assert fmean(longest_is_best) <= 0.6
    words = {True: [], False: []}
    for line in lines:
        for answer in line.answers:
            words[answer.rank == 0].append(len(answer.text.split()))
    assert fmean(words[True]) == pytest.approx(fmean(words[False]), rel=0.15)


def test_no_prompt_repeats_another(seed):
    prompts = [item.prompt for item in [*seed.instructions, *seed.heldout_instructions]]
    prompts += [line.prompt for line in [*seed.ranked, *seed.heldout_ranked]]
    assert Pool(0.7).keep_new(prompts) == [True] * len(prompts)


def test_what_the_judge_learns_is_what_is_read(seed):
    examples = eft_examples(seed.ranked, ADDITIVE)
    scores = [answer.score for line in seed.ranked for answer in line.answers]
    assert [read_verdict(item.response, "stop", ADDITIVE).score for item in examples] == scores
