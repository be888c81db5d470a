"""Which checkpoint a training goes on from, and that one in a store is as good as one in the folder."""

import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.distributed.checkpoint.api import CheckpointException
from transformers import TrainerState

from srlm.config import Config, SftSection
from srlm.errors import TrainingError
from srlm.records import Example, content_id
from srlm.store.run import Quiet, open_run
from srlm.training import jobs
from srlm.training.checkpoints import checkpoint_to_resume, load_checkpoint, save_checkpoint
from srlm.training.runner import TrainJob
from srlm.training.world import World

EXAMPLES = [
    Example(id=content_id(n), kind="ift", prompt=f"Say the number {n}.", response=f"The number is {n}.")
    for n in range(6)
]
CONFIG = Config(
    sft=SftSection(
        device="cpu",
        precision="float32",
        batch_size=3,
        save_steps=2,
        learning_rate=1e-3,
        epochs=3,
        dropout=0.1,
    )
)


class Cut(Exception):
    """As when the machine is lost."""


class CutAt(Quiet):
    """Ends at a step of the training."""

    def __init__(self, step: int) -> None:
        self.step = step

    def advance(self, step, done, total, note="") -> None:
        if done == self.step:
            raise Cut


def train(section, model, examples, *, folder, target, seed, report, **_) -> Path:
    """As `train_sft`, in this process, so that what is cut is known to the step."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "data.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in examples))
    (folder / "heldout.jsonl").write_text(examples[0].model_dump_json() + "\n")
    job = TrainJob(kind="sft", model=model.path, folder=folder, target=target, seed=seed, sft=section)
    jobs.train_job(job, report)
    return target


def trained(folder: Path, model, store: str = "", cut_at: int = 0) -> dict[str, torch.Tensor]:
    with open_run(folder, CONFIG, progress=CutAt(cut_at), store=store) as run:
        run.model("M1/sft", train, CONFIG.sft, model, EXAMPLES)
    return load_file(folder / "M1/model/model.safetensors")


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "M1/sft/log.jsonl").read_text().splitlines()]


def test_a_training_goes_on_from_its_store_on_another_machine(tiny, tmp_path):
    store = f"memory://{tmp_path.name}"
    whole = trained(tmp_path / "alone", tiny)
    with pytest.raises(Cut):
        trained(tmp_path / "one", tiny, store, cut_at=3)
    shutil.rmtree(tmp_path / "one")  # the machine is lost
    made = trained(tmp_path / "two", tiny, store)
    assert json.loads((tmp_path / "two/M1/sft/summary.json").read_text())["resumed_at"] == 2
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "alone"), abs=1e-6)
    for name, weights in whole.items():
        torch.testing.assert_close(made[name], weights, atol=1e-6, rtol=0)


def written(path: Path, *names: str) -> None:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text("")


def test_a_checkpoint_without_its_index_is_not_resumed(tmp_path):
    written(tmp_path / "checkpoint-2", "trainer_state.json", ".metadata", "__0_0.distcp")
    written(tmp_path / "checkpoint-4", "trainer_state.json", "scheduler.json", "__0_0.distcp")
    written(tmp_path / "checkpoint-6", ".metadata", "__0_0.distcp")
    written(tmp_path / ".partial/checkpoint-8", "trainer_state.json", ".metadata")
    assert checkpoint_to_resume(tmp_path).name == "checkpoint-2"
    assert checkpoint_to_resume(tmp_path / "nowhere") is None


def test_a_checkpoint_of_deepspeed_is_resumed(tmp_path):
    written(
        tmp_path / "checkpoint-2", "trainer_state.json", "latest", "global_step2/mp_rank_00_model_states.pt"
    )
    assert checkpoint_to_resume(tmp_path).name == "checkpoint-2"


class Bomb:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = str(mark)

    def __reduce__(self):
        return Path.touch, (Path(self._mark),)


@pytest.mark.parametrize("where", ["index", "value"])
def test_nothing_of_a_checkpoint_runs_code(tmp_path, where):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    mark = tmp_path / "mark"
    if where == "value":
        optimizer.param_groups[0]["eps"] = Bomb(mark)
    save_checkpoint(tmp_path, TrainerState(global_step=2), model, optimizer, scheduler, world=World())
    path = checkpoint_to_resume(tmp_path)
    if where == "index":
        (path / ".metadata").write_bytes(pickle.dumps(Bomb(mark)))
    with pytest.raises((TrainingError, CheckpointException, pickle.UnpicklingError)) as failure:
        load_checkpoint(path, model, torch.optim.AdamW(model.parameters()), scheduler)
    assert not mark.exists()
    if where == "index":
        assert "its index is none (it names " in str(failure.value)
