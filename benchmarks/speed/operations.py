"""Where the time goes, by kind of operation: a training step's micro-batch, and writing responses.

``python benchmarks/speed/operations.py`` keeps the figures in docs/performance/profile.json, and
benchmarks/pictures.py draws them. The profiler itself slows small operations down: read the shares, not the
seconds.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

import torch  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402
from workloads import workloads  # noqa: E402

from srlm.chat_format import load_tokenizer  # noqa: E402
from srlm.config import DpoSection, LocalEngineSection, ModelSection  # noqa: E402
from srlm.engines.base import Request  # noqa: E402
from srlm.engines.local import LocalEngine  # noqa: E402
from srlm.models import resolve  # noqa: E402
from srlm.records import ask  # noqa: E402
from srlm.training.batches import encode  # noqa: E402
from srlm.training.dpo import TokenPair, dpo_micro_loss  # noqa: E402
from srlm.training.policy import load_policy  # noqa: E402
from srlm.training.rows import split  # noqa: E402

KEPT = HERE.parents[1] / "docs" / "performance" / "profile.json"
KINDS = {
    "linear layers and head": ("mm", "addmm", "linear", "mkldnn"),
    "attention": ("scaled_dot", "_scaled_dot", "_flash", "bmm", "baddbmm", "softmax", "_softmax"),
    "rows by index": ("index", "gather", "scatter", "embedding", "_embedding"),
    "copies and casts": ("copy_", "_to_copy", "to", "clone", "cat", "contiguous", "_cat", "stack"),
    "new memory": ("empty", "zeros", "zero_", "fill_", "resize", "new_", "full"),
    "choosing tokens": ("topk", "sort", "cumsum", "amax", "logsumexp", "searchsorted", "max"),
    "norms, rotary, gates, sums": ("",),
}
"""Kind, and how the names of its operations begin; the last takes what is left."""


def training() -> Callable[[], None]:
    """Forward and backward pass of one micro-batch of the DPO workload."""
    source = resolve(ModelSection())
    items, tokenizer = workloads(source, 64)["dpo"]["items"], load_tokenizer(source.path)
    pairs = [
        TokenPair(*(encode(tokenizer, item["prompt"], item[name]) for name in ("chosen", "rejected")))
        for item in items
    ]
    section = DpoSection(dropout=0)
    model = load_policy(source.path, section).train()

    def autocast():
        return torch.autocast("cpu", dtype=torch.bfloat16)

    share = dpo_micro_loss(pairs, [(0.0, 0.0)] * len(pairs), 0.1, tokenizer.pad_token_id, autocast)
    group = split(model, pairs, section.micro_tokens)[0]
    loss_of = share(group)

    def pass_through() -> None:
        loss, _ = loss_of(model, group)
        loss.backward()

    return pass_through


def writing() -> Callable[[], None]:
    """32 tokens of every response of the workload."""
    source = resolve(ModelSection())
    engine = LocalEngine(LocalEngineSection(device="cpu"), source)
    requests = [
        Request(
            id=str(number),
            conversation=ask(item["messages"][0]["content"]),
            purpose="response",
            seed=number,
            n=4,
            temperature=0.7,
            top_p=0.9,
            max_tokens=32,
        )
        for number, item in enumerate(workloads(source, 64)["responses"]["items"])
    ]
    return lambda: list(engine.generate(requests)) and None


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="*", default=["training", "writing"])
    asked = parser.parse_args()
    kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for name in asked.only:
        kept[name] = shares({"training": training, "writing": writing}[name]())
        total = sum(kept[name]["kinds"].values())
        print(name, f"{total:.2f} s")
        for kind, seconds in sorted(kept[name]["kinds"].items(), key=lambda item: -item[1]):
            print(f"  {kind:28} {seconds:7.2f} s {seconds / total:6.1%}")
        for operation, seconds in kept[name]["operations"].items():
            print(f"      {operation:40} {seconds:7.3f}")
        KEPT.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
