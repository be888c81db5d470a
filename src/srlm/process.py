"""The child's side of work in a process of its own: it prints messages alone, and ends with its parent."""

import os
import sys
import threading
import time
from typing import TextIO


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
