"""A folder that one process works on at a time."""

from pathlib import Path

from filelock import FileLock, Timeout

from srlm.errors import RunLocked


def take(folder: Path, what: str, otherwise: str) -> FileLock:
    """The lock of a folder, which is made where it is not there; to be released.

    Raises RunLocked, which calls the folder `what` and says what to do `otherwise`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunLocked(
            f"{what} {folder}", "another process is working on it", f"wait for it, or {otherwise}"
        ) from error
    return lock
