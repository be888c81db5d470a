"""How fast: rates measured on this machine, or what a GPU's data sheet allows; and what one replica costs."""

import json
import subprocess
import sys
from dataclasses import dataclass

from srlm.config import Config
from srlm.errors import ModelError
from srlm.models import Model
from srlm.planning.hardware import GPU, Assumptions
from srlm.planning.shapes import ModelShape
from srlm.planning.steps import Step


@dataclass(frozen=True)
class Rates:
    """Tokens a second on this machine."""

    prefill: float
    written: float
    trained: float

    def seconds(self, step: Step) -> float:
        """Of a whole step."""
        return step.prefill / self.prefill + step.written / self.written + step.trained / self.trained


@dataclass(frozen=True)
class ReplicaCost:
    """Seconds that a replica takes, alone, for each part of its work.

    load: its model; dispatch: taking over a task; token: reading one of a prompt; step: a decoding step
    whatever is in it; row: each sample in that step. `rows`: samples under way at a time, at most.
    """

    load: float
    dispatch: float
    token: float
    step: float
    row: float
    rows: int

    def written(self, rows: float) -> float:
        """Seconds a written token with so many rows under way."""
        return self.step / max(1.0, min(rows, self.rows)) + self.row


def calibrate(config: Config, model: Model) -> Rates:
    """Measure prefill, generation and training rates in a child process; raises ModelError."""
    job = {
        "model": str(model.path),
        "engine": config.engine.model_dump(),
        "sft": config.sft.model_dump(mode="json"),
    }
    asked = subprocess.run(
        [sys.executable, "-m", "srlm.training.calibrate"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"calibration with {model.path}", last, "run `srlm plan` with --no-calibrate")
    return Rates(**json.loads(asked.stdout.splitlines()[-1]))


def replica_cost(
    gpu: GPU, shape: ModelShape, given: Assumptions, tensor_parallel: int, *, rows: int, context: float
) -> ReplicaCost:
    """What data sheets allow a replica in bfloat16: the roofline.

    Reading takes two FLOPs a weight and token. A decoding step moves all weights through memory once, and of
    each row the keys and values of its `context` tokens, and computes as many FLOPs as reading does. What
    GPUs of one replica tell each other is in the assumed shares.
    """
    flops = tensor_parallel * gpu.flops * given.reading
    bandwidth = tensor_parallel * gpu.bandwidth * given.writing
    token = 2 * shape.parameters / flops
    return ReplicaCost(
        load=2 * shape.parameters / (given.disk_gb * 1e9),
        dispatch=given.dispatch,
        token=token,
        step=2 * shape.parameters / bandwidth,
        row=token + 2 * shape.cached * context / bandwidth,
        rows=rows,
    )


def measured_cost(rates: Rates, given: Assumptions, load: float = 0.0) -> ReplicaCost:
    """A replica like this machine, whose step takes as long as its rows together: more rows bring nothing."""
    return ReplicaCost(load, given.dispatch, 1 / rates.prefill, 0.0, 1 / rates.written, given.rows)
