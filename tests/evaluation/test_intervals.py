import numpy as np
import pytest

from srlm.evaluation import intervals
from srlm.evaluation.intervals import Estimate, bootstrap


def as_given(part):
    return part


def test_two_prompts_by_hand():
    """Of four equally likely resamples one holds twice the right prompt, one twice the wrong: 1/4 each.

    So the 2.5 % and 97.5 % points are 0 and 1, and the value is 1/2.
    """
    assert bootstrap([(1, 1), (0, 1)], as_given, seed=0) == Estimate(0.5, 0.0, 1.0, 2)


def test_a_ratio_weighs_prompts_by_their_denominators():
    """One pair right of one, and none right of three: 1/4 of all pairs, not 1/2."""
    assert bootstrap([(1, 1), (0, 3)], as_given, seed=0).value == 0.25


@pytest.mark.parametrize("groups", [[], [(0, 0)], [(0, 0), (0, 0)]])
def test_nothing_to_estimate_is_none(groups):
    assert bootstrap(groups, as_given, seed=0) == Estimate(None, None, None, 0)


def test_one_prompt_has_a_value_and_no_interval():
    assert bootstrap([(2, 3), (0, 0)], as_given, seed=0) == Estimate(2 / 3, None, None, 1)


def test_prompts_that_all_agree_have_no_interval():
    assert bootstrap([(1, 1), (3, 3), (2, 2)], as_given, seed=0) == Estimate(1.0, None, None, 3)


def test_prompts_without_a_part_change_nothing():
    parts = [(1, 2), (2, 2), (0, 1)]
    with_empty = [(0, 0), *parts, (0, 0)]
    assert bootstrap(with_empty, as_given, seed=3) == bootstrap(parts, as_given, seed=3)


@pytest.mark.parametrize("part", [(float("nan"), 1), (1, float("inf")), (1, -1)])
def test_a_part_that_is_no_part_is_refused(part):
    with pytest.raises(ValueError, match="mend the statistic"):
        bootstrap([(1, 1), part], as_given, seed=0)


def random_parts(num, seed=5):
    generator = np.random.default_rng(seed)
    sizes = generator.integers(1, 7, num)
    return [(generator.binomial(size, 0.6), size) for size in sizes]


def test_the_same_seed_gives_the_same_interval():
    parts = random_parts(40)
    assert bootstrap(parts, as_given, seed=1) == bootstrap(parts, as_given, seed=1)
    assert bootstrap(parts, as_given, seed=1) != bootstrap(parts, as_given, seed=2)


def test_resamples_drawn_in_bands_are_as_many_and_as_good(monkeypatch):
    parts = random_parts(40)
    whole = bootstrap(parts, as_given, 4000, seed=1)
    monkeypatch.setattr(intervals, "_CELLS", 40 * 7)
    assert sum(len(rows) for rows in intervals._draws(40, 4000, 1)) == 4000
    assert all((rows.sum(axis=1) == 40).all() for rows in intervals._draws(40, 100, 1))
    banded = bootstrap(parts, as_given, 4000, seed=1)
    assert (banded.low, banded.high) == pytest.approx((whole.low, whole.high), abs=0.01)


def test_equals_a_bootstrap_written_out():
    """The textbook's loop, with another generator: draw prompts with replacement, take the ratio again."""
    parts = random_parts(50)
    generator = np.random.default_rng(9)
    ratios = []
    for _ in range(4000):
        drawn = [parts[n] for n in generator.integers(0, 50, 50)]
        ratios.append(sum(part[0] for part in drawn) / sum(part[1] for part in drawn))
    found = bootstrap(parts, as_given, 4000, seed=0)
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(ratios, [0.025, 0.975])), abs=0.01)


def test_intervals_hold_the_truth_about_19_times_in_20():
    """Sixty prompts of 1 to 6 pairs; a prompt's own rate is Beta(4, 2), mean 2/3: pairs of one go together.

    An interval that took pairs as independent would be too narrow; this one resamples prompts.
    """
    generator = np.random.default_rng(2401)
    hits = 0
    for trial in range(200):
        sizes = generator.integers(1, 7, 60)
        right = generator.binomial(sizes, generator.beta(4, 2, 60))
        found = bootstrap(list(zip(right, sizes, strict=True)), as_given, 500, seed=trial)
        hits += found.low <= 2 / 3 <= found.high
    assert 0.90 <= hits / 200 <= 0.99
