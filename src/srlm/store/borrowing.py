"""Steps that another run has already done with the very same inputs are taken over instead of done again.

Arms of a study begin alike: the same M1, and often the same responses and judgments. What a step was given
says whether it would make the same, so nobody has to say how far two runs agree.
"""

import json
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from srlm.store.redo import State


def borrowed(step: str, given: Mapping[str, Any], folder: Path, others: Iterable[Path]) -> State:
    """The state of a step that one of the other runs has done with what was given, and its files in `folder`.

    Empty where none has. The caller writes the state.
    """
    for other in others:
        path = other / f"{step}.step.json"
        state: State = json.loads(path.read_text("utf-8")) if path.exists() else {}
        if state.get("done") and state["given"] == given:
            for name in _made(step):
                _link(other / name, folder / name)
            return state
    return {}


def _made(step: str) -> list[str]:
    """What a step may have left in its run."""
    model = [str(Path(step).parent / "model")] if step.endswith(("/sft", "/dpo")) else []
    return [f"{step}.jsonl", f"{step}.json", step, *model]


def _link(source: Path, target: Path) -> None:
    """The same files at both places; finished steps are never written to again."""
    if not source.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, copy_function=_link_file, dirs_exist_ok=True)
    else:
        target.unlink(missing_ok=True)
        _link_file(str(source), str(target))


def _link_file(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or one without links
        shutil.copy2(source, target)
