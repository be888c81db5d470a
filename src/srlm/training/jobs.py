"""What the training processes do with a job: encode, train, measure the held-out loss, save.

All of them do the same, each on its share; the main one writes.
"""

import json
import shutil
import time
import warnings
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
from srlm.training.batches import Tokens, encode, passes_of, share_out, training_order
from srlm.training.checkpoints import checkpoint_to_resume
from srlm.training.compiling import compiled, pays
from srlm.training.dpo import Item, TokenPair, dpo_micro_loss, reference_logprobs, sequences_of
from srlm.training.losses import sum_by_sequence
from srlm.training.policy import answer_logprobs, load_policy
from srlm.training.rows import batch_of, split
from srlm.training.runner import TrainJob
from srlm.training.sft import sft_micro_loss
from srlm.training.sharding import shard
from srlm.training.trainer import LoopTrainer, Report, StopAt
from srlm.training.utilisation import utilisation
from srlm.training.world import World, join


def train_job(job: TrainJob, report: Report) -> None:
    """Train, resuming from the newest checkpoint, and leave the model in `job.target`.

    Does nothing where the model is there: a predecessor whose parent was killed may just have finished.
    """
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.filterwarnings("ignore", message="torch.distributed is disabled")  # a checkpoint of one process
    world = join(device_of(job.section.device))
    if world.agreed(job.target.exists()):
        return
    job = _in_a_precision(job, world)
    section = job.section
    tokenizer = load_tokenizer(job.model, trust_remote_code=job.trust_remote_code)
    items, beside, left_out = _lessons(job, section, tokenizer)
    model = _policy(job, section, world)
    before = _start_loss(job, section, model, tokenizer, world) if job.sft else None
    given, pad = (job, section, model, items), tokenizer.pad_token_id
    trainer = _trainer(*given, beside=beside, pad=pad, report=report, world=world)
    checkpoint = world.agreed(checkpoint_to_resume(job.folder / "checkpoints"))
    started = time.monotonic()
    with _blocks(section, model, items, world) as works:
        result = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if section.lora:
        model = model.merge_and_unload(safe_merge=True)
    losses = _heldout_losses(job, section, model, tokenizer, world)
    state = trainer.whole_state()
    if not world.main:
        return
    summary = {
        "items": len(items),
        "left_out_too_long": left_out,
        "steps": result.global_step,
        "planned_steps": trainer.state.max_steps,
        "seconds": round(time.monotonic() - started, 1),
        "processes": world.size,
        "sharded": world.sharded,
        "compiled": works,
        "precision": section.precision,
        "resumed_at": _step_of(checkpoint),
        "heldout_loss_before": before,
        "heldout_loss": _a_token(losses),
        "heldout_losses": [(round(nats, 4), num) for nats, num in losses],
        "peak_memory_gib": peak_memory_gib(),
        **utilisation(
            job.folder / "log.jsonl",
            model,
            section.precision,
            adapters=bool(section.lora),
            processes=world.size,
        ),
    }
    write_atomically(job.folder / "summary.json", json.dumps(summary, indent=1) + "\n")
    _save(job, model, tokenizer, state)


def _in_a_precision(job: TrainJob, world: World) -> TrainJob:
    """The job with what `auto` means on this machine, as the main process measures it."""
    section = job.section
    found = world.agreed(dtype_of(section.precision, device_of(section.device)))
    return job.model_copy(update={job.kind: section.model_copy(update={"precision": found})})


def _policy(job: TrainJob, section: TrainingSection, world: World) -> Any:
    """The model to train on its device, or this process's share of it."""
    model = load_policy(job.model, section, seed=job.seed, trust_remote_code=job.trust_remote_code)
    device = device_of(section.device)
    if world.sharded:
        shard(model, world.size, device, section.precision)
    else:
        model.to(device)
    return model


def _blocks(
    section: TrainingSection, model: Any, items: list[Item], world: World
) -> AbstractContextManager[bool]:
    """The model's blocks compiled, where that is asked for or pays; never in several processes."""
    sequences = [tokens for item in items for tokens in sequences_of(item)]
    num_tokens = round(section.epochs * sum(len(tokens.ids) for tokens in sequences))
    wanted = section.compile is True or (section.compile == "auto" and pays(model, num_tokens))
    if wanted and world.size == 1:
        return compiled(model, lambda: _autocast(section, model))
    return nullcontext(False)


def _trainer(
    job: TrainJob,
    section: TrainingSection,
    model: Any,
    items: list[Item],
    *,
    beside: int,
    pad: int,
    report: Report,
    world: World,
) -> LoopTrainer:
    def autocast() -> AbstractContextManager[Any]:
        return _autocast(section, model)

    if job.dpo:
        path = job.folder / "reference.jsonl"
        known = reference_logprobs(path, model, items, job.dpo, pad=pad, autocast=autocast, world=world)
        loss = dpo_micro_loss(items, known, job.dpo, pad, autocast)
    else:
        balance = job.sft.balance if job.sft else "tokens"
        examples = [item for item in items if isinstance(item, Tokens)]
        loss = sft_micro_loss(examples, pad, autocast, balance)

    def unit(index: int) -> tuple[Tokens, ...]:
        return sequences_of(items[index])

    def passes(batch: list[int]) -> list[tuple[list[int], float]]:
        costs = [sum(len(tokens.ids) for tokens in unit(index)) for index in batch]
        shares = [[batch[place] for place in share] for share in share_out(costs, world.size)]
        groups = [
            [[share[place] for place in group] for group in split(model, units, section.micro_tokens)]
            for share in shares
            for units in [[unit(index) for index in share]]
        ]
        return passes_of(groups, world.rank)

    order = training_order(len(items), section.batch_size, section.epochs, job.seed, beside=beside)
    trainer = LoopTrainer(
        model,
        section,
        job.folder,
        job.seed,
        order=order,
        passes=passes,
        loss=loss,
        report=report,
        report_to=job.report_to,
        world=world,
    )
    if job.stop_at:
        trainer.add_callback(StopAt(job.stop_at))
    return trainer


