"""What a run was made with: versions and hardware."""

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from srlm import __version__

PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "peft",
    "numpy",
    "scipy",
    "rapidfuzz",
    "pydantic",
    "gguf",
    "sacrebleu",
    "langdetect",
    "lm_eval",
    "datasets",
)


def describe_machine() -> dict[str, Any]:
    """Versions and hardware, as recorded in every run."""
    import psutil

    return {
        "srlm": __version__,
        "git": _git_revision(),
        "python": platform.python_version(),
        "packages": {name: found for name in PACKAGES if (found := _version_of(name))},
        "system": platform.platform(),
        "cpu": platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(logical=False) or psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "gpus": _gpus(),
    }


def _gpus() -> list[str]:
    """Names of the NVIDIA GPUs, asked of the driver's tool, so that torch need not be loaded."""
    tool = shutil.which("nvidia-smi")
    if not tool:
        return []
    asked = subprocess.run(
        [tool, "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, check=False
    )
    return asked.stdout.split("\n")[:-1] if asked.returncode == 0 else []


def _git_revision() -> str | None:
    """The revision of the checkout that srlm runs from; None where it is installed otherwise."""
    git, here = shutil.which("git"), Path(__file__)
    if not git:
        return None

    def said(*words: str) -> str:
        command = [git, "-C", str(here.parent), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()

    return said("rev-parse", "HEAD") or None if said("ls-files", here.name) else None


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
