"""Memory of this process: the most that it held, bounds, and giving back what it no longer uses."""

import ctypes
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path

import psutil

_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


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
    for limit, used in _LIMITS:
        with suppress(OSError, ValueError):  # no such limit here, or the word "max"
            free = min(free, int(Path(limit).read_text()) - int(Path(used).read_text()))
    return max(free, 0)
