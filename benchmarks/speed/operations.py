"""Where the time goes, by kind of operation: a training step's micro-batch, reading and writing.

``python benchmarks/speed/operations.py`` keeps the figures in docs/performance/profile.json, and
benchmarks/pictures.py draws them. The profiler itself slows small operations down: read the shares, not the
seconds.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402
from limits import limits, median_seconds  # noqa: E402
from ours import requests_of  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402
from transformers import AutoConfig  # noqa: E402
from workloads import workloads  # noqa: E402

from srlm.chat_format import load_tokenizer  # noqa: E402
from srlm.config import DpoSection, LocalEngineSection, ModelSection  # noqa: E402
from srlm.engines.local import LocalEngine  # noqa: E402
from srlm.models import resolve  # noqa: E402
from srlm.training.batches import encode  # noqa: E402
from srlm.training.compiling import compiled  # noqa: E402
from srlm.training.dpo import TokenPair, dpo_micro_loss  # noqa: E402
from srlm.training.policy import load_policy  # noqa: E402
from srlm.training.rows import split  # noqa: E402

KEPT = HERE.parents[1] / "docs" / "performance" / "profile.json"
KINDS = {
    "linear layers and head": ("mm", "addmm", "linear", "mkldnn"),
    "attention": ("scaled_dot", "_scaled_dot", "_flash", "bmm", "baddbmm", "softmax", "_softmax"),
    "rows by index": ("index", "gather", "scatter", "embedding", "_embedding"),
    "choosing tokens": ("topk", "sort", "cumsum", "amax", "logsumexp", "searchsorted", "max"),
    "copies and casts": ("copy_", "_to_copy", "clone", "cat", "contiguous", "_cat", "stack"),
    "new memory": ("empty", "zeros", "zero_", "fill_", "resize", "new_", "full"),
    "compiled passes": ("Torch-Compiled", "CompiledFunction", "## Call CompiledFxGraph"),
    "norms, rotary, gates, sums": ("",),
}
"""Kind, and how the names of its operations begin; the last takes what is left."""


def autocast() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16)


def plain(*_: Any) -> nullcontext:
    return nullcontext()


def training(blocks: Callable[..., Any] = plain) -> dict:
    """Forward and backward pass of one micro-batch of the DPO workload."""
    source = resolve(ModelSection())
    items, tokenizer = workloads(source, 64, "cpu")["dpo"]["items"], load_tokenizer(source.path)
    pairs = [
        TokenPair(*(encode(tokenizer, item["prompt"], item[name]) for name in ("chosen", "rejected")))
        for item in items
    ]
    section = DpoSection(dropout=0)
    model = load_policy(source.path, section).train()
    share = dpo_micro_loss(pairs, [(0.0, 0.0)] * len(pairs), section, tokenizer.pad_token_id, autocast)
    group = split(model, pairs, section.micro_tokens)[0]
    loss_of = share(group)

    def pass_through() -> None:
        loss, _ = loss_of(model, group)
        loss.backward()

    with blocks(model, autocast):
        return shares(pass_through)


def reading() -> dict:
    """The prompts of the judging workload, and the probabilities of the grades after each."""
    return generation("expected")


def writing() -> dict:
    """32 tokens of every response of the workload."""
    return generation("responses", max_tokens=32)


def generation(name: str, **settings: int) -> dict:
    """A workload's requests, all of them."""
    source = resolve(ModelSection())
    engine, job = LocalEngine(LocalEngineSection(device="cpu"), source), workloads(source, 64, "cpu")[name]
    requests = requests_of(job["items"], job["settings"] | settings, "response")

    def answer() -> None:
        for _ in engine.generate(requests):
            pass

    return shares(answer)


def products() -> dict[str, float]:
    """GFLOP/s of the model's own products alone, by rows, and of a product of 4,096 by 4,096."""
    config = AutoConfig.from_pretrained(resolve(ModelSection()).path)
    width, wide = config.hidden_size, config.intermediate_size
    keys = width * config.num_key_value_heads // config.num_attention_heads
    shapes = [(width, width), (width, keys), (width, keys), (width, width)]
    shapes += [(width, wide), (width, wide), (wide, width)]
    weights = [torch.randn(one, other).bfloat16() for one, other in shapes] * 8  # more than the caches hold
    found = {"4,096 square": limits("cpu")["bfloat16_gflops"]}
    for rows in (256, 2048, 8192):
        given = {size: torch.randn(rows, size).bfloat16() for size in (width, wide)}
        seconds = median_seconds(lambda given=given: [given[len(each)] @ each for each in weights] and None)
        operations = 2 * rows * sum(each.numel() for each in weights)
        found[f"a block's, {rows:,} rows"] = operations / seconds / 1e9
    return found


def shares(work: Callable[[], None]) -> dict[str, dict[str, float]]:
    """Seconds of processor time by kind, and of the largest operations, the second time that it is done."""
    work()
    with profile(activities=[ProfilerActivity.CPU]) as found:
        work()
    kinds: Counter[str] = Counter()
    operations: Counter[str] = Counter()
    for event in found.key_averages():
        seconds = event.self_cpu_time_total / 1e6
        kinds[kind_of(event.key)] += seconds
        operations[event.key] += seconds
    return {"kinds": dict(kinds), "operations": dict(operations.most_common(25))}


def kind_of(operation: str) -> str:
    name = operation.partition("::")[2] or operation
    return next(kind for kind, starts in KINDS.items() if name.startswith(starts))


WORKS = {
    "training": training,
    "training, compiled": lambda: training(compiled),
    "reading": reading,
    "writing": writing,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=list(WORKS), choices=list(WORKS))
    asked = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    kept["products"] = products()
    print({name: round(rate) for name, rate in kept["products"].items()})
    for name in asked.only:
        kept[name] = WORKS[name]()
        total = sum(kept[name]["kinds"].values())
        print(name, f"{total:.2f} s")
        for kind, seconds in sorted(kept[name]["kinds"].items(), key=lambda item: -item[1]):
            print(f"  {kind:28} {seconds:7.2f} s {seconds / total:6.1%}")
        for operation, seconds in kept[name]["operations"].items():
            print(f"      {operation:40} {seconds:7.3f}")
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
