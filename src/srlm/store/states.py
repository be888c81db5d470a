"""Reading a run's folder: its config, and the states of its steps."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

from pydantic import ValidationError

from srlm.config import Config
from srlm.errors import RunError
from srlm.store.redo import State


def saved_config(folder: Path) -> Config:
    """The config with which a run was last opened; raises RunError where this version cannot read it."""
    text = (folder / "config.json").read_text("utf-8")
    try:
        return Config.model_validate(json.loads(text)["config"])
    except ValidationError as error:
        places = ", ".join(".".join(map(str, item["loc"])) for item in error.errors())
        raise RunError(
            f"config.json of run {folder}",
            f"it was made by another version of srlm, and this one has no such values: {places}",
            "use the version that made the run (run.json names it), or a copy of the model outside of it",
        ) from error


def run_states(folder: Path) -> list[State]:
    """The state of every step that was begun, in order; raises RunError when there is no run.

    A state that cannot be read, of a run that was copied in part, comes first, as of a step that is not done;
    its `unread` says why.
    """
    if not (folder / "run.json").is_file():
        raise RunError(
            f"run {folder}", "there is no run in this folder", "see `srlm status` for the runs here"
        )
    found = (_state_or_blank(folder, path) for path in _state_files(folder))
    return sorted((state for state in found if state), key=lambda state: state["number"])


def _state_or_blank(folder: Path, path: Path) -> State:
    """A step's state with every key that is shown; empty where the step was forgotten just now."""
    step = path.relative_to(folder).as_posix().removesuffix(".step.json")
    blank: State = {"step": step, "number": -1, "done": False, "progress": [0, 0], "seconds": 0.0}
    blank |= {"records": 0, "counts": {}, "digest": None}
    try:
        blank.update(json.loads(path.read_text("utf-8")))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError):
        blank["unread"] = "it is empty, cut short, or no JSON"
    return blank


def states(folder: Path) -> Iterator[State]:
    """The states of a run's steps."""
    for path in _state_files(folder):
        yield json.loads(path.read_text("utf-8"))


def _state_files(folder: Path) -> Iterator[Path]:
    """Where the states of a run's steps lie; a run inside it, such as an evaluation's, is no part of it.

    A folder that vanishes meanwhile, as a training's checkpoints do, is passed over, which glob does not.
    """
    for place, inner, names in os.walk(folder):
        if "run.json" in names and Path(place) != folder:
            inner.clear()
            continue
        yield from (Path(place, name) for name in names if name.endswith(".step.json"))
