"""Several processes through `accelerate launch`: its config file made or checked, and the command."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import yaml

from srlm.config import AccelerateLauncherSection, DpoSection, SftSection
from srlm.devices import device_of
from srlm.errors import ConfigError
from srlm.store.files import write_atomically

TYPES = {"ddp": "MULTI_GPU", "fsdp": "FSDP", "deepspeed": "DEEPSPEED"}
"""Of a strategy, what accelerate calls it; the first means CPUs as well, where `use_cpu` is set."""


def check(launcher: AccelerateLauncherSection, section: SftSection | DpoSection) -> None:
    """Raise ConfigError where the processes that are asked for cannot train together here."""
    settings = _read(launcher.config_file) if launcher.config_file else _derived(launcher, section)
    given = f"launcher.config_file={launcher.config_file}" if launcher.config_file else "the launcher"
    _check_kind(given, settings)
    _check_machines(given, settings)
    _check_gpus(launcher, settings, section)
    if settings["distributed_type"] == "DEEPSPEED" and importlib.util.find_spec("deepspeed") is None:
        raise ConfigError(
            f"{given} with DeepSpeed",
            "the package deepspeed is not installed in this environment",
            "install it, or set launcher.strategy=fsdp, which shares out the same",
        )
    if settings["distributed_type"] in {"FSDP", "DEEPSPEED"}:
        refuse_adapters(section)


def refuse_adapters(section: SftSection | DpoSection) -> None:
    """Raise ConfigError for LoRA, where the model is to be shared out."""
    if section.lora:
        raise ConfigError(
            "adapters (lora) on a model that is shared out over processes",
            "they are merged into whole weights in the end, and no process holds these",
            "set launcher.strategy=ddp: adapters need no moments of the weights below them",
        )


def command(launcher: AccelerateLauncherSection, section: SftSection | DpoSection, job: Path) -> list[str]:
    """`accelerate launch` of the child; a config file that is made stands beside the job."""
    path = Path(launcher.config_file) if launcher.config_file else job.parent / "accelerate.yaml"
    if not launcher.config_file:
        write_atomically(path, yaml.safe_dump(_derived(launcher, section)))
    start = [sys.executable, "-P", "-m", "accelerate.commands.launch", "--config_file", str(path)]
    return [*start, "--module", "srlm.training.child", str(job)]


def _derived(launcher: AccelerateLauncherSection, section: SftSection | DpoSection) -> dict[str, Any]:
    """What `accelerate config` would have written for the section's keys."""
    num_processes = launcher.processes or max(1, _num_gpus(section))
    alone = num_processes == 1 and launcher.strategy != "deepspeed"
    settings: dict[str, Any] = {
        "compute_environment": "LOCAL_MACHINE",
        "distributed_type": "NO" if alone else TYPES[launcher.strategy],
        "use_cpu": device_of(section.device) == "cpu",
        "num_machines": 1,
        "num_processes": num_processes,
        "main_process_port": 0,  # any that is free
        "mixed_precision": "no",  # the job's own precision counts
    }
    if settings["distributed_type"] == "FSDP":
        settings["fsdp_config"] = {"fsdp_version": 2, "fsdp_reshard_after_forward": True}
    if settings["distributed_type"] == "DEEPSPEED":
        settings["deepspeed_config"] = {"zero_stage": 3, "zero3_save_16bit_model": True}
    return settings


def _read(name: str) -> dict[str, Any]:
    """An accelerate config file; JSON is YAML, too."""
    try:
        settings = yaml.safe_load(Path(name).read_text("utf-8"))
        if not isinstance(settings, dict) or "distributed_type" not in settings:
            raise ValueError("it has no distributed_type")
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(
            f"launcher.config_file={name}",
            f"it is no config file of accelerate: {' '.join(str(error).split())}",
            "write one with `accelerate config --config_file FILE`, or leave the key empty and set "
            "launcher.processes and launcher.strategy",
        ) from error
    return {"num_machines": 1, "num_processes": 1, "use_cpu": False} | settings


def _check_kind(given: str, settings: dict[str, Any]) -> None:
    kind = settings["distributed_type"]
    if kind not in {"NO", *TYPES.values()}:
        raise ConfigError(
            f"{given}: distributed_type {kind}",
            "srlm trains under NO, MULTI_GPU (with use_cpu: true on CPUs), FSDP and DEEPSPEED",
            "run `accelerate config` again and choose one of these",
        )
    fsdp = {"fsdp_version": 1} | (settings.get("fsdp_config") or {})
    if kind == "FSDP" and str(fsdp["fsdp_version"]) != "2":
        raise ConfigError(
            f"{given}: fsdp_version {fsdp['fsdp_version']}",
            "srlm shards with FSDP2 alone",
            "set `fsdp_version: 2` under fsdp_config",
        )
    if settings.get("mixed_precision") in {"fp16", "fp8"}:
        raise ConfigError(
            f"{given}: mixed_precision {settings['mixed_precision']}",
            "precision belongs to a training's section, and is float32 or bfloat16",
            "set `mixed_precision: 'no'` there, and sft.precision and dpo.precision in the recipe",
        )


def _check_machines(given: str, settings: dict[str, Any]) -> None:
    missing = [key for key in ("main_process_ip", "main_process_port") if not settings.get(key)]
    if settings["num_machines"] > 1 and missing:
        raise ConfigError(
            f"{given}: {settings['num_machines']} machines",
            f"they cannot find each other: {' and '.join(missing)} is missing",
            "set both to those of the machine of rank 0, or set num_machines: 1, or use launcher.kind=ray",
        )


def _check_gpus(
    launcher: AccelerateLauncherSection, settings: dict[str, Any], section: SftSection | DpoSection
) -> None:
    here = int(settings["num_processes"]) // int(settings["num_machines"])
    num_gpus = _num_gpus(section)
    if settings["use_cpu"] != (device_of(section.device) == "cpu"):
        raise ConfigError(
            f"launcher.config_file={launcher.config_file}: use_cpu {settings['use_cpu']}",
            f"device={section.device} means {device_of(section.device)} on this machine",
            "let both say the same",
        )
    if num_gpus and here > num_gpus:
        raise ConfigError(
            f"{here} processes on this machine",
            f"each needs a GPU of its own, and there are {num_gpus}",
            f"ask for at most {num_gpus}, or set sft.device=cpu and dpo.device=cpu",
        )


def _num_gpus(section: SftSection | DpoSection) -> int:
    """GPUs that a section may use on this machine."""
    if device_of(section.device) == "cpu":
        return 0
    import torch

    return torch.cuda.device_count()
