"""The cores that this process may use, and torch's threads set to them."""

import math
import os
from contextlib import suppress
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""What a container may use: microseconds of all cores in each period, or the word "max"."""


def usable_cores() -> int:
    """Cores of the machine that neither an affinity nor a container's quota keeps from this process."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # no such quota here, or "max"
        quota, period = map(int, QUOTA.read_text().split())
        cores = min(cores, math.ceil(quota / period))
    return max(cores, 1)


def set_threads() -> None:
    """No more of torch's threads than cores: beyond a quota they wait for each other's turn.

    torch counts the machine's cores and knows no quota. OMP_NUM_THREADS, where it is set, is obeyed.
    """
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
