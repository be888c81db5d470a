"""Checkpoints that any number of processes can go on from, whatever number wrote them.

torch.distributed.checkpoint keeps each process's share of weights and moments by their names, and gives each
reader the share that it wants. One process alone uses the same form.

A checkpoint may come from a store that others write, and torch would unpickle its index and whatever is no
tensor as it stands, which can run anything. Here the one may name nothing but the index's own types, and the
other is read with `weights_only`.
"""

import io
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.planner import ReadItem
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from transformers import TrainerState
from transformers.trainer_utils import rotate_checkpoints

from srlm.errors import TrainingError
from srlm.store.files import publish_folder
from srlm.training.world import World

OPTIONS = StateDictOptions(ignore_frozen_params=True, strict=False)
"""Under adapters, the weights below them are those of the start model."""
INDEX = ".metadata"
_TYPES = {
    "torch.distributed.checkpoint.metadata": {
        "BytesStorageMetadata",
        "ChunkStorageMetadata",
        "Metadata",
        "MetadataIndex",
        "StorageMeta",
        "TensorProperties",
        "TensorStorageMetadata",
        "_MEM_FORMAT_ENCODING",
    },
    "torch.distributed.checkpoint.filesystem": {"_StorageInfo"},
    "torch.serialization": {"_get_layout"},
    "torch": {"Size", *(name for name, value in vars(torch).items() if isinstance(value, torch.dtype))},
    "pathlib": {"PosixPath", "WindowsPath"},
}
"""By module, all that the index of a checkpoint is made of."""


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
    load(state, storage_reader=_Reader(path), planner=_Planner())
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
    found = filter(_is_whole, folder.glob("checkpoint-*"))
    return max(found, key=lambda path: int(path.name.rpartition("-")[2]), default=None)


def _is_whole(path: Path) -> bool:
    """Whether a checkpoint has what is written last, and the index of its weights: ours, or DeepSpeed's."""
    has_index = (path / INDEX).exists() or any(path.glob("global_step*"))
    return has_index and (path / "trainer_state.json").exists()


class _Reader(FileSystemReader):  # type: ignore[misc,unused-ignore]
    """Reads a checkpoint's files once its index is known to be one."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Any:
        path = Path(self.path) / INDEX
        with path.open("rb") as file:
            try:
                _Index(file).load()
            except pickle.UnpicklingError as error:
                raise TrainingError(
                    f"checkpoint {path.parent}",
                    f"its index is none ({error})",
                    "find out who wrote it, and delete it here and in the store that it came from; "
                    "the training then begins anew",
                ) from error
        return super().read_metadata(*args, **kwargs)


class _Index(pickle.Unpickler):
    """Makes nothing but the types of an index."""

    def find_class(self, module: str, name: str) -> Any:
        if name not in _TYPES.get(module, ()):
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return super().find_class(module, name)


class _Planner(DefaultLoadPlanner):  # type: ignore[misc,unused-ignore]
    """Takes what is no tensor, such as a learning rate, for data alone."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        checked = torch.load(value, weights_only=True)
        again = io.BytesIO()
        torch.save(checked, again)
        again.seek(0)
        super().load_bytes(read_item, again)
