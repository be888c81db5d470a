"""A cluster laid out for a model: how many replicas, and how large each is."""

import math
from dataclasses import dataclass

from srlm.config import Config, RayEngineSection, VllmEngineSection
from srlm.engines.ray.cluster import AHEAD
from srlm.errors import ConfigError, ModelError
from srlm.planning.hardware import GIB, GPU, GPUS, Assumptions
from srlm.planning.machine import one_machine
from srlm.planning.memory import Strategy, longest_request, replica_memory
from srlm.planning.rates import Rates, ReplicaCost, measured_cost, replica_cost
from srlm.planning.shapes import ModelShape
from srlm.planning.steps import Requests
from srlm.stages.replies import MOST_THREADS

PARALLEL = (1, 2, 4, 8)
"""Over how many GPUs of a node a replica's weights are divided."""
FEWEST_ROWS = 4
"""Samples that a replica must hold beside its weights to be worth running."""


@dataclass(frozen=True)
class Cluster:
    """GPUs, as replicas while they write and as ranks while they train; `gpu` None: like this machine.

    `task`: requests that a replica is handed at a time, `engine.block`.
    """

    gpus: int
    gpu: GPU | None
    replicas: int
    tensor_parallel: int
    strategy: Strategy
    shape: ModelShape
    given: Assumptions
    cost: ReplicaCost
    task: int

    def open_blocks(self, asked: Requests, replicas: int | None = None) -> int:
        """Blocks of records that a stage has open: as many as keep all replicas busy (stages/replies)."""
        if asked.sequential:
            return 1
        wanted = AHEAD * (replicas or self.replicas) * self.task
        return min(MOST_THREADS, math.ceil(wanted / asked.block))


def lay_out(
    config: Config,
    shape: ModelShape,
    gpus: int,
    gpu: GPU,
    given: Assumptions,
    *,
    replicas: int | None = None,
    strategy: Strategy = "fsdp",
) -> Cluster:
    """A cluster of named GPUs; replicas are as large as writes most a GPU, where nothing else is said.

    Raises ConfigError for numbers that cannot be, ModelError for a model that no replica holds.
    """
    engine = one_machine(config).engine
    smallest = engine.tensor_parallel if isinstance(engine, VllmEngineSection) else 1
    _check_numbers(gpus, replicas, smallest)
    context = longest_request(config)
    sizes = [size for size in PARALLEL if size <= min(gpus, given.node)]
    if smallest > 1:
        sizes = [smallest]
    elif replicas:
        sizes = [size for size in sizes if size <= gpus // replicas][-1:]
    held = {size: replica_memory(shape, gpu, given, size, context).rows for size in sizes}
    fit = [size for size in sizes if held[size] >= FEWEST_ROWS]
    if not fit:
        raise _no_replica_fits(shape, gpu, given, context, gpus=gpus, replicas=replicas)
    costs = {size: replica_cost(gpu, shape, given, size, rows=held[size], context=context) for size in fit}
    way: Strategy = strategy if gpus > 1 else "ddp"  # one rank divides nothing
    best = min(fit, key=lambda size: size * costs[size].written(held[size]))
    return Cluster(gpus, gpu, replicas or gpus // best, best, way, shape, given, costs[best], _task(config))


def lay_out_measured(
    config: Config, shape: ModelShape, machines: int, rates: Rates, given: Assumptions
) -> Cluster:
    """So many machines like this one, a replica and a rank each."""
    _check_numbers(machines, None)
    cost = measured_cost(rates, given, 2 * shape.parameters / (given.disk_gb * 1e9))
    return Cluster(machines, None, machines, 1, "ddp", shape, given, cost, _task(config))


def _task(config: Config) -> int:
    """Requests that a replica is handed at a time, by a recipe that is not for Ray as by default."""
    return (config.engine if isinstance(config.engine, RayEngineSection) else RayEngineSection()).block


def _check_numbers(gpus: int, replicas: int | None, smallest: int = 1) -> None:
    """Raise ConfigError where replicas of at least so many GPUs have no room."""
    if gpus < 1:
        raise ConfigError(f"--gpus {gpus}", "nothing runs on no GPU", "give at least one")
    if smallest > gpus:
        raise ConfigError(
            f"engine.tensor_parallel={smallest} with --gpus {gpus}",
            "a replica would need more GPUs than there are",
            f"give --gpus {smallest} or more, or a smaller engine.tensor_parallel",
        )
    if replicas is not None and not 1 <= replicas <= gpus // smallest:
        raise ConfigError(
            f"{replicas} replicas with --gpus {gpus}",
            f"a replica needs {smallest} GPUs" if smallest > 1 else "a replica needs a GPU at least",
            f"set --replicas, or engine.replicas, to a number from 1 to {gpus // smallest}, or leave it out",
        )


def _no_replica_fits(
    shape: ModelShape, gpu: GPU, given: Assumptions, context: int, *, gpus: int, replicas: int | None
) -> ModelError:
    """The error for a model that no replica on this cluster holds; it says what would."""
    size = (
        f"{shape.parameters / 1e9:,.1f} billion weights ({2 * shape.parameters / GIB:,.0f} GiB in bfloat16)"
    )
    needed = _smallest(shape, gpu, given, context)
    if needed:
        enough = f"give --gpus {needed * (replicas or 1)} or more"
        fewer = f", or --replicas {gpus // needed}" if replicas and gpus >= needed else ""
        return ModelError(
            f"{size} on {gpus} x {gpu.name}" + (f" as {replicas} replicas" if replicas else ""),
            f"a replica needs {needed} of these GPUs for its weights and {FEWEST_ROWS} samples",
            enough + fewer,
        )
    most = PARALLEL[-1]
    others = [(n, name) for name, kind in GPUS.items() if (n := _smallest(shape, kind, given, context))]
    room = max(kind.memory for kind in GPUS.values()) * given.memory * most * GIB
    return ModelError(
        f"{size} on {gpu.name}",
        f"{most} of them hold {most * given.memory * gpu.memory:,.0f} GiB, and weights with {FEWEST_ROWS} "
        "samples need more" + ("" if others else "; no named GPU holds it"),
        f"take, for a replica, {' or '.join(f'{n} x {name}' for n, name in others)}"
        if others
        else f"take a smaller model: about {room / 2e9:,.0f} billion weights would fit {most} of the largest",
    )


def _smallest(shape: ModelShape, gpu: GPU, given: Assumptions, context: int) -> int | None:
    """The smallest replica on such GPUs, or None."""
    sizes = [size for size in PARALLEL if size <= given.node]
    held = (size for size in sizes if replica_memory(shape, gpu, given, size, context).rows >= FEWEST_ROWS)
    return next(held, None)
