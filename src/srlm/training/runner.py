"""A training job, and the child process that does it as its parent sees it: JSON in, figures on the way.

`run_job` starts ``python -m srlm.training.child JOB.json``, which resumes by itself from the newest
checkpoint, and listens to it.
"""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from srlm import errors
from srlm.config import DpoSection, SftSection
from srlm.errors import SrlmError, TrainingError, full_disk

FULL_DISK = 64 * 2**20
"""Bytes. A writer that ran out of space often says something else, such as an unexpected position."""


class TrainJob(BaseModel):
    """All that a training process needs to know; `stop_at` is a step to end at before the last."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["sft", "dpo"]
    model: Path
    folder: Path
    target: Path
    seed: int
    sft: SftSection | None = None
    dpo: DpoSection | None = None
    stop_at: int | None = None
    report_to: tuple[str, ...] = ()
    trust_remote_code: bool = False


def run_job(path: Path, report: Any = None) -> None:
    """Run a job in a child process until it ends; raises what it raised, or TrainingError."""
    command = [sys.executable, "-P", "-m", "srlm.training.child", str(path)]
    noise = path.parent / "stderr.txt"
    with (
        noise.open("w") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        ) as child,
    ):
        failure = None
        try:
            for line in child.stdout or ():
                message = json.loads(line)
                if "error" in message:
                    failure = getattr(errors, message["error"])(*message["parts"])
                elif report:
                    report(message["done"], message["total"], message["note"])
            child.wait()  # before its standard input closes, which would end it
        except BaseException:
            child.kill()
            raise
    if failure:
        raise failure
    if child.returncode:
        raise _crashed(path, child.returncode, noise)


def _crashed(path: Path, status: int, noise: Path) -> SrlmError:
    last = (noise.read_text(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
    if status == -9:
        return TrainingError(
            f"training of {path.parent}",
            "its process was killed, most likely because memory ran out",
            "lower micro_tokens, or set gradient_checkpointing=true; then run the same command again, "
            "which goes on from the last checkpoint",
        )
    if "No space left" in last or shutil.disk_usage(path.parent).free < FULL_DISK:
        return full_disk(f"training of {path.parent}", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    return TrainingError(
        f"training of {path.parent}",
        f"its process ended with status {status}: {last}",
        f"read {noise}; the run goes on from the last checkpoint when started again",
    )
