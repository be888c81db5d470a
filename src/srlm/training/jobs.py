"""What the training process does with a job: encode, train, measure the held-out loss, save."""

import json
import shutil
import time
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from transformers.utils import logging

from srlm.chat_format import load_tokenizer
from srlm.config import TrainingSection
from srlm.devices import device_of, dtype_of
from srlm.errors import TrainingError
from srlm.memory import peak_memory_gib
from srlm.records import Example, Pair
from srlm.store.files import publish_folder, write_atomically
from srlm.store.jsonl import read_records
from srlm.training.batches import Tokens, encode, training_order
from srlm.training.compiling import compiled, pays
from srlm.training.dpo import TokenPair, dpo_micro_loss, reference_logprobs
from srlm.training.losses import sum_by_sequence
from srlm.training.policy import answer_logprobs, load_policy
from srlm.training.rows import batch_of, split
from srlm.training.runner import TrainJob
from srlm.training.sft import sft_micro_loss
from srlm.training.trainer import LoopTrainer, Report, StopAt, checkpoint_to_resume
from srlm.training.utilisation import utilisation


def train_job(job: TrainJob, report: Report) -> None:
    """Train, resuming from the newest checkpoint, and leave the model in `job.target`."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    job = _in_a_precision(job)
    section: TrainingSection = job.dpo or job.sft  # type: ignore[assignment]  # one of them is set
    tokenizer = load_tokenizer(job.model, trust_remote_code=job.trust_remote_code)
    items, left_out = _items(job, section, tokenizer)
    model = load_policy(job.model, section, seed=job.seed, trust_remote_code=job.trust_remote_code)
    model.to(device_of(section.device))
    before = _start_loss(job, section, model, tokenizer) if job.sft else None
    trainer = _trainer(job, section, model, items, pad=tokenizer.pad_token_id, report=report)
    checkpoint = checkpoint_to_resume(job.folder / "checkpoints")
    started = time.monotonic()
    with _blocks(section, model, items) as works:
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if section.lora:
        model = model.merge_and_unload(safe_merge=True)
    losses = _heldout_losses(job, section, model, tokenizer)
    summary = {
        "items": len(items),
        "left_out_too_long": left_out,
        "steps": result.global_step,
        "planned_steps": trainer.state.max_steps,
        "seconds": round(time.monotonic() - started, 1),
        "compiled": works,
        "precision": section.precision,
        "resumed_at": _step_of(checkpoint),
        "heldout_loss_before": before,
        "heldout_loss": _a_token(losses),
        "heldout_losses": [(round(nats, 4), num) for nats, num in losses],
        "peak_memory_gib": peak_memory_gib(),
        **utilisation(job.folder / "log.jsonl", model, section.precision, adapters=bool(section.lora)),
    }
    write_atomically(job.folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    _save(job, model, tokenizer)


def _in_a_precision(job: TrainJob) -> TrainJob:
    """The job with what `auto` means on this machine."""
    section: TrainingSection = job.dpo or job.sft  # type: ignore[assignment]
    found = dtype_of(section.precision, device_of(section.device))
    return job.model_copy(update={job.kind: section.model_copy(update={"precision": found})})


def _blocks(section: TrainingSection, model: Any, items: list[Any]) -> AbstractContextManager[bool]:
    """The model's blocks compiled, where that is asked for or pays."""
    sequences = [tokens for item in items for tokens in ([item] if isinstance(item, Tokens) else item)]
    num_tokens = round(section.epochs * sum(len(tokens.ids) for tokens in sequences))
    if section.compile is True or (section.compile == "auto" and pays(model, num_tokens)):
        return compiled(model, lambda: _autocast(section, model))
    return nullcontext(False)


