"""transformers.Trainer with our order of batches, our micro-batches and our losses.

One item of the data loader is one whole optimiser batch, in the order that `training_order` fixed.
`training_step` does this process's passes of it: micro-batches that fit the memory. Each contributes its
exact share of the batch's loss, so without dropout neither their number nor that of the processes changes
anything but memory and time. Dropout is seeded by the step, so a resumed training drops what the
uninterrupted one would have dropped.
"""

import json
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from srlm.config import TrainingSection
from srlm.devices import device_of
from srlm.errors import TrainingError
from srlm.memory import give_back_memory
from srlm.records import seed_for
from srlm.store.files import write_atomically
from srlm.training.checkpoints import load_checkpoint, save_checkpoint
from srlm.training.sharding import is_sharded, reshard, whole_state
from srlm.training.tracking import keep_in, trackers
from srlm.training.world import World

Metrics = dict[str, float]
MicroLoss = Callable[[Any, list[int]], tuple[Tensor, Metrics]]
"""(model, item indices) of one micro-batch to its share of the loss and its sums of metrics."""

Report = Callable[[int, int, str], None]


class Order(Dataset[list[int]]):
    """The optimiser batches of the whole training, as lists of item indices."""

    def __init__(self, batches: list[list[int]]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> list[int]:
        return self._batches[index]


class LoopTrainer(Trainer):  # type: ignore[misc]
    """Trains on `order` with `passes` (of a batch, this process's) and `loss` (their shares of it)."""

    def __init__(
        self,
        model: Any,
        section: TrainingSection,
        folder: Path,
        seed: int,
        *,
        order: list[list[int]],
        passes: Callable[[list[int]], list[tuple[list[int], float]]],
        loss: Callable[[list[int]], MicroLoss],
        report: Report,
        report_to: Sequence[str] = (),
        world: World,
    ) -> None:
        tracking = trackers(report_to) if world.main else []
        keep_in(folder.parent.parent / "tracking" / f"{folder.parent.name}-{folder.name}", tracking)
        log = [LogFile(folder / "log.jsonl", report)] if world.main else []
        super().__init__(
            model=model,
            args=_arguments(section, folder, seed, len(order)),
            train_dataset=Order(order),
            callbacks=[*log, *tracking],
        )
        self.remove_callback(PrinterCallback)
        self._passes, self._loss, self._seed, self._world = passes, loss, seed, world
        self._metrics: Metrics = {}

    def get_train_dataloader(self) -> DataLoader[list[int]]:
        """Every batch in every process, which takes its share of each; accelerate would deal batches out."""
        return DataLoader(self.train_dataset, batch_size=1, collate_fn=lambda one: one[0])

    def training_step(self, model: Any, inputs: list[int], num_items_in_batch: Any = None) -> Tensor:
        """Backward passes of this process's share of an optimiser batch; returns the whole batch's loss."""
        torch.manual_seed(seed_for(self._seed, "dropout", self.state.global_step) + self._world.rank)
        model.train()
        loss_of, passes = self._loss(inputs), self._passes(inputs)
        total = torch.zeros((), device=self.args.device)
        sums: Metrics = {}
        for number, (group, weight) in enumerate(passes, start=1):
            last = number == len(passes)
            self.accelerator.gradient_state._set_sync_gradients(last)  # by which DeepSpeed steps
            with nullcontext() if last else self.accelerator.no_sync(model):
                loss, metrics = loss_of(model, group)
                # Gradients are averaged over processes, and the shares of a loss are to be summed.
                self.accelerator.backward(loss * (weight * self._world.size))
            total += weight * loss.detach()
            for name, value in metrics.items():
                sums[name] = sums.get(name, 0.0) + weight * value
        give_back_memory()  # or batches of ever other shapes leave holes that add up to gigabytes
        sums = self._world.summed(sums | {"loss": float(total)})
        total.fill_(sums.pop("loss"))
        self._metrics = {name: self._metrics.get(name, 0.0) + value for name, value in sums.items()}
        if not torch.isfinite(total):
            raise _diverged(self.state.global_step + 1, float(total))
        return total

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs |= self._metrics
            self._metrics = {}
        super().log(logs, start_time)

    def _prepare_for_training(self, max_steps: int, loader: Any, checkpoint: str | None) -> tuple[Any, Any]:
        """As Trainer's, but a sharded model is not wrapped, and the checkpoints are ours.

        DeepSpeed keeps its own, here as below.
        """
        if self.is_deepspeed_enabled:
            return super()._prepare_for_training(max_steps, loader, checkpoint)  # type: ignore[no-any-return]
        if is_sharded(self.model):
            reshard(self.model)  # for the optimiser is to see the shares
        self.create_optimizer()
        self.model_wrapped = self.accelerator.prepare_model(
            self.model, device_placement=False, evaluation_mode=is_sharded(self.model)
        )
        self.create_scheduler(num_training_steps=max_steps)
        if checkpoint:
            load_checkpoint(Path(checkpoint), *self._state_of_training())
        for name in ("model", "optimizer", "lr_scheduler"):
            setattr(self.callback_handler, name, getattr(self, name))
        self.callback_handler.train_dataloader = loader
        return self.model_wrapped, loader

    def _move_model_to_device(self, *_: Any) -> None:
        """Nothing: the model is where it belongs, or this process's share of it."""

    def _load_from_checkpoint(self, *_: Any) -> None:
        """Nothing: weights come back with the moments, once both are prepared."""

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        if self.is_deepspeed_enabled:
            super()._save_checkpoint(model, trial)
            return
        folder = Path(str(self.args.output_dir))
        save_checkpoint(folder, self.state, *self._state_of_training(), world=self._world)

    def whole_state(self) -> dict[str, Any] | None:
        """All weights, in the main process's memory, where none holds them; else None. All must call it."""
        if self.is_deepspeed_enabled:
            state: dict[str, Any] = self.accelerator.get_state_dict(self.model_wrapped)
            return state
        return whole_state(self.model) if is_sharded(self.model) else None

    def _state_of_training(self) -> tuple[Any, Any, Any]:
        return self.model, self.optimizer, self.lr_scheduler


def _diverged(step: int, loss: float) -> TrainingError:
    return TrainingError(
        f"optimiser step {step}",
        f"its loss is {loss}, so every later weight would be no number",
        "lower the section's learning_rate or set precision=float32, and run again with --redo STEP",
    )


class LogFile(TrainerCallback):  # type: ignore[misc]
    """Appends each step's figures to a JSONL file and reports them."""

    def __init__(self, path: Path, report: Report) -> None:
        self._path, self._report, self._since = path, report, 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Forget the steps after the checkpoint, which are done again: there is a line for every step."""
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        write_atomically(self._path, "".join(line + "\n" for line in lines[: state.global_step]))
        self._since = time.perf_counter()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if not logs or "loss" not in logs:
            return
        now = time.perf_counter()
        rate = logs["tokens"] / (now - self._since)
        self._since = now
        figures = {"step": state.global_step} | {k: v for k, v in logs.items() if k != "epoch"}
        with self._path.open("a") as file:
            file.write(json.dumps(figures | {"tokens_per_second": rate}) + "\n")
        self._report(state.global_step, state.max_steps, f"loss {logs['loss']:.3f}, {rate:.0f} tokens/s")


class StopAt(TrainerCallback):  # type: ignore[misc]
    """Ends the training after a step, with a checkpoint to go on from; what is planned stays as it is."""

    def __init__(self, step: int) -> None:
        self._step = step

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step >= self._step:
            control.should_save = control.should_training_stop = True


def _arguments(section: TrainingSection, folder: Path, seed: int, num_steps: int) -> TrainingArguments:
    arguments = TrainingArguments(
        output_dir=str(folder / "checkpoints"),
        num_train_epochs=1,
        per_device_train_batch_size=1,
        learning_rate=section.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr": section.min_learning_rate},
        warmup_steps=round(section.warmup * num_steps),
        weight_decay=section.weight_decay,
        max_grad_norm=section.max_grad_norm,
        bf16=section.precision == "bfloat16",
        use_cpu=device_of(section.device) == "cpu",
        gradient_checkpointing=section.gradient_checkpointing,
        save_strategy="steps",
        save_steps=section.save_steps,
        ddp_find_unused_parameters=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        run_name=f"{folder.parent.parent.name} {folder.parent.name}/{folder.name}",
        disable_tqdm=True,
        remove_unused_columns=False,
        seed=seed % 2**32,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # Trainer would spread over all GPUs with nn.DataParallel
    return arguments
