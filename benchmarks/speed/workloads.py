"""What is timed: jobs for ours and for the peers, made of the built-in seed and a fixed generator alone."""

import random

from texts import text

from srlm.chat_format import load_tokenizer
from srlm.config import PromptsSection, SeedSection
from srlm.devices import dtype_of
from srlm.judging.eft import as_responses, eft_examples
from srlm.judging.rubric import load_rubric
from srlm.models import Model
from srlm.seeds import load_seed
from srlm.stages.prompts import _request

SAMPLING = {"temperature": 0.7, "top_p": 0.9}
VERDICT = r"(?im)^\W*score\W*:\W*(\d+)"


def workloads(model: Model, size: int, device: str) -> dict[str, dict]:
    """Jobs by name, for "cpu" or "cuda"; `size` prompts or responses (the targets: 64)."""
    seed, rubric = load_seed(SeedSection()), load_rubric("additive")
    prompts = [item.prompt for item in seed.instructions][:size]
    answers = as_responses(seed.ranked)[:size]
    judged = [turn(rubric.conversation(item.prompt, item.text)[0].content) for item in answers]
    writing = [
        turn(_request(PromptsSection(), seed.instructions, [], number, 1)[0].conversation[0].content)
        for number in range(size)
    ]
    taught = [*seed.instructions, *eft_examples(seed.ranked, rubric)]
    random.Random(3).shuffle(taught)
    dtype = dtype_of("auto", device)  # of every side: what this machine multiplies faster
    dpo = {"batch_size": 8, "micro": 2, "learning_rate": 5e-6, "beta": 0.1, "max_length": 1024}
    dpo |= {"bf16": dtype == "bfloat16"}
    jobs = {
        "responses": job(model, [turn(prompt) | {"n": 4} for prompt in prompts], max_tokens=128),
        "judging": job(model, [item | {"n": 3} for item in judged], max_tokens=96),
        "expected": job(
            model,
            [item | {"n": 1} for item in judged],
            max_tokens=1,
            prefix=rubric.before_grade,
            continuations=list(rubric.grades),
        ),
        "dpo": job(model, pairs(model, size // 2), **dpo),
        "sft": job(
            model,
            [{"prompt": item.prompt, "completion": item.response} for item in taught[: 2 * size]],
            **dpo | {"batch_size": 16},
        ),
        "round": job(
            model,
            [],
            max_tokens=128,
            prompt_requests=[item["messages"] for item in writing],
            rubric=rubric.text,
            verdict=VERDICT,
            pairs=size // 2,
            samples=4,
            judge_samples=3,
            judge_max_tokens=96,
            dpo=dpo,
        ),
    }
    return {name: each | {"device": device, "dtype": dtype} for name, each in jobs.items()}


def turn(content: str) -> dict:
    """An item whose conversation is one user turn."""
    return {"messages": [{"role": "user", "content": content}]}


def job(model: Model, items: list[dict], **settings) -> dict:
    """A job of the form that the peers' README describes."""
    return {"model": str(model.path), "threads": 2, "items": items, "settings": SAMPLING | settings}


def pairs(model: Model, number: int) -> list[dict]:
    """Prompts of 20 to 80 tokens with two answers of 40 to 400."""
    tokenizer, chance = load_tokenizer(model.path), random.Random(5)

    def words(low: int, high: int) -> str:
        ids = tokenizer(text(chance.getrandbits(30), high, high))["input_ids"]
        return tokenizer.decode(ids[: chance.randint(low, high)])

    return [
        {"prompt": words(20, 80), "chosen": words(40, 400), "rejected": words(40, 400)} for _ in range(number)
    ]
