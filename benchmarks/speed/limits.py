"""What this machine can do at most: a product in bfloat16 and in float32, and a copy."""

import statistics
import time

import torch


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
    """GFLOP/s of square products of 4,096, and GB/s of a copy of 512 MB, read and written."""
    found = {}
    for name in ("bfloat16", "float32"):
        one, other = (torch.randn(4096, 4096, device=device).to(getattr(torch, name)) for _ in range(2))
        found[f"{name}_gflops"] = 2 * 4096**3 / median_seconds(lambda one=one, other=other: one @ other) / 1e9
    here = torch.ones(512 * 2**20 // 4, device=device)
    there = torch.empty_like(here)
    found["copy_gb_s"] = 2 * here.nbytes / median_seconds(lambda: there.copy_(here)) / 1e9
    return found


def prefill_flops(tokens: int, parameters: int, head: int, rows: int) -> float:
    """Products of reading: every weight but the head's once a token, the head once a row."""
    return 2.0 * (tokens * (parameters - head) + rows * head)


def training_flops(tokens: int, targets: int, parameters: int, head: int) -> float:
    """Products of a forward and a backward pass; attention is left out."""
    return 6.0 * (tokens * (parameters - head) + targets * head)
