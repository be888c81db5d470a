"""Early stopping by a judge (paper, section 3.1.3): a checkpoint that does not win ends the training.

The training process ends at every `eval_steps`, leaves a checkpoint and a model, and gives its memory back to
those who answer and judge; the next one goes on from the checkpoint, so that if all win, the outcome is that
of an undivided training. What was decided stands in selection.jsonl; a killed run goes on after its last.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Protocol

from srlm.config import LauncherSection
from srlm.store.files import publish_folder, write_atomically
from srlm.training.runner import TrainJob, run_job


class Judge(Protocol):
    """Who compares two checkpoints."""

    @property
    def digest(self) -> str: ...

    def __call__(self, candidate: Path, before: Path) -> dict[str, Any]:
        """The candidate against the model before it: `win_rate`, ties as a half, and what else is known."""
        ...


def train_in_stretches(
    job: TrainJob, eval_steps: int, judge: Judge, report: Any, launcher: LauncherSection
) -> None:
    """Train to the end, or until a model does not win against the one before it; the last winner is left.

    The first has nobody to win against. A model does not win at a win rate of a half or less, or when nothing
    could be read.
    """
    path = job.folder / "selection.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    while not lines or not lines[-1]["ends"]:
        before = lines[-1]["stop_at"] if lines else None
        stop_at = (before or 0) + eval_steps
        made = _stretch(job, stop_at, report, launcher)
        line = {"stop_at": stop_at, "steps": made["steps"], "against": before, "won": True}
        if before:
            found = judge(_model(job, stop_at), _model(job, before))
            line |= found | {"won": (found["win_rate"] or 0.0) > 0.5}
        line["ends"] = not line["won"] or made["steps"] == made["planned_steps"]
        lines.append(line)
        write_atomically(path, "".join(json.dumps(line) + "\n" for line in lines))
        if before and line["won"]:  # nobody will be compared with it again
            shutil.rmtree(_model(job, before), ignore_errors=True)
    kept = next(line["stop_at"] for line in reversed(lines) if line["won"])
    write_atomically(job.folder / "summary.json", _summary(job, kept).read_text())
    publish_folder(_model(job, kept), job.target)


def _stretch(job: TrainJob, stop_at: int, report: Any, launcher: LauncherSection) -> dict[str, Any]:
    """Train to a step, or to the end before it; the summary of it."""
    model, kept = _model(job, stop_at), _summary(job, stop_at)
    if not model.exists():
        stretch = job.model_copy(update={"target": model, "stop_at": stop_at})
        write_atomically(job.folder / "job.json", stretch.model_dump_json(indent=1) + "\n")
        run_job(job.folder / "job.json", report, launcher)
    if not kept.exists():
        write_atomically(kept, (job.folder / "summary.json").read_text())
    summary: dict[str, Any] = json.loads(kept.read_text())
    return summary


def _model(job: TrainJob, stop_at: int) -> Path:
    return job.folder / "candidates" / f"step-{stop_at}"


def _summary(job: TrainJob, stop_at: int) -> Path:
    return job.folder / "candidates" / f"step-{stop_at}.json"
