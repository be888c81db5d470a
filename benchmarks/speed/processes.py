"""A command in processes of its own, and the most memory that these held together."""

import subprocess
import threading
from collections.abc import Mapping, Sequence

import psutil

EVERY = 0.2
"""Seconds between two looks."""


def run_and_watch(
    command: Sequence[str], environment: Mapping[str, str]
) -> tuple[subprocess.CompletedProcess[str], float]:
    """What the command said, and the largest sum of the resident sizes of its living processes, in GiB.

    It is watched from outside, so that every runner is counted alike and none is slowed down. Pages that two
    processes share, such as torch's libraries, count in both.
    """
    most, over = 0, threading.Event()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as child:

        def watch() -> None:
            nonlocal most
            while not over.wait(EVERY):
                most = max(most, resident(child.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            out, err = child.communicate()
        finally:
            over.set()
            watcher.join()
    return subprocess.CompletedProcess(command, child.returncode, out, err), most / 2**30


def resident(pid: int) -> int:
    """Bytes that a process and all that it started hold at this moment; those that have ended hold none."""
    try:
        first = psutil.Process(pid)
        family = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(map(_resident_alone, family))


def _resident_alone(process: psutil.Process) -> int:
    try:
        found: int = process.memory_info().rss
    except psutil.NoSuchProcess:
        return 0
    return found
