"""Memory of this process: the most that it held, bounds, and giving back what it no longer uses."""

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil

_CGROUPS = Path("/sys/fs/cgroup")
_LIMITS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)
"""Of a container, by the second and the first version of control groups: limit, use, and what of it is files
that were read and can be dropped."""


def peak_memory_gib() -> float:
    """The most memory that this process has held so far."""
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 2)


def bound_kernel_caches() -> None:
    """Let oneDNN keep the code of at most 128 shapes of product, in each of its two caches.

    It makes new code for every new shape and keeps that of 1,024, which comes to more than a gigabyte. Both
    bounds are read at torch's first product.
    """
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(name, "128")


def give_back_memory() -> None:
    """Return freed memory to the system: glibc keeps it in holes until it is asked."""
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def free_memory() -> int:
    """Bytes that this process may still take: what the machine, or the container's limit, has left."""
    free = psutil.virtual_memory().available
    for limit, used, stat, files in _LIMITS:
        with suppress(OSError, ValueError):  # no such limit here, or the word "max"
            taken = int((_CGROUPS / used).read_text()) - _counted(_CGROUPS / stat, files)
            free = min(free, int((_CGROUPS / limit).read_text()) - taken)
    return max(free, 0)


def _counted(stat: Path, name: str) -> int:
    """What a file of lines such as `inactive_file 4096` says of a name; 0 where it does not."""
    with suppress(OSError):
        lines = (line.split() for line in stat.read_text().splitlines())
        return sum(int(number) for found, number in lines if found == name)
    return 0
