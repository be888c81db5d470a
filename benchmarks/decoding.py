"""Judging on a CPU: tokens a second with and without grouped attention and the rubric read once.

Thirty-two held-out answers, three judgments each, by the built-in model, the four ways in turn, three
times; medians. `torch` is the attention that transformers takes by itself.
"""

import statistics
import time

from srlm.config import JudgeSection, LocalEngineSection, ModelSection, SeedSection
from srlm.engines import local
from srlm.judging.eft import as_responses
from srlm.judging.rubric import load_rubric
from srlm.models import resolve
from srlm.seeds import load_seed
from srlm.stages.judgments import judge

WAYS = {
    "torch, whole prompts": (False, 10**6),
    "torch, rubric once": (False, local.SHARED_AT_LEAST),
    "grouped, whole prompts": (True, 10**6),
    "grouped, rubric once": (True, local.SHARED_AT_LEAST),
}


def main() -> None:
    model = resolve(ModelSection())
    answers = as_responses(load_seed(SeedSection()).heldout_ranked)[:32]
    section, rubric = JudgeSection(max_tokens=64, retries=0), load_rubric("additive")
    decode_grouped = local.decode_grouped
    rates: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(3):
        for name, (grouped, shared) in WAYS.items():
            local.decode_grouped = decode_grouped if grouped else lambda model: None
            local.SHARED_AT_LEAST = shared
            engine = local.LocalEngine(LocalEngineSection(device="cpu"), model)
            short = section.model_copy(update={"max_tokens": 1})
            list(judge(short, engine, rubric, answers[:1]))  # loads the model
            started = time.perf_counter()
            tokens = sum(
                item.num_tokens for block in judge(section, engine, rubric, answers) for item in block.records
            )
            rates[name].append(tokens / (time.perf_counter() - started))
            engine.close()
    slowest = statistics.median(rates["torch, whole prompts"])
    print("tokens written a second, median of three; ratio to the first row")
    for name, found in rates.items():
        median = statistics.median(found)
        print(f"{name:<24}{median:>7.0f} {median / slowest:>6.2f}   {[round(rate) for rate in found]}")


if __name__ == "__main__":
    main()
