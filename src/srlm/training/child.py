"""A process that trains: ``python -m srlm.training.child JOB.json``, the child's side of `run_job`.

Its standard output is lines of JSON for the parent: progress, or the parts of an error. Of several processes
that train together the main one alone tells progress. It waits for a predecessor that has not ended yet, and
ends when its parent does.
"""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from srlm.errors import SrlmError, TrainingError
from srlm.process import end_with_parent, message_channel
from srlm.training.runner import TrainJob


def main(path: str) -> None:
    """Do the job of a file."""
    channel = message_channel()

    def send(**message: Any) -> None:
        channel.write(json.dumps(message) + "\n")  # in one piece: others may write to the same pipe
        channel.flush()

    end_with_parent()
    try:
        work(TrainJob.model_validate_json(Path(path).read_text("utf-8")), send)
    except SrlmError as error:
        send(error=type(error).__name__, parts=[error.given, error.why, error.todo])
        raise SystemExit(1) from None


def work(job: TrainJob, send: Callable[..., None]) -> None:
    """Do a job in this process, which may be one of several; `send` gets `done`, `total` and `note`."""
    from srlm.training.jobs import train_job  # loads torch
    from srlm.training.world import is_main, leave

    def report(done: int, total: int, note: str) -> None:
        send(done=done, total=total, note=note)

    with _alone(job.folder) if is_main() else nullcontext():
        train_job(job, report)
    leave()


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
