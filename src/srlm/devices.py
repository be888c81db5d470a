"""Where the work is done: the device, the precision it multiplies faster, how fast, and its free memory."""

import time
from functools import cache
from typing import TYPE_CHECKING, Literal

from srlm.config import Device, Precision
from srlm.errors import ConfigError
from srlm.memory import free_memory

if TYPE_CHECKING:
    from torch import Tensor


def device_of(wanted: Device) -> Literal["cpu", "cuda"]:
    """The device that a config's `auto`, `cpu` or `cuda` means here; raises ConfigError."""
    import torch

    there = torch.cuda.is_available()
    if wanted == "cuda" and not there:
        raise ConfigError(
            "device=cuda",
            "torch finds no CUDA device in this environment",
            "set it to auto or cpu, or install a CUDA build of torch that fits the driver",
        )
    return "cuda" if there and wanted != "cpu" else "cpu"


def dtype_of(wanted: Precision, device: str) -> str:
    """The precision that a config's `auto` means here: bfloat16 where it multiplies faster, measured once."""
    return _faster_dtype(device) if wanted == "auto" else wanted


@cache
def _faster_dtype(device: str) -> str:
    """A product of the kind that generation makes, in both precisions, in a few hundredths of a second."""
    import torch

    taken = {}
    for name in ("float32", "bfloat16"):
        one = torch.ones(128, 1024, dtype=getattr(torch, name), device=device)
        other = torch.ones(1024, 1024, dtype=getattr(torch, name), device=device)
        taken[name] = min(_seconds(one, other) for _ in range(5))
    return min(taken, key=lambda name: taken[name])


def product_gflops(dtype: str, device: str) -> float:
    """GFLOP/s of a large square product: what this machine multiplies at, at most; best of three."""
    import torch

    size = 4096 if device == "cuda" else 2048
    one, other = (torch.ones(size, size, dtype=getattr(torch, dtype), device=device) for _ in range(2))
    return 2 * size**3 / min(_seconds(one, other) for _ in range(3)) / 1e9


def _seconds(one: "Tensor", other: "Tensor") -> float:
    """Of one product."""
    started = time.perf_counter()
    float((one @ other)[0, 0])  # waits for the device
    return time.perf_counter() - started


def free_device_memory(device: str) -> int:
    """Bytes that are free for keys and values on a device, those that torch holds in reserve included."""
    import torch

    if device == "cpu":
        return free_memory()
    reserve = torch.cuda.memory_reserved() - torch.cuda.memory_allocated()
    return int(torch.cuda.mem_get_info()[0]) + reserve
