"""Rates of this machine in a few seconds: ``srlm plan`` runs it as a child and reads one JSON line."""

import json
import sys
import time
from pathlib import Path

from srlm.chat_format import chat_text, load_tokenizer
from srlm.config import LocalEngineSection, SftSection
from srlm.devices import device_of, dtype_of
from srlm.engines.base import Request
from srlm.engines.local import LocalEngine
from srlm.models import Model
from srlm.prefixes import prefix_tree
from srlm.records import ask
from srlm.training.batches import encode
from srlm.training.policy import answer_logprobs, load_policy
from srlm.training.rows import batch_of

TEXT = (
    "The tide tables for the harbour list two high waters a day, and the pilot reads both before breakfast. "
)
ROWS = 16


def generation_rates(section: LocalEngineSection, path: Path) -> tuple[float, float]:
    """(prefill, written) tokens a second: a long prompt a row, then one short prompt with a budget for all.

    What prompts begin with alike is read once, so those that are to be read differ from their first word, and
    the one in front of what is written takes almost no time.
    """
    engine = LocalEngine(section, Model("plan", path, ""))

    def timed(texts: list[str], budget: int) -> tuple[float, int]:
        """Seconds, and tokens written."""
        requests = [
            Request(
                id=str(i),
                conversation=ask(text),
                purpose="response",
                seed=i,
                max_tokens=budget,
                temperature=1.5,
            )
            for i, text in enumerate(texts)
        ]
        started = time.perf_counter()
        new = sum(reply.num_tokens for reply in engine.generate(requests))
        return time.perf_counter() - started, new

    prompts = [f"{i}. {TEXT * 12}" for i in range(ROWS)]
    timed(["Hello."] * ROWS, 4)
    reading, _ = timed(prompts, 1)
    writing, new = timed([TEXT] * ROWS, 48)
    engine.close()
    return num_distinct(prompts, path) / reading, new / writing


def num_distinct(prompts: list[str], path: Path) -> int:
    """Tokens that an engine reads of some prompts: what they begin with alike, a system turn, once."""
    tokenizer = load_tokenizer(path)
    texts = [chat_text(tokenizer, ask(prompt)) for prompt in prompts]
    return len(prefix_tree(tokenizer(texts, add_special_tokens=False)["input_ids"]).ids)


def training_rate(section: SftSection, path: Path) -> float:
    """Tokens a second of a forward and a backward pass, on rows as training lays them out."""
    import torch

    device = device_of(section.device)
    model = load_policy(path, section).to(device)
    tokenizer = load_tokenizer(path)
    items = [encode(tokenizer, f"{i}. {TEXT * 4}", TEXT * 4) for i in range(4)]
    batch = batch_of(model, items, tokenizer.pad_token_id)
    rate = 0.0
    for _ in range(2):  # the first warms up
        started = time.perf_counter()
        autocast = torch.autocast(
            device, dtype=torch.bfloat16, enabled=dtype_of(section.precision, device) == "bfloat16"
        )
        torch.autograd.backward(answer_logprobs(model, batch, autocast).sum())
        if device == "cuda":
            torch.cuda.synchronize()
        rate = batch.num_distinct / (time.perf_counter() - started)
    return rate


def main() -> None:
    """Read a job from standard input, write the rates."""
    job = json.load(sys.stdin)
    path = Path(job["model"])
    prefill, written = generation_rates(LocalEngineSection(**job["engine"]), path)
    print(
        json.dumps(
            {"prefill": prefill, "written": written, "trained": training_rate(SftSection(**job["sft"]), path)}
        )
    )


if __name__ == "__main__":
    main()
