"""Who starts the processes of a training."""

from typing import Literal

from pydantic import Field

from srlm.config.base import Section

Strategy = Literal["ddp", "fsdp", "deepspeed"]


class ProcessLauncherSection(Section):
    """One child process on one device."""

    kind: Literal["process"] = "process"


class InlineLauncherSection(Section):
    """This very process, for tests and debuggers: its memory stays, and a crash ends the run."""

    kind: Literal["inline"] = "inline"


class AccelerateLauncherSection(Section):
    """Several processes through `accelerate launch`, on this machine or as its own config file says.

    A launcher is no part of what a step is: a training that was begun with one goes on with another.
    """

    kind: Literal["accelerate"] = "accelerate"
    config_file: str | None = Field(
        None, description="one of `accelerate config`; empty: made from the two keys below"
    )
    processes: int | None = Field(None, ge=1, description="empty: one a GPU of this machine, without any one")
    strategy: Strategy = Field(
        "ddp",
        description="`ddp`: every process holds the model; `fsdp`: each a share of weights, gradients and "
        "moments (FSDP2); `deepspeed`: the same by ZeRO-3, where DeepSpeed is installed (untested)",
    )


class RayLauncherSection(Section):
    """Several workers through Ray Train, on one machine or many that share the run's folder."""

    kind: Literal["ray"] = "ray"
    address: str | None = Field(
        None, description="of a Ray cluster, or `auto`; empty: RAY_ADDRESS, else Ray is started here"
    )
    workers: int = Field(1, ge=1, description="processes that train together")
    cpus: float = Field(1, gt=0, description="cores that each worker asks Ray for")
    gpus: float = Field(0, ge=0, description="GPUs that each worker asks Ray for; 0: it trains on the CPU")
    strategy: Literal["ddp", "fsdp"] = Field("ddp", description="as for `accelerate`")
    max_failures: int = Field(
        0, ge=0, description="times that Ray starts the workers anew, from the last checkpoint, when one dies"
    )
    start_timeout_s: float = Field(
        600, gt=0, description="seconds to wait for room for the workers, as for machines that a cluster adds"
    )


LauncherSection = (
    ProcessLauncherSection | InlineLauncherSection | AccelerateLauncherSection | RayLauncherSection
)
