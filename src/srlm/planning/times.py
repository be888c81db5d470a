"""What each step takes on a cluster, in a closed form, and what holds it up."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from srlm.config import Config, TrainingSection
from srlm.planning.layout import Cluster
from srlm.planning.memory import sharded_widths
from srlm.planning.rates import Rates
from srlm.planning.steps import Requests, Step


@dataclass(frozen=True)
class TrainingCost:
    """Seconds: a `token` of a rank; on the network `gather` a micro-batch and `reduce` an update."""

    token: float
    gather: float = 0.0
    reduce: float = 0.0


@dataclass(frozen=True)
class StepTime:
    """A step on a cluster. busy: share of the GPUs at work; limit: what holds it up, in a word or two."""

    step: Step
    seconds: float
    busy: float
    limit: str


def time_steps(
    cluster: Cluster, config: Config, steps: Sequence[Step], rates: Rates | None = None
) -> list[StepTime]:
    """Every step on the cluster; answers use `given.fill` of their budgets. `rates`: measured here."""
    return [_time(cluster, config, step, rates) for step in steps]


def training_cost(cluster: Cluster, section: TrainingSection, rates: Rates | None = None) -> TrainingCost:
    """What a rank's work and the network take.

    A token takes six FLOPs a weight (four where the weights themselves are not trained), two more where
    activations are computed again. FSDP and ZeRO-3 gather weights twice a micro-batch and scatter gradients
    once, in bfloat16 both; but FSDP sums gradients in float32, and gathers once, in float32, what stands
    outside of the blocks (8 bytes a weight in all, as training/sharding has it). DDP sums gradients once an
    update.
    """
    shape, gpu, given = cluster.shape, cluster.gpu, cluster.given
    if gpu is None:
        return TrainingCost(1 / rates.trained if rates else 0.0)
    flops = (4 if section.lora else 6) + (2 if section.gradient_checkpointing else 0)
    token = flops * shape.parameters / (gpu.flops * given.training)
    link = gpu.link if cluster.gpus <= given.node else min(gpu.link, given.network_gb * 1e9)
    others = (cluster.gpus - 1) / cluster.gpus
    trained = shape.adapters(section.lora) if section.lora else shape.parameters
    if cluster.strategy == "ddp":
        width = 4 if section.weights == "float32" else 2
        return TrainingCost(token, reduce=2 * width * trained * others / link)
    if cluster.strategy == "fsdp":
        gathered, summed = sharded_widths(section)
        width = 4 if section.weights == "float32" else 2
        moved = (2 * gathered + summed) * (shape.parameters - shape.root) + 2 * width * shape.root
    else:
        moved = 2 * (2 * shape.parameters + trained)
    return TrainingCost(token, gather=moved * others / link)


def _time(cluster: Cluster, config: Config, step: Step, rates: Rates | None) -> StepTime:
    if step.trained:
        section = config.dpo if step.name.endswith("/dpo") else config.sft
        return _time_training(cluster, section, step, rates)
    parts = [_time_requests(cluster, asked) for asked in step.requests]
    seconds = sum(part[0] for part in parts)
    if not seconds:
        return StepTime(step, 0.0, 0.0, "not known" if not step.requests else "")
    busy = sum(part[0] * part[1] for part in parts) / seconds
    return StepTime(step, seconds, busy, max(parts)[2])


def _time_requests(cluster: Cluster, asked: Requests) -> tuple[float, float, str]:
    """Seconds, the share of replicas that work, and what holds them up."""
    cost, given = cluster.cost, cluster.given
    under_way = min(asked.count, asked.block * cluster.open_blocks(asked))
    working = min(cluster.replicas, under_way)
    rows = under_way * asked.samples / working
    reading = (asked.prefill + working * asked.head) * cost.token
    answers = asked.generations * asked.budget * given.fill
    writing = answers * cost.written(rows)
    if working < cluster.replicas or rows < min(cost.rows, cost.step / cost.row):
        limit = "few rows"
    elif reading > writing:
        limit = "reading"
    else:
        limit = "bandwidth" if cost.step / min(rows, cost.rows) > cost.token else "FLOP/s"
    return (reading + writing) / working, working / cluster.replicas, limit


def _time_training(cluster: Cluster, section: TrainingSection, step: Step, rates: Rates | None) -> StepTime:
    """An update waits for the rank with most examples, and for the network where that takes longer."""
    cost = training_cost(cluster, section, rates)
    largest = math.ceil(section.batch_size / cluster.gpus) / section.batch_size
    tokens = step.trained / step.updates * largest
    micro_batches = max(1, math.ceil(tokens / section.micro_tokens))
    network = micro_batches * cost.gather + cost.reduce
    seconds = step.updates * max(tokens * cost.token, network)
    busy = step.trained * cost.token / cluster.gpus / seconds
    limit = (
        "network"
        if network > tokens * cost.token
        else "batch_size"
        if cluster.gpus > section.batch_size
        else "FLOP/s"
    )
    return StepTime(step, seconds, busy, limit)
