"""Several workers through Ray Train: ``python -m srlm.training.launchers.ray JOB.json LAUNCHER`` drives them.

The driver is the child that `run_job` listens to: workers hand it what a child would have printed.
They need srlm installed and the run's folder at the same path.
"""

import importlib.util
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

from srlm.config import DpoSection, RayLauncherSection, SftSection
from srlm.cores import usable_cores
from srlm.errors import ConfigError, SrlmError
from srlm.process import end_with_parent, message_channel
from srlm.training.launchers.accelerate import refuse_adapters

NEEDED = ("ray", "pandas", "pyarrow", "fsspec", "tensorboardX")
"""What Ray Train imports."""
BEGUN = {"begun": True}
"""What a worker says as soon as it has a place."""


def check(launcher: RayLauncherSection, section: SftSection | DpoSection) -> None:
    """Raise ConfigError where Ray Train cannot be used, or never would find room for the workers."""
    if missing := [name for name in NEEDED if importlib.util.find_spec(name) is None]:
        raise ConfigError(
            "launcher.kind=ray",
            f"not installed in this environment: {', '.join(missing)}",
            "pip install 'ray[train]', here and on every machine of the cluster",
        )
    if launcher.strategy == "fsdp":
        refuse_adapters(section)
    if launcher.gpus and section.device == "cpu":
        raise ConfigError(
            f"launcher.gpus={launcher.gpus:g}",
            "the training has device=cpu, so they would stand idle",
            "set launcher.gpus=0, or the device to auto",
        )
    if not _joins(launcher):
        _check_machine(launcher)


def _check_machine(launcher: RayLauncherSection) -> None:
    """Raise ConfigError where Ray on this machine alone would never find room for the workers."""
    there = {"cores": usable_cores(), "GPUs": _gpus() if launcher.gpus else 0}
    wanted = {"cores": launcher.workers * launcher.cpus, "GPUs": launcher.workers * launcher.gpus}
    if missing := [name for name in wanted if wanted[name] > there[name]]:
        raise ConfigError(
            f"{_asked(launcher)}, on this machine alone",
            f"it has {' and '.join(f'{there[name]} {name}' for name in missing)}",
            "ask for less, or name a cluster with launcher.address",
        )


def _gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _asked(launcher: RayLauncherSection) -> str:
    return (
        f"launcher.workers={launcher.workers}, launcher.cpus={launcher.cpus:g}, "
        f"launcher.gpus={launcher.gpus:g} each"
    )


def command(launcher: RayLauncherSection, job: Path) -> list[str]:
    """The driver of a job."""
    start = [sys.executable, "-P", "-m", "srlm.training.launchers.ray"]
    return [*start, str(job.absolute()), launcher.model_dump_json()]


def main(path: str, launcher: RayLauncherSection) -> None:
    """Drive the workers of a job to its end, and tell the parent what they say."""
    channel = message_channel()
    end_with_parent()
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchConfig, TorchTrainer
    from ray.util.queue import Queue

    if _joins(launcher):
        ray.init(launcher.address)
    else:
        ray.init("local", num_cpus=usable_cores())  # whatever else of Ray runs on this machine
    said = Queue(actor_options={"num_cpus": 0})
    teller = threading.Thread(target=_tell, args=(said, channel, launcher), daemon=True)
    teller.start()
    resources = {"CPU": launcher.cpus} | ({"GPU": launcher.gpus} if launcher.gpus else {})
    TorchTrainer(
        _work,
        train_loop_config={"job": path, "strategy": launcher.strategy, "said": said},
        torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if launcher.gpus else "gloo"),
        scaling_config=ScalingConfig(
            num_workers=launcher.workers, use_gpu=bool(launcher.gpus), resources_per_worker=resources
        ),
        run_config=RunConfig(
            storage_path=str(Path(path).parent / "ray"),
            failure_config=FailureConfig(max_failures=launcher.max_failures),
        ),
    ).fit()
    said.put(None)
    teller.join()


def _joins(launcher: RayLauncherSection) -> bool:
    """Whether there is a cluster to join; else Ray is started here, and ends with this process."""
    return bool(launcher.address or os.environ.get("RAY_ADDRESS"))


def _tell(said: Any, channel: Any, launcher: RayLauncherSection) -> None:
    """Hand on what workers say until they are done; an error ends all, for it would come again."""
    from ray.util.queue import Empty

    try:
        message = said.get(timeout=launcher.start_timeout_s)
    except Empty:
        message = _as_message(_no_room(launcher))
    while message:
        if message != BEGUN:
            print(json.dumps(message), file=channel, flush=True)
        if "error" in message:
            import ray

            ray.shutdown()
            os._exit(1)
        message = said.get()


def _no_room(launcher: RayLauncherSection) -> ConfigError:
    """The error for workers that Ray has not placed; by itself it would wait for ever."""
    import ray

    there = ray.cluster_resources()
    return ConfigError(
        _asked(launcher),
        f"the cluster, of {there.get('CPU', 0):g} cores and {there.get('GPU', 0):g} GPUs, had no room for "
        f"them within {launcher.start_timeout_s:g} s",
        "ask for less, end what else holds the machines, or raise launcher.start_timeout_s where some are "
        "still to come; then run the same command again",
    )


def _as_message(error: SrlmError) -> dict[str, Any]:
    return {"error": type(error).__name__, "parts": [error.given, error.why, error.todo]}


def _work(given: dict[str, Any]) -> None:
    """One worker: the same as a child, but what it says goes to the driver."""
    from srlm.training.child import work
    from srlm.training.runner import TrainJob

    if given["strategy"] == "fsdp":
        os.environ["ACCELERATE_USE_FSDP"] = "true"  # as accelerate's own launcher says it
    given["said"].put(BEGUN)
    job = TrainJob.model_validate_json(Path(given["job"]).read_text("utf-8"))
    try:
        work(job, lambda **one: given["said"].put(one))
    except SrlmError as error:
        given["said"].put(_as_message(error))
        raise


if __name__ == "__main__":
    from srlm.training.launchers.ray import main as driver  # by its name, by which workers find it

    driver(sys.argv[1], RayLauncherSection.model_validate_json(sys.argv[2]))
