import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srlm.errors import ConfigError
from srlm.planning.rates import ReplicaCost
from srlm.planning.simulation import Fleet, Stage, Task, fleet, simulate

UNIT = ReplicaCost(load=0, dispatch=0, token=0, step=1, row=0, rows=8)
"""A task takes as many seconds as its longest answer has tokens."""


def stage(*seconds, block=None, in_flight=10_000, head=0.0):
    """One task of so many seconds each, in one block, or one block for every `block` tasks."""
    size = block or len(seconds)
    return Stage(
        "M2/responses", tuple(Task(n // size, 0, (one,)) for n, one in enumerate(seconds)), head, in_flight
    )


def calm(*slowness, cost=UNIT, **more):
    return Fleet(cost, slowness, speculate=False, **more)


def test_one_replica_without_failures_is_the_closed_form():
    """Load 7 s, a head of 1 s once, and twice 0.5 + 30 tokens x 0.01 + 20 steps x 0.1 + 32 x 0.001 s."""
    cost = ReplicaCost(load=7, dispatch=0.5, token=0.01, step=0.1, row=0.001, rows=4)
    task = Task(0, 30, (20, 12))
    found = simulate(Stage("M2/responses", (task, task), head=100), calm(1.0, cost=cost))
    each = 0.5 + 0.3 + 2.0 + 0.032
    assert found.seconds == pytest.approx(7 + 1 + 2 * each)
    assert found.useful == pytest.approx(1 + 2 * each)
    assert found.loading == 7
    assert found.lost == 7
    assert found.busy == pytest.approx((1 + 2 * each) / (8 + 2 * each))
    assert simulate(Stage("M2/responses", (task,)), calm(1.0, cost=cost), loads=False).loading == 0


def test_two_replicas_halve_it_up_to_the_last_block():
    """Five tasks of 10 s: 50 s on one; on two 30, for while the fifth is done the other has nothing: 10 s."""
    tasks = stage(10, 10, 10, 10, 10)
    assert simulate(tasks, calm(1.0)).seconds == 50
    two = simulate(tasks, calm(1.0, 1.0))
    assert two.seconds == 30
    assert (two.tail, two.waiting, two.useful) == (10, 0, 50)


def test_a_straggler_without_and_with_speculation():
    """Two tasks of 10 s, a replica four times slower. Without copies: 40 s.

    With: the quick one is free at 10, takes a copy, and ends it at 20; the slow one worked 20 s in vain.
    """
    tasks = stage(10, 10)
    without = simulate(tasks, calm(1.0, 4.0))
    assert without.seconds == 40
    assert without.tail == 30
    copied = simulate(tasks, Fleet(UNIT, (1.0, 4.0)))
    assert copied.seconds == 20
    assert (copied.copied, copied.useful) == (20, 20)


def test_the_task_that_runs_longest_is_copied():
    """Tasks of 30, 29 and 10 s on three replicas. The third copies the first at 10, and would end it at 40.

    All is done at 30: 20 s were copied, and the second replica was idle for one.
    """
    found = simulate(stage(30, 29, 10), Fleet(UNIT, (1.0, 1.0, 1.0)))
    assert (found.seconds, found.copied, found.tail) == (30, 20, 1)


def test_blocks_that_need_the_one_before_wait_for_it():
    """Blocks of (10, 4) and (10, 4) on two replicas: 10 + 10 one after the other, 14 where both may be open.

    One after the other a replica waits 6 s for the second block, and 6 s at the end.
    """
    one = simulate(stage(10, 4, 10, 4, block=2, in_flight=1), calm(1.0, 1.0))
    assert (one.seconds, one.waiting, one.tail) == (20, 6, 6)
    both = simulate(stage(10, 4, 10, 4, block=2, in_flight=2), calm(1.0, 1.0))
    assert (both.seconds, both.waiting, both.tail) == (14, 0, 0)


def test_rows_enter_as_others_end():
    """Answers of 5, 3 and 4 tokens, two rows: the third begins after 3 steps and ends after 7."""
    cost = ReplicaCost(0, 0, 0, step=1, row=0, rows=2)
    assert Task(0, 0, (5, 3, 4)).seconds(cost) == 7
    assert Task(0, 0, (5, 3, 4)).seconds(UNIT) == 5


def test_the_head_is_read_once_a_replica_and_again_after_a_failure():
    """A head of 50 tokens, 0.1 s each: 5 s. Four tasks of 10 s are 45 s on one replica and 25 on two."""
    cost = ReplicaCost(load=0, dispatch=0, token=0.1, step=1, row=0, rows=8)
    tasks = stage(10, 10, 10, 10, head=50)
    assert simulate(tasks, calm(1.0, cost=cost)).seconds == 45
    assert simulate(tasks, calm(1.0, 1.0, cost=cost)).seconds == 25


@pytest.mark.parametrize("seed", range(5))
def test_what_a_failed_replica_did_is_done_again(seed):
    """One replica: every time it fails it loses what it did, waits 5 s, loads for 2 and reads the head for 1.

    Its lives are exponential with a mean of 15 s, drawn in order; three tasks take 10 s each.
    """
    cost = ReplicaCost(load=2, dispatch=0, token=0.1, step=1, row=0, rows=8)
    found = simulate(stage(10, 10, 10, head=10), calm(1.0, cost=cost, mtbf=15, restart=5), seed=seed)
    lives = np.random.default_rng(seed)
    now, left, failures, lost = 2.0, 3, 0, 0.0
    while left:
        life, lived = lives.exponential(15), 0.0
        need = 11.0
        while left and lived + need <= life:
            lived, left, need = lived + need, left - 1, 10.0
        if left:
            failures += 1
            lost += life - lived + 7
            now += life + 7
        else:
            now += lived
    assert found.seconds == pytest.approx(now)
    assert (found.failures, found.failed) == (failures, pytest.approx(lost))


def test_the_same_seed_gives_the_same_times():
    replicas = fleet(UNIT, 8, stragglers=0.25, slower=3, mtbf=40, restart=3, seed=4)
    tasks = stage(*[5 + n % 7 for n in range(60)])
    assert replicas.slowness.count(3) == 2
    assert simulate(tasks, replicas, seed=1) == simulate(tasks, replicas, seed=1)
    assert simulate(tasks, replicas, seed=1) != simulate(tasks, replicas, seed=2)


def test_failures_that_never_let_a_task_end_are_refused():
    with pytest.raises(ConfigError, match="hardly ever ends"):
        simulate(stage(1000), calm(1.0, mtbf=10, restart=1))


def test_a_stage_without_tasks_takes_no_time():
    found = simulate(Stage("M2/responses", ()), calm(1.0))
    assert (found.seconds, found.busy) == (0, 0)


seconds = st.lists(st.integers(1, 50), min_size=1, max_size=40)


@given(tasks=seconds, replicas=st.integers(1, 12))
def test_replicas_bound_the_time(tasks, replicas):
    """Never below the divided work nor the longest task; never above both together (Graham)."""
    found = simulate(stage(*tasks), calm(*[1.0] * replicas))
    assert found.seconds >= max(*tasks, sum(tasks) / replicas) - 1e-9
    assert found.seconds <= sum(tasks) / replicas + max(tasks) + 1e-9
    assert found.useful == pytest.approx(sum(tasks))
    assert simulate(stage(*tasks), calm(*[1.0] * (replicas + 1))).seconds <= found.seconds


@given(tasks=seconds, slowness=st.lists(st.sampled_from([1.0, 1.5, 4.0]), min_size=1, max_size=8))
def test_copies_never_cost_wall_time_where_all_blocks_are_open(tasks, slowness):
    without = simulate(stage(*tasks), calm(*slowness))
    copied = simulate(stage(*tasks), Fleet(UNIT, tuple(slowness)))
    assert copied.seconds <= without.seconds + 1e-9


@settings(max_examples=60)
@given(
    tasks=seconds,
    replicas=st.integers(1, 10),
    block=st.integers(1, 8),
    in_flight=st.integers(1, 3),
    mtbf=st.sampled_from([math.inf, 60.0]),
    speculate=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_second_of_every_replica_is_accounted_for(
    *, tasks, replicas, block, in_flight, mtbf, speculate, seed
):
    cost = ReplicaCost(load=3, dispatch=0.5, token=0.01, step=1, row=0.1, rows=4)
    of = fleet(cost, replicas, stragglers=0.3, slower=2, mtbf=mtbf, restart=4, speculate=speculate, seed=seed)
    found = simulate(stage(*tasks, block=block, in_flight=in_flight, head=20), of, seed=seed)
    parts = (found.loading, found.copied, found.failed, found.waiting, found.tail)
    assert found.useful + sum(parts) == pytest.approx(replicas * found.seconds)
    assert min(parts) >= -1e-9
    assert found.useful >= sum(tasks) * 1.1
    assert found.failures == 0 or mtbf < math.inf


def test_a_thousand_replicas_and_a_hundred_thousand_requests_in_seconds():
    chance = np.random.default_rng(0)
    lengths = chance.integers(10, 400, 400_000).tolist()
    tasks = tuple(Task(n // 128, 1000.0, tuple(lengths[64 * n : 64 * n + 64])) for n in range(6250))
    cost = ReplicaCost(load=60, dispatch=0.05, token=1e-4, step=0.02, row=1e-4, rows=32)
    started = time.process_time()
    of = fleet(cost, 1024, stragglers=0.02, slower=3, mtbf=1e5, restart=600)
    found = simulate(Stage("M2/responses", tasks, 300, in_flight=64), of)
    assert time.process_time() - started < 20
    assert 0 < found.busy < 1
