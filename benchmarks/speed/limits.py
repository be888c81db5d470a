"""What this machine can do at most: a product in bfloat16 and in float32, and a copy."""

import statistics
import time

import torch

PRECISIONS = ("bfloat16", "float32")
SLOW = 0.1
"""Seconds of a product of 1,024 from which on a larger one would take minutes."""


def median_seconds(work, repeats: int = 7) -> float:
    """Median time of a piece of work, after one run that warms up."""
    found = []
    for _ in range(repeats + 1):
        started = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        found.append(time.perf_counter() - started)
    return statistics.median(found[1:])


def limits(device: str) -> dict[str, float]:
    """GFLOP/s of square products, and GB/s of a copy of 512 MB, read and written."""
    found = {f"{name}_gflops": gflops(getattr(torch, name), device) for name in PRECISIONS}
    here = torch.ones(512 * 2**20 // 4, device=device)
    there = torch.empty_like(here)
    found["copy_gb_s"] = 2 * here.nbytes / median_seconds(lambda: there.copy_(here)) / 1e9
    return found


def gflops(dtype: torch.dtype, device: str) -> float:
    """Of products of 4,096 by 4,096; of 1,024, where a processor has no instructions for such numbers."""
    for size in (1024, 4096):
        one, other = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        seconds = median_seconds(lambda one=one, other=other: one @ other)
        rate = 2 * size**3 / seconds / 1e9
        if seconds > SLOW:
            break
    return rate


def products(workload: str, run: dict, like: dict, size: dict[str, int]) -> float | None:
    """Floating-point operations of the weights on a run's tokens; attention is left out. None: a mixed work.

    Reading: every weight but the head's once a token. Writing: every weight once a token. Training: three
    times reading, and the head on the targets. `like`: a run that counted its targets, on the same data.
    """
    body, head = size["parameters"] - size["head"], size["head"]
    read = run.get("distinct", run["read"])
    if workload in {"dpo", "sft"} and "targets" in like:
        return 6.0 * (read * body + like["targets"] / like["read"] * run["read"] * head)
    if workload in {"responses", "judging", "expected"}:
        return 2.0 * ((read + run["written"]) * body + run["written"] * head)
    return None
