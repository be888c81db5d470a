"""The DPO trainer of self-rewarding-lm-pytorch on a few pairs; its reference runs again in every step."""

import time

from common import STARTED, load, now, read_job, report
from lucidrains_sample import bare

PAD = -1


def rows(tokenizer, item: dict) -> tuple[list[list[int]], int]:
    """Ids of both whole conversations, and the length of the prompt they share."""
    turn = {"role": "user", "content": item["prompt"]}

    def ids(messages: list[dict], prompt_only: bool = False) -> list[int]:
        text = tokenizer.apply_chat_template(messages, add_generation_prompt=prompt_only, tokenize=False)
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    both = [ids([turn, {"role": "assistant", "content": item[name]}]) for name in ("chosen", "rejected")]
    return both, len(ids([turn], prompt_only=True))


def main() -> None:
    job = read_job()
    settings = job["settings"]
    import torch
    from self_rewarding_lm_pytorch.dpo import DPO, DPOTrainer

    tokenizer, model = load(job, "float32")
    items = [rows(tokenizer, item) for item in job["items"]]
    width = min(settings["max_length"], max(len(ids) for both, _ in items for ids in both))
    seen: list[int] = []

    class Pairs(torch.utils.data.Dataset):
        def __len__(self) -> int:
            return len(items)

        def __getitem__(self, index: int):
            both, prompt = items[index]
            both = [ids[:width] for ids in both]
            seen.append(sum(map(len, both)))
            return *(torch.tensor(ids + [PAD] * (width - len(ids))) for ids in both), torch.tensor(prompt)

    class Timed(DPO):
        ends: list[float] = []  # noqa: RUF012

        def update_ema(self) -> None:
            super().update_ema()
            self.ends.append(now())

    dpo = Timed(bare(model, model.config.vocab_size), beta=settings["beta"], pad_id=PAD)
    num_steps = len(items) // settings["batch_size"]
    trainer = DPOTrainer(
        dpo,
        batch_size=settings["micro"],
        grad_accum_steps=settings["batch_size"] // settings["micro"],
        num_train_steps=num_steps,
        start_learning_rate=settings["learning_rate"],
        end_learning_rate=settings["learning_rate"] / 10,
        dropout=0.0,
        train_dataset=Pairs(),
        accelerate_kwargs={
            "cpu": job["device"] == "cpu",
            "mixed_precision": "bf16" if settings["bf16"] else "no",
        },
    )
    startup = time.perf_counter() - STARTED
    started = time.perf_counter()
    trainer()
    times = [end - begin for begin, end in zip([started, *dpo.ends], dpo.ends, strict=False)]
    timed = times[1:] or times
    batch = settings["batch_size"]
    report(
        sum(timed),
        sum(seen[(len(times) - len(timed)) * batch : len(times) * batch]),
        0,
        startup,
        ["self-rewarding-lm-pytorch", "transformers", "accelerate", "ema-pytorch"],
        steps=times,
        steps_counted=len(timed),
        padded_to=width,
    )


if __name__ == "__main__":
    main()
