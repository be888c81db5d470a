"""Memory of this process: the most that it held, and giving back what it no longer uses."""

import ctypes
import resource
import sys
from contextlib import suppress


def peak_memory_gib() -> float:
    """The most memory that this process has held so far."""
    unit = 2**30 if sys.platform == "darwin" else 2**20  # bytes there, KiB elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit, 2)


def give_back_memory() -> None:
    """Return freed memory to the system: glibc keeps it in holes until it is asked."""
    with suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
