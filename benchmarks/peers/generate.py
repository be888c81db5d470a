"""`transformers.generate` as its documentation shows it: padded batches of similar length."""

import time
from collections.abc import Iterator

from common import STARTED, encode, load, read_job, report, trim


def batches(prompts: list[list[int]], copies: list[int], batch_size: int) -> Iterator[tuple[list[int], int]]:
    """Indices of prompts and their number of answers, longest first; as many as fill ``batch_size``."""
    order = sorted(range(len(prompts)), key=lambda index: (copies[index], -len(prompts[index])))
    batch: list[int] = []
    for index in order:
        if batch and (
            copies[batch[0]] != copies[index] or (len(batch) + 1) * max(copies[index], 1) > batch_size
        ):
            yield batch, copies[batch[0]]
            batch = []
        batch.append(index)
    if batch:
        yield batch, copies[batch[0]]


def generate(
    model, tokenizer, prompts: list[list[int]], copies: list[int], settings: dict
) -> list[list[list[int]]]:
    """For each prompt its answers' ids, up to and with EOS."""
    import torch

    answers: list[list[list[int]]] = [[] for _ in prompts]
    for batch, n in batches(prompts, copies, settings["batch_size"]):
        rows = {"input_ids": [prompts[index] for index in batch]}
        padded = tokenizer.pad(rows, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            output = model.generate(
                **padded,
                max_new_tokens=settings["max_tokens"],
                do_sample=settings["temperature"] > 0,
                temperature=settings["temperature"] or None,
                top_p=settings["top_p"],
                top_k=0,  # else the library takes 50
                num_return_sequences=n,
                eos_token_id=tokenizer.eos_token_id,
                pad_token_id=tokenizer.pad_token_id,
            )
        new = output[:, padded["input_ids"].shape[1] :].tolist()
        for row, ids in enumerate(new):
            answers[batch[row // n]].append(trim(ids, tokenizer.eos_token_id))
    return answers


def warm_up(model, tokenizer, settings: dict) -> None:
    ids = encode(tokenizer, [{"role": "user", "content": "Hello."}])
    generate(model, tokenizer, [ids, ids[:-1]], [1, 1], settings | {"max_tokens": 4})


def main() -> None:
    job = read_job()
    settings = job["settings"]
    tokenizer, model = load(job)
    warm_up(model, tokenizer, settings)
    startup = time.perf_counter() - STARTED
    started = time.perf_counter()
    prompts = [encode(tokenizer, item["messages"]) for item in job["items"]]
    answers = generate(model, tokenizer, prompts, [item["n"] for item in job["items"]], settings)
    report(
        time.perf_counter() - started,
        sum(map(len, prompts)),
        sum(len(ids) for each in answers for ids in each),
        startup,
        ["transformers"],
        batch_size=settings["batch_size"],
        first=tokenizer.decode(answers[0][0])[:200],
    )


if __name__ == "__main__":
    main()