def _lessons(job: TrainJob, section: TrainingSection, tokenizer: Any) -> tuple[list[Item], int, int]:
    """All that is trained on, how many of the last stand beside the others, and how many were too long."""
    items, left_out = _items(job, section, tokenizer)
    beside, too_long = _beside(job, section, tokenizer)
    return items + beside, len(beside), left_out + too_long


def _items(job: TrainJob, section: TrainingSection, tokenizer: Any) -> tuple[list[Item], int]:
    """Encoded examples or pairs, and how many were left out as too long."""
    path = job.folder / "data.jsonl"
    items: list[Item] = []
    if job.dpo:
        items += [_token_pair(tokenizer, pair) for pair in read_records(path, Pair)]
    else:
        items += [encode(tokenizer, item.prompt, item.response) for item in read_records(path, Example)]
    found = _that_fit(items, section)
    if not found:
        raise TrainingError(
            f"{len(items)} items in {path}",
            f"none fits max_length={section.max_length} tokens",
            f"raise {job.kind}.max_length, or give shorter data",
        )
    return found, len(items) - len(found)


def _beside(job: TrainJob, section: TrainingSection, tokenizer: Any) -> tuple[list[Item], int]:
    """What stands beside the pairs of a DPO, encoded, and how many were left out as too long."""
    pairs, examples = (job.folder / f"beside_{kind}.jsonl" for kind in ("pairs", "examples"))
    items: list[Item] = []
    if pairs.exists():
        items += [_token_pair(tokenizer, pair) for pair in read_records(pairs, Pair)]
    if examples.exists():
        items += [encode(tokenizer, item.prompt, item.response) for item in read_records(examples, Example)]
    found = _that_fit(items, section)
    return found, len(items) - len(found)


def _that_fit(items: list[Item], section: TrainingSection) -> list[Item]:
    longest = [max(len(tokens.ids) for tokens in sequences_of(item)) for item in items]
    return [item for item, length in zip(items, longest, strict=True) if length <= section.max_length]


def _token_pair(tokenizer: Any, pair: Pair) -> TokenPair:
    chosen = encode(tokenizer, pair.prompt, pair.chosen, pair.chosen_finish)
    rejected = encode(tokenizer, pair.prompt, pair.rejected, pair.rejected_finish)
    return TokenPair(chosen, rejected, pair.label, pair.weight)


def _start_loss(
    job: TrainJob, section: TrainingSection, model: Any, tokenizer: Any, world: World
) -> float | None:
    """Held-out loss of the start model, kept in a file for a resumed training."""
    path = job.folder / "start.json"
    if not world.agreed(path.exists()):
        loss = _a_token(_heldout_losses(job, section, model, tokenizer, world))
        if world.main:
            write_atomically(path, json.dumps(loss))
        return loss
    kept: float | None = json.loads(path.read_text())
    return kept


@torch.no_grad()
def _heldout_losses(
    job: TrainJob, section: TrainingSection, model: Any, tokenizer: Any, world: World
) -> list[tuple[float, int]]:
    """Of every held-out instruction's answer the negative log-likelihood, in nats, and its target tokens."""
    model.eval()
    examples = read_records(job.folder / "heldout.jsonl", Example)
    items: list[Tokens] = [encode(tokenizer, item.prompt, item.response) for item in examples]

    def nats(group: list[int]) -> list[float]:
        batch = batch_of(model, [items[index] for index in group], tokenizer.pad_token_id)
        logprobs = answer_logprobs(model, batch, _autocast(section, model))
        return [-float(found) for found in sum_by_sequence(logprobs, batch.owners, len(group))]

    found = world.measured(split(model, [(item,) for item in items], section.micro_tokens), nats)
    return [(found[index], item.num_targets) for index, item in enumerate(items)]


def _a_token(losses: list[tuple[float, int]]) -> float | None:
    """The loss a target token over all of some answers."""
    return sum(nats for nats, _ in losses) / sum(num for _, num in losses) if losses else None


def _autocast(section: TrainingSection, model: Any) -> AbstractContextManager[Any]:
    if section.precision == "float32":
        return nullcontext()
    return torch.autocast(model.device.type, dtype=torch.bfloat16)


def _save(job: TrainJob, model: Any, tokenizer: Any, state: dict[str, Any] | None) -> None:
    """Weights (the model's own, or `state`) as safetensors, under their final name only when whole."""
    made = job.target.with_name(f".{job.target.name}.tmp")
    shutil.rmtree(made, ignore_errors=True)
    model.config.use_cache = True
    model.save_pretrained(made, state_dict=state)
    tokenizer.save_pretrained(made)
    publish_folder(made, job.target)


def _step_of(checkpoint: Path | None) -> int:
    return int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
