"""Work in other processes: a parent that listens, a child that prints messages alone and ends with it."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TextIO, TypeVar

T = TypeVar("T")


def side_by_side(work: Callable[[T, threading.Event], None], items: Sequence[T], at_once: int) -> None:
    """Call `work` with every item, so many at a time in threads, in order.

    What ends us, Ctrl-C above all, sets the event that each call is given, and nothing more is begun.
    """
    interrupted = threading.Event()
    with ThreadPoolExecutor(at_once) as pool:
        futures = [pool.submit(work, item, interrupted) for item in items]
        try:
            for one in futures:
                one.result()
        except BaseException:
            interrupted.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def listen(
    command: Sequence[str],
    noise: Path,
    tell: Callable[[dict[str, Any]], None],
    interrupted: threading.Event,
    extra: Mapping[str, str] | None = None,
) -> str:
    """Why a command that prints a JSON object a line failed; empty where it ended well or was interrupted.

    `tell` gets every object; what the command says beside is added to the file `noise`; `extra` goes into its
    environment. When the event is set, the command is killed.
    """
    noise.parent.mkdir(parents=True, exist_ok=True)
    start = noise.stat().st_size if noise.exists() else 0
    with (
        noise.open("a") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"PYTHONSAFEPATH": "1"} | dict(extra or {}),
            start_new_session=True,  # Ctrl-C is ours to answer
        ) as child,
    ):
        threading.Thread(target=_end_with, args=(interrupted, child), daemon=True).start()
        for line in child.stdout or ():
            tell(json.loads(line))
        status = child.wait()
    if not status or interrupted.is_set():
        return ""
    said = noise.read_bytes()[start:].decode(errors="replace")
    words = [line for line in said.splitlines() if line.strip()]
    return f"its process ended with status {status}: {(words or ['it said nothing'])[-1][:300]}"


def _end_with(interrupted: threading.Event, child: "subprocess.Popen[str]") -> None:
    while child.poll() is None:
        if interrupted.wait(1.0):
            child.kill()


def message_channel() -> TextIO:
    """Standard output, for messages alone: whatever a library prints from now on goes to standard error."""
    channel = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    return channel


def end_with_parent() -> None:
    """End this process when its parent does, or the one that holds our standard input open while it lives.

    These are two where a launcher stands between them.
    """
    threading.Thread(target=_wait_and_end, daemon=True).start()
    threading.Thread(target=_end_as_orphan, args=(os.getppid(),), daemon=True).start()


def _wait_and_end() -> None:
    sys.stdin.read()
    os._exit(1)


def _end_as_orphan(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
