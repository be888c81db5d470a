"""How a run ended, beside its steps."""

import json
from pathlib import Path
from typing import Any

from srlm.memory import peak_memory_gib
from srlm.store.files import write_atomically

NAME = "outcome.json"


def forget_outcome(folder: Path) -> None:
    """A run that goes on has not ended."""
    (folder / NAME).unlink(missing_ok=True)


def save_outcome(folder: Path, *, verdict: str, action: str, best: str) -> dict[str, Any]:
    """How it ended, as it is written down; the memory that this process held at most is written beside."""
    ended = {"verdict": verdict, "action": action, "best": best}
    text = json.dumps(ended | {"peak_memory_gib": peak_memory_gib()}, indent=1)
    write_atomically(folder / NAME, text + "\n")
    return ended
