"""Checkpoints that any number of processes can go on from, whatever number wrote them.

torch.distributed.checkpoint keeps each process's share of weights and moments by their names, and gives each
reader the share that it wants. One process alone uses the same form.
"""

import json
import shutil
from pathlib import Path
from typing import Any

from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from transformers import TrainerState
from transformers.trainer_utils import rotate_checkpoints

from srlm.store.files import publish_folder
from srlm.training.world import World

OPTIONS = StateDictOptions(ignore_frozen_params=True, strict=False)
"""Under adapters, the weights below them are those of the start model."""


def save_checkpoint(
    folder: Path, state: TrainerState, model: Any, optimizer: Any, scheduler: Any, *, world: World
) -> None:
    """Write a checkpoint of a step; it appears under its name only when every process has written its share.

    All processes must call it. Older checkpoints go.
    """
    name = f"checkpoint-{state.global_step}"
    partial = folder / ".partial" / name
    if world.main:
        shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed while it wrote
    weights, moments = get_state_dict(model, optimizer, options=OPTIONS)
    save({"model": weights, "optimizer": moments}, checkpoint_id=partial)
    if world.main:
        (partial / "scheduler.json").write_text(json.dumps(scheduler.state_dict()))
        state.save_to_json(str(partial / "trainer_state.json"))
        publish_folder(partial, folder / name)
        rotate_checkpoints(output_dir=str(folder), save_total_limit=1)


def load_checkpoint(path: Path, model: Any, optimizer: Any, scheduler: Any) -> None:
    """Put a checkpoint's weights, moments and learning rate in place; all processes must call it."""
    weights, moments = get_state_dict(model, optimizer, options=OPTIONS)
    state: dict[str, Any] = {"model": weights, "optimizer": moments}
    load(state, checkpoint_id=path)
    set_state_dict(
        model,
        optimizer,
        model_state_dict=state["model"],
        optim_state_dict=state["optimizer"],
        options=OPTIONS,
    )
    scheduler.load_state_dict(json.loads((path / "scheduler.json").read_text()))


def checkpoint_to_resume(folder: Path) -> Path | None:
    """The newest whole checkpoint of a training folder, or None."""
    found = [path for path in folder.glob("checkpoint-*") if (path / "trainer_state.json").exists()]
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)
