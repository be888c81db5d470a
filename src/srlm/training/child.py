"""The process that trains: ``python -m srlm.training.child JOB.json``, the child's side of `run_job`.

Its standard output is lines of JSON for the parent: progress, or the parts of an error. It waits for a
predecessor that has not ended yet, and ends when its parent does.
"""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from srlm.errors import SrlmError, TrainingError
from srlm.process import end_with_parent, message_channel
from srlm.training.runner import TrainJob


def main(path: str) -> None:
    """Do the job of a file."""
    job = TrainJob.model_validate_json(Path(path).read_text("utf-8"))
    channel = message_channel()

    def send(**message: Any) -> None:
        print(json.dumps(message), file=channel, flush=True)

    end_with_parent()
    try:
        with _alone(job.folder):
            if not job.target.exists():  # a predecessor whose parent was killed may just have finished
                from srlm.training.jobs import train_job  # loads torch

                train_job(job, lambda done, total, note: send(done=done, total=total, note=note))
    except SrlmError as error:
        send(error=type(error).__name__, parts=[error.given, error.why, error.todo])
        raise SystemExit(1) from None


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Wait for a predecessor that has not ended yet; raises TrainingError after a minute."""
    try:
        with FileLock(folder / ".lock", timeout=60):
            yield
    except Timeout as error:
        raise TrainingError(
            f"training of {folder}",
            "another training process is at work there",
            "end that process, then run the same command again",
        ) from error


if __name__ == "__main__":
    main(sys.argv[1])
