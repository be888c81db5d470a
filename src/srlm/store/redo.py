"""Which steps are made again with one (`--redo`), and how what they made is forgotten.

Steps are called by their folders: ``M2/dpo``; ``M1/evaluation/figures`` of the held-out data;
``M1/evaluation/SUITE/figures`` and ``prompts/SUITE/labels`` of a suite; ``M1/watch/own`` and ``M1/monitors``
of what is watched.
"""

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from srlm.errors import RunError

State = dict[str, Any]


def states_from(states: Iterable[State], step: str) -> list[State]:
    """The states of a step and of all begun after it that rest on it, the last first; raises RunError."""
    in_order = sorted(states, key=lambda state: state["number"])
    names = [state["step"] for state in in_order]
    if step not in names:
        raise RunError(
            f"--redo {step}", "the run has no such step", f"take one of {', '.join(names) or 'none yet'}"
        )
    after = in_order[names.index(step) :]
    return [state for state in after if _rests_on(state["step"], step)][::-1]


def _rests_on(other: str, step: str) -> bool:
    """Whether a later step is to be made again with `step`: no training rests on what was measured."""
    return not suite_of(step) or suite_of(other) == suite_of(step)


def suite_of(step: str) -> str:
    """The suite that a step belongs to, or the model that it measures without one, or neither."""
    first, *rest = step.split("/")
    if first == "prompts":
        return f"suite {rest[0]}"
    if len(rest) == 3 and rest[0] == "evaluation":
        return f"suite {rest[1]}"
    return f"model {first}" if rest[:1] in (["evaluation"], ["watch"], ["monitors"]) else ""


def forget(folder: Path, states: list[State]) -> None:
    """Remove what steps have made. Folders are moved away first, so that no half of one is ever used."""
    for state in states:
        base = folder / state["step"]
        trained = [base, base.parent / "model"] if base.is_dir() else []
        away = [_moved_away(path) for path in trained]
        base.with_name(f"{base.name}.step.json").unlink()
        for path in (base.with_name(f"{base.name}.jsonl"), base.with_name(f"{base.name}.json")):
            path.unlink(missing_ok=True)
        for path in away:
            shutil.rmtree(path)


def _moved_away(path: Path) -> Path:
    away = path.with_name(f".{path.name}.forgotten")
    if away.exists():
        shutil.rmtree(away)
    if path.exists():
        path.rename(away)
    away.mkdir(exist_ok=True)
    return away
