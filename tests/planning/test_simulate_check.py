import json
from pathlib import Path

import pytest
from simulate_check import compare, main, stage_of

RECORDED = Path(__file__).parent / "slept.json"
"""Measured by ``benchmarks/simulate_check.py --record``: threads that slept, 1, 2 and 4 of them."""


def test_threads_that_sleep_take_as_long_as_the_simulation_says():
    """The order of events is a real pool's: within 5 %, with one block open at a time and with two."""
    found = compare(json.loads(RECORDED.read_text()))
    assert [(one.stage, one.replicas) for one in found] == [
        (f"{open_blocks} in flight", replicas) for open_blocks in (1, 2) for replicas in (1, 2, 4)
    ]
    for one in found:
        assert one.predicted == pytest.approx(one.measured, rel=0.05)
    assert found[2].predicted > found[5].predicted  # four workers wait longer with one block open


def test_what_a_replica_costs_and_what_the_scheduler_does_are_told_apart():
    """Tasks of 10, 10 and 10 s took twice as long: 60 and 40 s measured, 30 and 20 predicted.

    Scaled by the run on one replica, 2, the prediction for two is 40.
    """
    run = {
        "stage": "M2/responses", "task": 1, "block": 3, "in_flight": 1, "head": 0, "loads": False,
        "speculate": False,
        "requests": [[0, [10]], [0, [10]], [0, [10]]],
    }  # fmt: skip
    cost = {"load": 0, "dispatch": 0, "token": 0, "step": 1, "row": 0, "rows": 8}
    runs = [{**run, "replicas": 2, "seconds": 40}, {**run, "replicas": 1, "seconds": 60}]
    one, two = compare({"cost": cost, "runs": runs})
    assert (one.replicas, one.measured, one.predicted, one.scaled) == (1, 60, 30, 60)
    assert (two.replicas, two.measured, two.predicted, two.scaled) == (2, 40, 20, 40)


def test_requests_are_cut_into_blocks_and_tasks():
    run = {
        "stage": "x",
        "task": 2,
        "block": 3,
        "in_flight": 1,
        "head": 7,
        "requests": [[n, [n]] for n in range(1, 6)],
    }
    assert [(task.block, task.prompt, task.lengths) for task in stage_of(run).tasks] == [
        (0, 3, (1, 2)),
        (0, 3, (3,)),
        (1, 9, (4, 5)),
    ]


def test_the_check_is_one_command(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["simulate_check.py", str(RECORDED)])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["stage", "replicas", "measured", "predicted", "ratio", "scaled", "ratio"]
    assert len(lines) == 7
