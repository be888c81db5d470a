"""Killed with SIGKILL and started again: the same bytes and weights as a run that was left alone."""

import pytest
from kill_and_resume import SMALL, kill_and_resume

from conftest import tiny_overrides


@pytest.mark.parametrize(
    "kills",
    [4, pytest.param(20, marks=pytest.mark.slow)],
)
def test_a_killed_run_ends_in_the_same_bytes_and_weights(tiny, tmp_path, kills):
    overrides = [*tiny_overrides(tiny.path), *SMALL, "iterations=2", "prompts.max_tokens=24"]
    found = kill_and_resume(tmp_path, overrides, kills, wait=0.02)
    assert len(found.kills) == kills
    assert found.record_files > 10
    assert found.different == []
    assert found.weight_difference <= 1e-6
