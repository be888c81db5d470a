"""Several jobs one after another in the same processes, which take long to start: STRATEGY=JOB.json ...

accelerate launch --config_file FILE tests/training/many_jobs.py fsdp=one/job.json ddp=two/job.json
"""

import os
import sys
from pathlib import Path

from srlm.training.jobs import train_job
from srlm.training.runner import TrainJob


def main(arguments: list[str]) -> None:
    """Do the jobs; each strategy as accelerate's launcher would say it."""
    for strategy, path in (argument.split("=", maxsplit=1) for argument in arguments):
        os.environ["ACCELERATE_USE_FSDP"] = str(strategy == "fsdp").lower()
        job = TrainJob.model_validate_json(Path(path).read_text())
        train_job(job, lambda *_: None)


if __name__ == "__main__":
    main(sys.argv[1:])
