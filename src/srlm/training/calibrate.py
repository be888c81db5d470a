"""Rates of this machine in a few seconds: ``srlm plan`` runs it as a child and reads one JSON line."""

import json
import sys
import time
from pathlib import Path

from srlm.chat_format import load_tokenizer
from srlm.config import LocalEngineSection, SftSection
from srlm.devices import device_of, dtype_of
from srlm.engines.base import Request
from srlm.engines.local import LocalEngine
from srlm.models import Model
from srlm.records import ask
from srlm.training.batches import collate, encode
from srlm.training.policy import answer_logprobs, load_policy

TEXT = (
    "The tide tables for the harbour list two high waters a day, and the pilot reads both before breakfast. "
)
ROWS = 16


def generation_rates(section: LocalEngineSection, path: Path) -> tuple[float, float]:
    """(prefill, written) tokens a second: one long prompt a row, then a short prompt with a budget."""
    engine = LocalEngine(section, Model("plan", path, ""))

    def timed(text: str, budget: int) -> tuple[float, int, int]:
        requests = [
            Request(
                id=str(i),
                conversation=ask(text),
                purpose="response",
                seed=i,
                max_tokens=budget,
                temperature=1.5,
            )
            for i in range(ROWS)
        ]
        started = time.perf_counter()
        replies = list(engine.generate(requests))
        read, new = sum(r.num_prompt_tokens for r in replies), sum(r.num_tokens for r in replies)
        return time.perf_counter() - started, read, new

    timed("Hello.", 4)
    reading, read, _ = timed(TEXT * 12, 1)
    writing, _, new = timed(TEXT, 48)
    engine.close()
    return read / reading, new / writing


def training_rate(section: SftSection, path: Path) -> float:
    """Tokens a second of a forward and a backward pass."""
    import torch

    device = device_of(section.device)
    model = load_policy(path, section).to(device)
    tokenizer = load_tokenizer(path)
    batch = collate([encode(tokenizer, TEXT * 4, TEXT * 4)] * 4, tokenizer.pad_token_id).to(model.device)
    rate = 0.0
    for _ in range(2):  # the first warms up
        started = time.perf_counter()
        autocast = torch.autocast(
            device, dtype=torch.bfloat16, enabled=dtype_of(section.precision, device) == "bfloat16"
        )
        torch.autograd.backward(answer_logprobs(model, batch, autocast).sum())
        rate = batch.ids.numel() / (time.perf_counter() - started)
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
