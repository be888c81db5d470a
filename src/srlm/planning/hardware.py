"""Named GPUs as their vendors' data sheets describe them, and what is assumed about their use."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import Field, ValidationError

from srlm.config import Section
from srlm.errors import ConfigError

GIB = 2**30


@dataclass(frozen=True)
class GPU:
    """One kind of GPU. memory: GiB; flops: bf16 FLOP/s, dense; bandwidth and link: bytes/s.

    `link` is what leaves one GPU towards the others of its node: half of what data sheets sum up both ways.
    """

    name: str
    memory: float
    flops: float
    bandwidth: float
    link: float


GPUS = {
    gpu.name: gpu
    for gpu in (
        GPU("a10", 24, 125e12, 600e9, 32e9),
        GPU("a100-40gb", 40, 312e12, 1555e9, 300e9),
        GPU("a100", 80, 312e12, 2039e9, 300e9),
        GPU("l4", 24, 121e12, 300e9, 32e9),
        GPU("l40s", 48, 362e12, 864e9, 32e9),
        GPU("rtx4090", 24, 165e12, 1008e9, 32e9),
        GPU("h100-pcie", 80, 756e12, 2000e9, 300e9),
        GPU("h100", 80, 989e12, 3350e9, 450e9),
        GPU("h200", 141, 989e12, 4800e9, 450e9),
        GPU("b200", 180, 2250e12, 8000e9, 900e9),
        GPU("mi300x", 192, 1307e12, 5300e9, 448e9),
    )
}
"""The vendors' figures: without sparsity, SXM where nothing else is said."""


class Assumptions(Section):
    """What a plan takes for granted about hardware and failures, to be set by ``--assume key=value``."""

    reading: float = Field(0.5, gt=0, le=1, description="share of the FLOP/s reached while prompts are read")
    writing: float = Field(0.6, gt=0, le=1, description="share of the bandwidth reached while writing")
    training: float = Field(0.4, gt=0, le=1, description="share of the FLOP/s reached in training")
    memory: float = Field(0.9, gt=0, le=1, description="share of a GPU's memory that may be filled")
    rows: int = Field(256, ge=1, description="samples under way in a replica, at most")
    node: int = Field(8, ge=1, description="GPUs in a node")
    network_gb: float = Field(50, gt=0, description="GB/s that leave a GPU between nodes (400 Gbit/s)")
    disk_gb: float = Field(2, gt=0, description="GB/s at which a replica reads a model")
    dispatch: float = Field(0.05, ge=0, description="seconds that handing over a task takes")
    stragglers: float = Field(0.02, ge=0, lt=1, description="share of the replicas that are slow")
    slower: float = Field(3, ge=1, description="times as long as the others a slow replica takes")
    mtbf_hours: float = Field(
        50_000,
        gt=0,
        description="hours between failures of one GPU (arXiv 2407.21783: 419 in 54 days of 16,384)",
    )
    restart: float = Field(600, ge=0, description="seconds until a failed replica loads its model again")
    fill: float = Field(1, gt=0, le=1, description="share of its budget that an answer uses, in the tables")


def find_gpu(name: str) -> GPU:
    """The GPU of a name, whatever its case; raises ConfigError with the nearest one."""
    key = name.strip().lower()
    if key not in GPUS:
        near = difflib.get_close_matches(key, GPUS, n=1, cutoff=0.4)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise ConfigError(
            f"--gpu {name}",
            f"no GPU of this name is known{hint}",
            f"take one of {', '.join(GPUS)}",
        )
    return GPUS[key]


def assume(values: Mapping[str, object]) -> Assumptions:
    """The assumptions with some set otherwise; raises ConfigError with every mistake at once."""
    try:
        return Assumptions.model_validate(values)
    except ValidationError as error:
        lines = [_explain(dict(item)) for item in error.errors()]
        raise ConfigError(
            "--assume:\n    " + "\n    ".join(lines),
            "a plan with an impossible or unknown assumption would say nothing",
            f"the keys are {', '.join(Assumptions.model_fields)}",
        ) from error


def _explain(item: dict[str, object]) -> str:
    place = item["loc"]
    key = str(place[0]) if isinstance(place, tuple) and place else ""
    if item["type"] != "extra_forbidden":
        return f"{key}: {item['msg']} (got {item['input']!r})"
    near = difflib.get_close_matches(key, Assumptions.model_fields, n=1)
    return f"{key}: no such assumption" + (f"; did you mean {near[0]}?" if near else "")
