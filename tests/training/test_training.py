"""Training as the loop does it: a job, a child process, a folder of safetensors."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from srlm.config import DpoSection, LoraSection, SftSection
from srlm.errors import RunError, TrainingError
from srlm.models import Model, folder_digest
from srlm.records import Example, Pair, content_id
from srlm.training import jobs
from srlm.training.checkpoints import checkpoint_to_resume
from srlm.training.launch import train_dpo, train_sft
from srlm.training.policy import load_policy
from srlm.training.runner import TrainJob, run_job

EXAMPLES = [
    Example(
        id=content_id(n), kind="ift", prompt=f"Say the number {n}.", response=f"The number is {n}. " * (n + 1)
    )
    for n in range(6)
]
PAIRS = [
    Pair(
        id=content_id(n),
        prompt_id=str(n),
        prompt=f"Say the number {n}.",
        chosen_id="c",
        rejected_id="r",
        chosen=f"The number is {n}.",
        rejected="I would rather not say. " * (n + 1),
        chosen_score=4,
        rejected_score=1,
        chosen_finish="stop",
        rejected_finish="length",
    )
    for n in range(6)
]
COMMON = {"device": "cpu", "precision": "float32", "batch_size": 3, "save_steps": 1, "learning_rate": 1e-3}
SFT = SftSection(**COMMON, epochs=2, dropout=0)
DPO = DpoSection(**COMMON, epochs=1, dropout=0)


def in_process(job: TrainJob, stop_after: int | None = None) -> dict[str, torch.Tensor]:
    """Train without a child; `stop_after` raises after that many steps, as a kill would."""
    data = PAIRS if job.dpo else EXAMPLES
    job.folder.mkdir(parents=True, exist_ok=True)
    (job.folder / "data.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in data))
    (job.folder / "heldout.jsonl").write_text(EXAMPLES[0].model_dump_json() + "\n")

    def report(done: int, total: int, note: str) -> None:
        if done == stop_after:
            raise KeyboardInterrupt

    jobs.train_job(job, report)
    return load_file(job.target / "model.safetensors")


def job_of(model: Model, folder: Path, section: SftSection | DpoSection) -> TrainJob:
    kind = "dpo" if isinstance(section, DpoSection) else "sft"
    sections = {kind: section}
    return TrainJob(kind=kind, model=model.path, folder=folder, target=folder / "model", seed=0, **sections)


def assert_same(one, other, tolerance=1e-6):
    assert one.keys() == other.keys()
    for name in one:
        torch.testing.assert_close(one[name], other[name], atol=tolerance, rtol=0)


def test_sft_in_a_child_learns_and_leaves_one_plain_folder(tiny, tmp_path):
    seen = []
    made = train_sft(
        SFT,
        tiny,
        EXAMPLES,
        EXAMPLES[:2],
        folder=tmp_path / "sft",
        target=tmp_path / "model",
        report=lambda *figures: seen.append(figures),
    )
    summary = json.loads((tmp_path / "sft/summary.json").read_text())
    assert summary["heldout_loss"] < summary["heldout_loss_before"]
    assert summary["steps"] == 4
    assert [done for done, _, _ in seen] == [1, 2, 3, 4]
    log = [json.loads(line) for line in (tmp_path / "sft/log.jsonl").read_text().splitlines()]
    assert {"step", "loss", "learning_rate", "answer_length", "tokens_per_second"} <= set(log[0])
    assert log[-1]["learning_rate"] < log[0]["learning_rate"]
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= {path.name for path in made.iterdir()}
    assert not list(tmp_path.glob("**/*.bin"))
    assert not (tmp_path / "sft/checkpoints").exists()
    assert folder_digest(made) != tiny.digest


def test_dpo_in_a_child_starts_at_log_two_and_separates(tiny, tmp_path):
    train_dpo(DPO, tiny, PAIRS, EXAMPLES[:1], folder=tmp_path / "dpo", target=tmp_path / "model")
    log = [json.loads(line) for line in (tmp_path / "dpo/log.jsonl").read_text().splitlines()]
    wanted = {"chosen_logprob", "rejected_logprob", "margin", "accuracy", "chosen_length", "rejected_length"}
    assert wanted | {"chosen_reward", "rejected_reward", "learning_rate", "tokens_per_second"} <= set(log[0])
    assert log[0]["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert log[0]["margin"] == pytest.approx(0, abs=1e-5)
    assert log[-1]["margin"] > 0
    assert len((tmp_path / "dpo/reference.jsonl").read_text().splitlines()) == len(PAIRS)


@pytest.mark.parametrize("section", [SFT, DPO], ids=["sft", "dpo"])
def test_one_batch_or_many_micro_batches_give_the_same_weights(tiny, tmp_path, section):
    one = in_process(job_of(tiny, tmp_path / "one", section))
    small = section.model_copy(update={"micro_tokens": 64})
    assert_same(one, in_process(job_of(tiny, tmp_path / "many", small)), tolerance=1e-5)


@pytest.mark.parametrize("section", [SFT, DPO], ids=["sft", "dpo"])
def test_gradient_checkpointing_changes_memory_alone(tiny, tmp_path, section):
    one = in_process(job_of(tiny, tmp_path / "one", section))
    other = section.model_copy(update={"gradient_checkpointing": True})
    assert_same(one, in_process(job_of(tiny, tmp_path / "two", other)))


@pytest.mark.parametrize(
    "change", [{}, {"dropout": 0.1}, {"lora": LoraSection(rank=4, alpha=8)}], ids=["plain", "dropout", "lora"]
)
@pytest.mark.parametrize("section", [SFT, DPO], ids=["sft", "dpo"])
def test_a_stopped_training_ends_in_the_same_weights(tiny, tmp_path, section, change):
    """Interrupted after a checkpoint and one more step: order, moments, rate and dropout all come back."""
    section = section.model_copy(update=change | {"save_steps": 2, "epochs": 3})
    whole = in_process(job_of(tiny, tmp_path / "whole", section))
    cut = job_of(tiny, tmp_path / "cut", section)
    with pytest.raises(KeyboardInterrupt):
        in_process(cut, stop_after=3)
    assert checkpoint_to_resume(cut.folder / "checkpoints").name == "checkpoint-2"
    assert_same(whole, in_process(cut))
    summary = json.loads((cut.folder / "summary.json").read_text())
    assert summary["resumed_at"] == 2
    logs = [(tmp_path / name / "log.jsonl").read_text().splitlines() for name in ("whole", "cut")]
    losses = [[json.loads(line)["loss"] for line in lines] for lines in logs]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_adapters_are_merged_into_a_plain_model(tiny, tmp_path):
    section = SFT.model_copy(update={"lora": LoraSection(rank=4, alpha=8)})
    weights = in_process(job_of(tiny, tmp_path, section))
    start = load_file(tiny.path / "model.safetensors")
    assert weights.keys() == start.keys()
    changed = [name for name in start if not torch.equal(weights[name], start[name])]
    assert any("q_proj" in name for name in changed)
    assert not any("embed" in name for name in changed)


def test_dropout_happens_in_training_alone(tiny, tmp_path):
    plain = in_process(job_of(tiny, tmp_path / "one", SFT))
    dropped = in_process(job_of(tiny, tmp_path / "two", SFT.model_copy(update={"dropout": 0.3})))
    assert any(not torch.equal(plain[name], dropped[name]) for name in plain)
    start = [json.loads((tmp_path / name / "start.json").read_text()) for name in ("one", "two")]
    assert start[0] == start[1]


def test_data_that_is_all_too_long_is_refused_across_the_process(tiny, tmp_path):
    section = SFT.model_copy(update={"max_length": 16})
    with pytest.raises(TrainingError, match="max_length=16"):
        train_sft(section, tiny, EXAMPLES, [], folder=tmp_path / "sft", target=tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_child_that_dies_says_how_to_go_on(tiny, tmp_path, monkeypatch):
    (tmp_path / "job.json").write_text(job_of(tiny, tmp_path, SFT).model_dump_json())
    monkeypatch.setattr("srlm.training.launchers.choosing.sys.executable", "/bin/false")
    with pytest.raises(TrainingError, match="goes on from the last checkpoint"):
        run_job(tmp_path / "job.json")
    killed = tmp_path / "killed"
    killed.write_text("#!/bin/sh\nkill -9 $$\n")
    killed.chmod(0o755)
    monkeypatch.setattr("srlm.training.launchers.choosing.sys.executable", str(killed))
    with pytest.raises(TrainingError, match="memory ran out"):
        run_job(tmp_path / "job.json")
    monkeypatch.setattr("srlm.training.launchers.choosing.sys.executable", "/bin/false")
    monkeypatch.setattr("srlm.training.runner.FULL_DISK", 2**80)
    with pytest.raises(RunError, match="the disk is full"):
        run_job(tmp_path / "job.json")


def test_a_loss_that_is_no_number_stops_the_training(tiny, tmp_path):
    section = SFT.model_copy(update={"learning_rate": 1e30, "max_grad_norm": 1e30})
    with pytest.raises(TrainingError, match="every later weight would be no number"):
        in_process(job_of(tiny, tmp_path, section))
    assert not (tmp_path / "model").exists()


def test_dropout_acts_on_what_adapters_add(tiny):
    section = SFT.model_copy(update={"dropout": 0.5, "lora": LoraSection(rank=4)})
    model = load_policy(tiny.path, section)
    hooked = [module for module in model.modules() if module._forward_hooks and hasattr(module, "lora_A")]
    assert len(hooked) == 4  # attention and MLP of two layers


def test_bfloat16_products_train_nearly_as_float32(tiny, tmp_path):
    losses = []
    for name in ("float32", "bfloat16"):
        in_process(job_of(tiny, tmp_path / name, SFT.model_copy(update={"precision": name})))
        losses.append(json.loads((tmp_path / name / "summary.json").read_text())["heldout_loss"])
    assert losses[1] == pytest.approx(losses[0], rel=0.02)


def test_a_finished_model_is_not_trained_again_by_a_late_child(tiny, tmp_path):
    """The parent was killed while its child was saving; the next child must leave the model alone."""
    job = job_of(tiny, tmp_path, SFT)
    job.target.mkdir(parents=True)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    run_job(tmp_path / "job.json")
    assert list(job.target.iterdir()) == []
