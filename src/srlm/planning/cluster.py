"""The plan of a recipe on a cluster: time, memory, disk, the bottleneck, what other settings would cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from srlm.config import Config
from srlm.errors import ConfigError
from srlm.models import resolve
from srlm.planning.alternatives import Alternative, alternatives, dominating
from srlm.planning.fits import what_would_fit
from srlm.planning.hardware import Assumptions, find_gpu
from srlm.planning.layout import Cluster, lay_out, lay_out_measured
from srlm.planning.machine import one_machine
from srlm.planning.memory import (
    ReplicaMemory,
    Strategy,
    TrainingMemory,
    disk_bytes,
    longest_request,
    replica_memory,
    training_memory,
)
from srlm.planning.rates import Rates, calibrate
from srlm.planning.shapes import shape_of, shape_of_folder
from srlm.planning.steps import plan_steps
from srlm.planning.times import StepTime, time_steps
from srlm.seeds import load_seed


@dataclass(frozen=True)
class Wanted:
    """The cluster that is asked for. `gpu` None: machines like this one; `parameters`: of the model.

    `replicas` and `strategy` None: as the recipe's `engine` and `launcher` say, or else the best, and fsdp
    or, with adapters, ddp.
    """

    gpus: int
    gpu: str | None = None
    replicas: int | None = None
    strategy: Strategy | None = None
    parameters: int | None = None
    given: Assumptions = field(default_factory=Assumptions)


@dataclass(frozen=True)
class ClusterPlan:
    """A plan; memory by training section, empty for measured machines; disk in bytes by kind.

    `mends`: what would make the trainings fit, empty where they do.
    """

    cluster: Cluster
    times: list[StepTime]
    training: dict[str, TrainingMemory]
    replica: ReplicaMemory | None
    disk: dict[str, float]
    mends: str
    alternatives: list[Alternative]

    @property
    def hours(self) -> float:
        """Wall time of all steps, at most."""
        return sum(one.seconds for one in self.times) / 3600

    @property
    def bottleneck(self) -> tuple[str, float, str]:
        """The kind of step that takes longest, its share of the wall time, and what holds it up."""
        kind = dominating(self.times)
        of_kind = [one for one in self.times if one.step.name.endswith(f"/{kind}")]
        seconds = sum(one.seconds for one in of_kind)
        return kind, seconds / max(3600 * self.hours, 1e-12), max(of_kind, key=lambda one: one.seconds).limit


def plan_cluster(config: Config, wanted: Wanted, what_ifs: Sequence[str] = ()) -> ClusterPlan:
    """The plan of a recipe on the cluster that is asked for; raises ConfigError, ModelError."""
    rates = None if wanted.gpu else _measured(config, wanted)
    cluster = _laid_out(config, wanted, rates)
    found = _times(cluster, config, rates)

    def outcome(of: Config) -> tuple[float, str]:
        if rates:
            _check_measured(of, wanted, config.model.name)
        there = _laid_out(of, _without_what_differs(wanted, config, of), rates)
        hours = sum(one.seconds for one in _times(there, of, rates)) / 3600
        return hours, what_would_fit(there, [of.sft, of.dpo])

    shape, gpu = cluster.shape, cluster.gpu
    sections = {"sft": config.sft, "dpo": config.dpo} if gpu else {}
    context = longest_request(config)
    return ClusterPlan(
        cluster,
        found,
        {
            name: training_memory(shape, section, cluster.strategy, cluster.gpus)
            for name, section in sections.items()
        },
        replica_memory(shape, gpu, wanted.given, cluster.tensor_parallel, context) if gpu else None,
        disk_bytes(shape, config, [one.step for one in found]),
        what_would_fit(cluster, [config.sft, config.dpo]),
        alternatives(config, found, outcome, what_ifs),
    )


def _times(cluster: Cluster, config: Config, rates: Rates | None) -> list[StepTime]:
    return time_steps(cluster, config, plan_steps(config, load_seed(config.data)), rates)


def _laid_out(config: Config, wanted: Wanted, rates: Rates | None) -> Cluster:
    """The cluster for a recipe; `rates` of this machine where it is made of machines like it."""
    if rates:
        shape = shape_of_folder(resolve(config.model).path)
        return lay_out_measured(config, shape, wanted.gpus, rates, wanted.given)
    shape = shape_of(config.model.name, wanted.parameters)
    way = wanted.strategy or _strategy(config)
    if way != "ddp" and wanted.gpus > 1 and _adapted(config):
        raise ConfigError(
            f"strategy {way} with adapters (sft.lora, dpo.lora)",
            "launchers refuse it: no process would hold the whole weights that they are merged into",
            "take ddp, or train all weights: sft.lora=null dpo.lora=null",
        )
    replicas: int | None = wanted.replicas or getattr(config.engine, "replicas", None)
    return lay_out(
        config,
        shape,
        wanted.gpus,
        find_gpu(wanted.gpu or ""),
        wanted.given,
        replicas=replicas,
        strategy=way,
    )


def _strategy(config: Config) -> Strategy:
    """What the launcher says, or else fsdp where it can be."""
    way: Strategy = getattr(config.launcher, "strategy", "ddp" if _adapted(config) else "fsdp")
    return way


def _adapted(config: Config) -> bool:
    return bool(config.sft.lora or config.dpo.lora)


def _without_what_differs(wanted: Wanted, config: Config, other: Config) -> Wanted:
    """What is asked for, without what another recipe says otherwise: an alternative changes something."""

    def same(section: str, key: str) -> bool:
        return getattr(getattr(other, section), key, None) == getattr(getattr(config, section), key, None)

    return replace(
        wanted,
        strategy=wanted.strategy if same("launcher", "strategy") else None,
        replicas=wanted.replicas if same("engine", "replicas") else None,
    )


def _measured(config: Config, wanted: Wanted) -> Rates:
    """The rates of this machine; raises ConfigError where they would say nothing of what is asked for."""
    _check_measured(config, wanted, config.model.name)
    return calibrate(one_machine(config), resolve(config.model))


def _check_measured(config: Config, wanted: Wanted, model: str) -> None:
    """Raise ConfigError where rates of a model and the engine local say nothing of a recipe."""
    engine = one_machine(config).engine
    if wanted.parameters or wanted.replicas or engine.kind != "local" or config.model.name != model:
        raise ConfigError(
            f"--gpus {wanted.gpus} without --gpu",
            "machines like this one are measured with the recipe's own model and the engine local",
            "name the kind of GPU, as in --gpu h100, or leave --parameters and --replicas out",
        )
