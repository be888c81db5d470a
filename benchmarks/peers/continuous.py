"""Continuous batching of transformers: `model.generate_batch`, paged attention over the running requests."""

import time
from itertools import groupby

from common import STARTED, encode, load, read_job, report, trim

PAGE = 32


def generate(model, tokenizer, prompts: list[list[int]], copies: int, settings: dict) -> list[list[int]]:
    """All answers' ids, up to and with EOS; every prompt is answered ``copies`` times."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    longest = max(map(len, prompts)) + settings["max_tokens"]
    running = settings["batch_size"]
    outputs = model.generate_batch(
        inputs=prompts,
        generation_config=GenerationConfig(
            max_new_tokens=settings["max_tokens"],
            do_sample=settings["temperature"] > 0,
            temperature=settings["temperature"],
            top_p=settings["top_p"],
            top_k=0,
            num_return_sequences=copies,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        continuous_batching_config=ContinuousBatchingConfig(
            page_size=PAGE,
            num_blocks=running * (-(-longest // PAGE) + 1),  # else it takes nine tenths of the memory
            max_batch_tokens=settings.get("max_batch_tokens", 512),
            max_requests_per_batch=running,
        ),
    )
    errors = [output.error for output in outputs.values() if output.error]
    if errors or len(outputs) != len(prompts) * copies:
        raise SystemExit(f"{len(outputs)} of {len(prompts) * copies} answers, errors: {errors[:3]}")
    return [trim(list(output.generated_tokens), tokenizer.eos_token_id) for output in outputs.values()]


def main() -> None:
    job = read_job()
    settings = job["settings"]
    tokenizer, model = load(job)
    hello = encode(tokenizer, [{"role": "user", "content": "Hello."}])
    generate(model, tokenizer, [hello], 2, settings | {"max_tokens": 4})
    startup = time.perf_counter() - STARTED
    started = time.perf_counter()
    prompts = [encode(tokenizer, item["messages"]) for item in job["items"]]
    answers = []
    for copies, places in groupby(
        sorted(range(len(prompts)), key=lambda place: job["items"][place]["n"]),
        key=lambda place: job["items"][place]["n"],
    ):
        answers += generate(model, tokenizer, [prompts[place] for place in places], copies, settings)
    report(
        time.perf_counter() - started,
        sum(map(len, prompts)),
        sum(map(len, answers)),
        startup,
        ["transformers"],
        attention=model.config._attn_implementation,
        requests_at_once=settings["batch_size"],
        page=PAGE,
        first=tokenizer.decode(answers[0])[:200],
    )


if __name__ == "__main__":
    main()
