"""A training job, and the processes that do it as their parent sees them: JSON in, figures on the way.

`run_job` starts what the launcher says, by default ``python -m srlm.training.child JOB.json``, and listens to
it; the child, or each of several, resumes by itself from the newest checkpoint.
"""

import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from srlm import errors
from srlm.config import DpoSection, LauncherSection, ProcessLauncherSection, SftSection
from srlm.errors import SrlmError, TrainingError, full_disk
from srlm.training.launchers.choosing import command

ALONE = ProcessLauncherSection()
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

    @property
    def section(self) -> SftSection | DpoSection:
        """The one of its kind."""
        section: SftSection | DpoSection = getattr(self, self.kind)
        return section


def run_job(path: Path, report: Any = None, launcher: LauncherSection = ALONE) -> None:
    """Do a job to its end; raises what its processes raised, TrainingError, or ConfigError beforehand."""
    job = TrainJob.model_validate_json(path.read_text("utf-8"))

    def tell(message: dict[str, Any]) -> None:
        if report:
            report(message["done"], message["total"], message["note"])

    if launcher.kind == "inline":
        from srlm.training.child import work

        work(job, lambda **message: tell(message))
        return
    noise = path.parent / "stderr.txt"
    failure, status = _listen(command(launcher, job.section, path), noise, tell)
    if failure:
        raise failure
    if status:
        raise _crashed(path, status, noise)


def _listen(
    command: list[str], noise: Path, tell: Callable[[dict[str, Any]], None]
) -> tuple[SrlmError | None, int]:
    """Run a command to its end; the first error that it told of, and its status."""
    failure: SrlmError | None = None
    with (
        noise.open("w") as stderr,
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=os.environ | {"PYTHONSAFEPATH": "1"},  # as -P, for those that a launcher starts
        ) as child,
    ):
        try:
            for line in child.stdout or ():
                message = json.loads(line)
                if "error" not in message:
                    tell(message)
                elif not failure:  # each of several processes may tell of it
                    failure = getattr(errors, message["error"])(*message["parts"])
            status = child.wait()  # before its standard input closes, which would end it
        except BaseException:
            child.kill()
            raise
    return failure, status


def _crashed(path: Path, status: int, noise: Path) -> SrlmError:
    said = noise.read_text(errors="replace")
    if status == -9 or "(SIGKILL)" in said:  # as torch's launcher puts it
        return TrainingError(
            f"training of {path.parent}",
            "a process of it was killed, most likely because memory ran out",
            "lower micro_tokens, or set gradient_checkpointing=true; then run the same command again, "
            "which goes on from the last checkpoint",
        )
    last = _last_words(said)
    if "No space left" in last or shutil.disk_usage(path.parent).free < FULL_DISK:
        return full_disk(f"training of {path.parent}", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    return TrainingError(
        f"training of {path.parent}",
        f"its process ended with status {status}: {last}",
        f"read {noise}; the run goes on from the last checkpoint when started again",
    )


def _last_words(said: str) -> str:
    """The line that says most of why: of several processes the first's error, else the last line."""
    lines = said.strip().splitlines() or ["it said nothing"]
    errors_of_ranks = (line for line in lines if re.match(r"\[rank\d+\]: [\w.]+(Error|Exception)\b", line))
    return next(errors_of_ranks, lines[-1])
