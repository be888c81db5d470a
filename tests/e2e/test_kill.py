"""Killed with SIGKILL and started again: the same bytes and weights as a run that was left alone."""

import pytest
from kill_and_resume import SMALL, kill_and_resume

from conftest import tiny_overrides


@pytest.mark.parametrize(
    ("kills", "engine"),
    [
        (4, "scripted"),
        pytest.param(20, "scripted", marks=pytest.mark.slow),
        pytest.param(8, "local", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_in_the_same_bytes_and_weights(tiny, tmp_path, kills, engine):
    overrides = [*tiny_overrides(tiny.path), *SMALL, "iterations=2", "prompts.max_tokens=24"]
    overrides.append(f"engine.kind={engine}")
    found = kill_and_resume(tmp_path, overrides, kills, wait=0.02)
    assert len(found.kills) == kills
    assert found.record_files > 10
    assert found.different == []
    assert found.weight_difference <= 1e-6
