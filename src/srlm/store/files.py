"""Files that are whole or not there, whatever happens, a power cut included."""

import os
from pathlib import Path


def write_atomically(path: Path, text: str) -> None:
    """Write a small file so that a reader sees the old or the new text, whatever happens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)  # if a power cut undoes this, the old text is there, which is older but true


def publish_folder(made: Path, target: Path) -> None:
    """Give a finished folder its final name, once all of its files are on the disk."""
    for path in [made, *made.rglob("*")]:
        _sync(path)
    made.rename(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
