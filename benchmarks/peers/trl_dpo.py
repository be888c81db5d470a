"""TRL's DPOTrainer with the reference's log-probabilities computed once, before training."""

import statistics
import tempfile
import time

from common import STARTED, load, now, read_job, report


def as_chat(prompt: str, answer_name: str, answer: str) -> dict:
    return {
        "prompt": [{"role": "user", "content": prompt}],
        answer_name: [{"role": "assistant", "content": answer}],
    }


def step_timer():
    """A callback that notes what each optimiser step took, and how many real tokens went into it."""
    from transformers import TrainerCallback

    class Timer(TrainerCallback):
        def __init__(self) -> None:
            self.steps: list[float] = []
            self.batches: list[int] = []

        def on_step_begin(self, args, state, control, **kwargs):
            self.started = now()

        def on_step_end(self, args, state, control, **kwargs):
            self.steps.append(now() - self.started)

        def count(self, collate):
            """The collator, with the real tokens of each batch noted."""

            def counting(examples):
                batch = collate(examples)
                mask = batch.get("attention_mask")
                self.batches.append(int(mask.sum() if mask is not None else batch["input_ids"].numel()))
                return batch

            return counting

    return Timer()


def settled(steps: list[float], batches: list[int], settings: dict) -> tuple[float, int, int]:
    """Seconds and real tokens without the first step, where there is more than one; and steps counted."""
    first, each = int(len(steps) > 1), settings["batch_size"] // settings["micro"]
    # The loader is one batch ahead: what comes after the last step was not trained.
    return sum(steps[first:]), sum(batches[first * each : len(steps) * each]), len(steps) - first


def common_arguments(settings: dict, device: str, folder: str) -> dict:
    return {
        "output_dir": folder,
        "per_device_train_batch_size": settings["micro"],
        "gradient_accumulation_steps": settings["batch_size"] // settings["micro"],
        "learning_rate": settings["learning_rate"],
        "num_train_epochs": 1,
        "max_steps": settings.get("steps", -1),  # -1: the epoch
        "max_length": settings["max_length"],
        "bf16": settings["bf16"],
        "use_cpu": device == "cpu",
        "gradient_checkpointing": False,
        "torch_compile": settings.get("compile", False),
        "save_strategy": "no",
        "report_to": "none",
        "logging_steps": 1,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }


def train_dpo(model, tokenizer, items: list[dict], settings: dict) -> dict:
    """Trains ``model`` in place; what each part took."""
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    class Trainer(DPOTrainer):
        reference_seconds = 0.0

        def _precompute_ref_logps(self, *args, **kwargs):
            started = time.perf_counter()
            try:
                return super()._precompute_ref_logps(*args, **kwargs)
            finally:
                self.reference_seconds = time.perf_counter() - started

    timer = step_timer()
    rows = [
        as_chat(it["prompt"], "chosen", it["chosen"]) | as_chat(it["prompt"], "rejected", it["rejected"])
        for it in items
    ]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        trainer = Trainer(
            model=model,
            args=DPOConfig(
                **common_arguments(settings, model.device.type, folder),
                beta=settings["beta"],
                precompute_ref_log_probs=True,
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[timer],
        )
        prepared = time.perf_counter() - started - trainer.reference_seconds
        trainer.data_collator = timer.count(trainer.data_collator)
        started = time.perf_counter()
        trainer.train()
        training = time.perf_counter() - started
    seconds, tokens, counted = settled(timer.steps, timer.batches, settings)
    return {
        "seconds": seconds,
        "tokens": tokens,
        "steps_counted": counted,
        "steps": timer.steps,
        "median_step": statistics.median(timer.steps),
        "reference_seconds": trainer.reference_seconds,
        "preparing_seconds": prepared,
        "training_seconds": training,
        "all_tokens": sum(timer.batches),
        "losses": [entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
    }


def main() -> None:
    job = read_job()
    tokenizer, model = load(job, "float32")
    startup = time.perf_counter() - STARTED
    done = train_dpo(model, tokenizer, job["items"], job["settings"])
    report(
        done.pop("seconds"),
        done.pop("tokens"),
        0,
        startup,
        ["transformers", "trl", "accelerate", "datasets"],
        **done,
    )


if __name__ == "__main__":
    main()
