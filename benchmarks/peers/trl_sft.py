"""TRL's SFTTrainer with packing: short examples share rows of ``max_length`` tokens."""

import statistics
import tempfile
import time

from common import STARTED, load, read_job, report
from trl_dpo import as_chat, common_arguments, settled, step_timer


def leak(model, tokenizer) -> float:
    """How far an example's logits move when another is packed before it; rounding alone makes about 1e-4."""
    import torch

    def rows(numbers: list[int]) -> torch.Tensor:
        return torch.tensor([numbers], device=model.device)

    first, second = (
        tokenizer(text)["input_ids"] for text in ("Bread needs flour, water and time.", "The river is")
    )
    places = [*range(len(first)), *range(len(second))]
    with torch.inference_mode():
        alone = model(rows(second), use_cache=False).logits[0]
        packed = model(rows(first + second), position_ids=rows(places), use_cache=False).logits[0]
    return float((packed[len(first) :] - alone).abs().max())


def main() -> None:
    job = read_job()
    settings = job["settings"]
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    tokenizer, model = load(job, "float32")
    startup = time.perf_counter() - STARTED
    moved = leak(model, tokenizer)
    timer = step_timer()
    rows = [as_chat(item["prompt"], "completion", item["completion"]) for item in job["items"]]
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        trainer = SFTTrainer(
            model=model,
            args=SFTConfig(
                **common_arguments(settings, job["device"], folder), packing=True, packing_strategy="bfd"
            ),
            train_dataset=Dataset.from_list(rows),
            processing_class=tokenizer,
            callbacks=[timer],
        )
        prepared = time.perf_counter() - started
        num_rows = len(trainer.train_dataset)
        trainer.data_collator = timer.count(trainer.data_collator)
        trainer.train()
    seconds, tokens, counted = settled(timer.steps, timer.batches, settings)
    report(
        seconds,
        tokens,
        0,
        startup,
        ["transformers", "trl", "accelerate", "datasets"],
        steps_counted=counted,
        steps=timer.steps,
        median_step=statistics.median(timer.steps),
        preparing_seconds=prepared,
        all_tokens=sum(timer.batches),
        examples=len(rows),
        packed_rows=num_rows,
        rows_a_step=settings["batch_size"],
        attention=model.config._attn_implementation,
        logits_moved_by_a_neighbour=moved,
        losses=[entry["loss"] for entry in trainer.state.log_history if "loss" in entry],
    )


if __name__ == "__main__":
    main()