def _trainer(
    job: TrainJob, section: TrainingSection, model: Any, items: list[Any], *, pad: int, report: Report
) -> LoopTrainer:
    def autocast() -> AbstractContextManager[Any]:
        return _autocast(section, model)

    if job.dpo:
        path = job.folder / "reference.jsonl"
        reference = reference_logprobs(path, model, items, job.dpo, pad=pad, autocast=autocast)
        loss = dpo_micro_loss(items, reference, job.dpo, pad, autocast)
    else:
        balance = job.sft.balance if job.sft else "tokens"
        loss = sft_micro_loss(items, pad, autocast, balance)

    def split_batch(batch: list[int]) -> list[list[int]]:
        units = [items[index] if job.dpo else (items[index],) for index in batch]
        groups = split(model, units, section.micro_tokens)
        return [[batch[place] for place in group] for group in groups]

    order = training_order(len(items), section.batch_size, section.epochs, job.seed)
    trainer = LoopTrainer(
        model,
        section,
        job.folder,
        job.seed,
        order=order,
        split=split_batch,
        loss=loss,
        report=report,
        report_to=job.report_to,
    )
    if job.stop_at:
        trainer.add_callback(StopAt(job.stop_at))
    return trainer


def _items(job: TrainJob, section: TrainingSection, tokenizer: Any) -> tuple[list[Any], int]:
    """Encoded examples or pairs, and how many were left out as too long."""
    path, found = job.folder / "data.jsonl", []
    items: list[Any] = []
    if job.dpo:
        for pair in read_records(path, Pair):
            chosen = encode(tokenizer, pair.prompt, pair.chosen, pair.chosen_finish)
            items.append(
                TokenPair(chosen, encode(tokenizer, pair.prompt, pair.rejected, pair.rejected_finish))
            )
        found = [pair for pair in items if all(len(item.ids) <= section.max_length for item in pair)]
    else:
        items = [encode(tokenizer, item.prompt, item.response) for item in read_records(path, Example)]
        found = [item for item in items if len(item.ids) <= section.max_length]
    if not found:
        raise TrainingError(
            f"{len(items)} items in {path}",
            f"none fits max_length={section.max_length} tokens",
            f"raise {job.kind}.max_length, or give shorter data",
        )
    return found, len(items) - len(found)


def _start_loss(job: TrainJob, section: TrainingSection, model: Any, tokenizer: Any) -> float | None:
    """Held-out loss of the start model, kept in a file for a resumed training."""
    path = job.folder / "start.json"
    if not path.exists():
        write_atomically(path, json.dumps(_a_token(_heldout_losses(job, section, model, tokenizer))))
    loss: float | None = json.loads(path.read_text())
    return loss


@torch.no_grad()
def _heldout_losses(
    job: TrainJob, section: TrainingSection, model: Any, tokenizer: Any
) -> list[tuple[float, int]]:
    """Of every held-out instruction's answer the negative log-likelihood, in nats, and its target tokens."""
    model.eval()
    examples = read_records(job.folder / "heldout.jsonl", Example)
    items: list[Tokens] = [encode(tokenizer, item.prompt, item.response) for item in examples]
    nats = [0.0] * len(items)
    for group in split(model, [(item,) for item in items], section.micro_tokens):
        batch = batch_of(model, [items[index] for index in group], tokenizer.pad_token_id)
        logprobs = answer_logprobs(model, batch, _autocast(section, model))
        for index, found in zip(group, sum_by_sequence(logprobs, batch.owners, len(group)), strict=True):
            nats[index] = -float(found)
    return [(found, item.num_targets) for found, item in zip(nats, items, strict=True)]


def _a_token(losses: list[tuple[float, int]]) -> float | None:
    """The loss a target token over all of some answers."""
    return sum(nats for nats, _ in losses) / sum(num for _, num in losses) if losses else None


def _autocast(section: TrainingSection, model: Any) -> AbstractContextManager[Any]:
    if section.precision == "float32":
        return nullcontext()
    return torch.autocast(model.device.type, dtype=torch.bfloat16)


def _save(job: TrainJob, model: Any, tokenizer: Any) -> None:
    """Weights as safetensors, under their final name only when whole."""
    made = job.target.with_name(f".{job.target.name}.tmp")
    shutil.rmtree(made, ignore_errors=True)
    model.config.use_cache = True
    model.save_pretrained(made)
    tokenizer.save_pretrained(made)
    publish_folder(made, job.target)


def _step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
