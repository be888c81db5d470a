import os

import pytest
import torch

from srlm import cores


@pytest.fixture
def quota(tmp_path, monkeypatch):
    monkeypatch.setattr(cores, "QUOTA", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    return tmp_path / "cpu.max"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("300000 100000", 3),
        ("150000 100000", 2),
        ("20000 100000", 1),
        ("max 100000", 8),
        ("9900000 100000", 8),
    ],
)
def test_a_quota_counts_in_whole_cores(quota, text, found):
    quota.write_text(text + "\n")
    assert cores.usable_cores() == found


def test_without_a_quota_the_affinity_counts(quota):
    assert cores.usable_cores() == 8


def test_threads_follow_the_quota_but_not_against_the_user(quota, monkeypatch):
    before = torch.get_num_threads()
    quota.write_text("100000 100000")
    try:
        torch.set_num_threads(2)
        monkeypatch.setenv("OMP_NUM_THREADS", "2")
        cores.set_threads()
        assert torch.get_num_threads() == 2
        monkeypatch.delenv("OMP_NUM_THREADS")
        cores.set_threads()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)
