"""SFT and DPO as the loop calls them: from a model and its data to a model folder, in other processes."""

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from srlm.config import DpoSection, LauncherSection, SftSection
from srlm.models import Model, whole_folder
from srlm.records import Example, Pair, Record, content_id
from srlm.store.blocks import Items
from srlm.store.files import write_atomically
from srlm.training.early_stopping import Judge, train_in_stretches
from srlm.training.runner import ALONE, TrainJob, run_job

Lesson = Pair | Example
"""What a model learns from in a round."""


class Lessons(Items[Lesson]):
    """Lessons of several kinds; `digest` names them all, and how far pairs are believed."""

    @property
    def digest(self) -> str:
        sure = ((one.label, one.weight) if isinstance(one, Pair) else () for one in self.items)
        return content_id("lessons", [[one.id, *more] for one, more in zip(self.items, sure, strict=True)])


def train_sft(
    section: SftSection,
    model: Model,
    examples: Sequence[Example],
    heldout: Sequence[Example],
    judge: Judge | None = None,
    *,
    folder: Path,
    target: Path,
    seed: int = 0,
    report: Any = None,
    report_to: Sequence[str] = (),
    launcher: LauncherSection = ALONE,
) -> Path:
    """M1: `model` trained on IFT and EFT examples, saved in `target` (section 2.2).

    `folder` gets log.jsonl, summary.json and, on the way, checkpoints. With `eval_steps`, `judge` compares
    these and may end the training (section 3.1.3); `report_to` names trackers, `launcher` says in which
    processes. Raises TrainingError, and ConfigError for a launcher that cannot do it.
    """
    job = TrainJob(
        kind="sft",
        model=whole_folder(model),
        folder=folder,
        target=target,
        seed=seed,
        sft=section,
        report_to=tuple(report_to),
        trust_remote_code=model.trust_remote_code,
    )
    return _train(job, {"data": examples}, heldout, judge, report=report, launcher=launcher)


def train_dpo(
    section: DpoSection,
    model: Model,
    lessons: Iterable[Lesson],
    heldout: Sequence[Example],
    judge: Judge | None = None,
    *,
    folder: Path,
    target: Path,
    seed: int = 0,
    report: Any = None,
    report_to: Sequence[str] = (),
    launcher: LauncherSection = ALONE,
) -> Path:
    """M(t+1): `model` trained by DPO with itself as reference, saved in `target` (section 2.4).

    Lessons are pairs of answers; what else stands beside them, pairs about judging and examples whose
    likelihood is to stay high, is spread evenly over the batches.
    """
    job = TrainJob(
        kind="dpo",
        model=whole_folder(model),
        folder=folder,
        target=target,
        seed=seed,
        dpo=section,
        report_to=tuple(report_to),
        trust_remote_code=model.trust_remote_code,
    )
    data: dict[str, list[Record]] = {"data": []}
    for one in lessons:
        about = "beside_examples" if isinstance(one, Example) else "beside_pairs"
        name = "data" if isinstance(one, Pair) and one.about == "answers" else about
        data.setdefault(name, []).append(one)
    return _train(job, data, heldout, judge, report=report, launcher=launcher)


def _train(
    job: TrainJob,
    data: Mapping[str, Iterable[Record]],
    heldout: Iterable[Record],
    judge: Judge | None,
    *,
    report: Any,
    launcher: LauncherSection,
) -> Path:
    if not job.target.exists():
        job.folder.mkdir(parents=True, exist_ok=True)
        for name, records in {**data, "heldout": heldout}.items():
            text = "".join(record.model_dump_json() + "\n" for record in records)
            write_atomically(job.folder / f"{name}.jsonl", text)
        write_atomically(job.folder / "job.json", job.model_dump_json(indent=1) + "\n")
        if job.section.eval_steps and judge:
            train_in_stretches(job, job.section.eval_steps, judge, report=report, launcher=launcher)
        else:
            run_job(job.folder / "job.json", report, launcher)
    for name in ("checkpoints", "candidates", "ray"):
        shutil.rmtree(job.folder / name, ignore_errors=True)
    return job.target
