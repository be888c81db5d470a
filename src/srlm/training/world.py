"""The processes that train together: who this one is, what all of them agree on, how work is shared out.

A launcher says so in the environment (RANK, WORLD_SIZE ...); without one a process is alone, and nothing here
communicates.
"""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist

V = TypeVar("V")

PATIENCE = timedelta(minutes=30)
"""For the others: one may be waiting for the lock of the folder, or writing."""
NOT_ASKED = ("ACCELERATE_USE_FSDP", "ACCELERATE_MIXED_PRECISION", "ACCELERATE_DYNAMO_BACKEND")
"""What accelerate would do of its own: sharding is ours, precision and compiling belong to the job."""


@dataclass(frozen=True)
class World:
    """`rank` of `size` processes; `sharded`: each holds a share of the model (FSDP) and not all of it."""

    rank: int = 0
    size: int = 1
    sharded: bool = False

    @property
    def main(self) -> bool:
        """Whether this is the process that writes files and reports."""
        return self.rank == 0

    def agreed(self, value: V) -> V:
        """What the main process gives, in all processes."""
        given = [value]
        if self.size > 1:
            dist.broadcast_object_list(given, src=0)
        return given[0]

    def summed(self, figures: Mapping[str, float]) -> dict[str, float]:
        """Each figure's sum over the processes, which give the same names."""
        if self.size == 1:
            return dict(figures)
        total = torch.tensor([figures[name] for name in sorted(figures)], dtype=torch.float64)
        dist.all_reduce(total)
        return dict(zip(sorted(figures), total.tolist(), strict=True))

    def measured(self, groups: list[list[int]], measure: Callable[[list[int]], Iterable[V]]) -> dict[int, V]:
        """What `measure` gives for every index of the groups, in all processes; each measures a share.

        All call it equally often, for a sharded model runs in all processes or in none.
        """
        found: dict[int, V] = {}
        for start in range(0, len(groups), self.size):
            mine = start + self.rank
            group = groups[mine if mine < len(groups) else start]
            found |= dict(zip(group, measure(group), strict=True))
        if self.size == 1:
            return found
        parts: list[dict[int, V]] = [{} for _ in range(self.size)]
        dist.all_gather_object(parts, found)
        return {index: value for part in reversed(parts) for index, value in part.items()}


def is_main() -> bool:
    """Whether this process is the main one, before it has joined the others."""
    return int(os.environ.get("RANK", "0")) == 0


def join(device: str) -> World:
    """This process's place among those that train together, once all of them are there."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    sharded = os.environ.get("ACCELERATE_USE_FSDP", "").lower() == "true"
    for name in NOT_ASKED:
        os.environ.pop(name, None)
    if size == 1:
        return World()
    if device == "cuda":
        own = os.environ.get("ACCELERATE_TORCH_DEVICE")  # by Ray, which may hide the others
        torch.cuda.set_device(torch.device(own or f"cuda:{os.environ['LOCAL_RANK']}"))
    if not dist.is_initialized():
        dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=PATIENCE)
    return World(dist.get_rank(), size, sharded)


def leave() -> None:
    """End the talk with the other processes, where there are any; a training that failed need not."""
    if dist.is_initialized():
        dist.destroy_process_group()


def unwrapped(model: Any) -> Any:
    """The model itself, where it is wrapped to average gradients over processes (DDP)."""
    return getattr(model, "module", model)
