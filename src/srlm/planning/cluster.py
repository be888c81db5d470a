"""The plan of a recipe on a cluster: time, memory, disk, the bottleneck, what other settings would cost."""

from collections.abc import Sequence
from dataclasses import dataclass, field

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

    `replicas` and `strategy` None: as the recipe's `engine` and `launcher` say, or else the best and fsdp.
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
    cluster, rates = _laid_out(config, wanted)

    def times(of: Config) -> list[StepTime]:
        return time_steps(cluster, of, plan_steps(of, load_seed(of.data)), rates)

    def hours(of: Config) -> float:
        return sum(one.seconds for one in times(of)) / 3600

    found = times(config)
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
        alternatives(config, found, hours, what_ifs),
    )


def _laid_out(config: Config, wanted: Wanted) -> tuple[Cluster, Rates | None]:
    """The cluster, and the rates of this machine where it is made of machines like it."""
    if wanted.gpu:
        gpu, shape = find_gpu(wanted.gpu), shape_of(config.model.name, wanted.parameters)
        engine, launcher = config.engine, config.launcher
        replicas = wanted.replicas or getattr(engine, "replicas", None)
        way: Strategy = wanted.strategy or (launcher.strategy if hasattr(launcher, "strategy") else "fsdp")
        return lay_out(config, shape, wanted.gpus, gpu, wanted.given, replicas=replicas, strategy=way), None
    one = one_machine(config)
    if wanted.parameters or wanted.replicas or one.engine.kind != "local":
        raise ConfigError(
            f"--gpus {wanted.gpus} without --gpu",
            "machines like this one are measured with the recipe's own model and the engine local",
            "name the kind of GPU, as in --gpu h100, or leave --parameters and --replicas out",
        )
    model = resolve(config.model)
    rates = calibrate(one, model)
    return lay_out_measured(config, shape_of_folder(model.path), wanted.gpus, rates, wanted.given), rates
