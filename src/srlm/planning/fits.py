"""What would make a training fit that does not."""

import math
from collections.abc import Callable, Sequence

from srlm.config import TrainingSection
from srlm.planning.hardware import GIB
from srlm.planning.layout import Cluster
from srlm.planning.memory import Strategy, training_memory

MOST_GPUS = 16_384
LEAN = {"gradient_checkpointing": True, "micro_tokens": 1024}


def what_would_fit(cluster: Cluster, sections: Sequence[TrainingSection]) -> str:
    """What would make the trainings fit a rank's memory, in words; empty where they do.

    Adapters are never to be divided over the ranks, which launchers refuse.
    """
    strategy, gpus = cluster.strategy, cluster.gpus
    room = cluster.given.memory * cluster.gpu.memory * GIB if cluster.gpu else math.inf

    def fit(trained: Sequence[TrainingSection], way: Strategy, ranks: int) -> bool:
        return all(training_memory(cluster.shape, one, way, ranks).total <= room for one in trained)

    if fit(sections, strategy, gpus):
        return ""
    adapted = any(section.lora for section in sections)
    divided: Strategy = "ddp" if adapted else "fsdp" if strategy == "ddp" else strategy
    if divided != strategy and gpus > 1 and fit(sections, divided, gpus):
        return "--strategy fsdp, which divides weights, gradients and moments over the ranks"
    lean = [section.model_copy(update=LEAN) for section in sections]
    keys = "gradient_checkpointing=true and micro_tokens=1024 of sft and dpo"
    if fit(lean, strategy, gpus):
        return keys
    if enough := _fewest(lambda ranks: fit(sections, divided, ranks)):
        return f"{enough:,} GPUs with --strategy {divided}"
    if enough := _fewest(lambda ranks: fit(lean, divided, ranks)):
        return f"{enough:,} GPUs with --strategy {divided} and {keys}"
    return f"GPUs with more memory than {room / GIB:.0f} GiB to fill"


def _fewest(fits: Callable[[int], bool]) -> int | None:
    """The smallest number of ranks that fits, or None; where some fit, so do more."""
    low, high = 1, MOST_GPUS
    if not fits(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle + 1, high)
    return low
