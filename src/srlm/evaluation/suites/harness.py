"""Tasks of lm-evaluation-harness, by its own code on our model: our figure is its figure."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from srlm.config import Device, HarnessSuite, LocalEngineSection, Precision
from srlm.devices import device_of, dtype_of
from srlm.errors import ConfigError, DataError
from srlm.evaluation.harness import ask_harness
from srlm.evaluation.intervals import bootstrap
from srlm.evaluation.multiple_choice import Form, Question, read_questions, write_task
from srlm.evaluation.suites.asking import Contestant, Place
from srlm.evaluation.suites.bench import Help
from srlm.models import Model, whole_folder
from srlm.records import content_id
from srlm.seeds.hub import data_file

FILES = {".csv", ".gz", ".json", ".jsonl"}


@dataclass(frozen=True)
class Task:
    """A name of the harness's, a task file of the user's own (.yaml), or questions of a local file."""

    name: str
    file: Path | None = None
    questions: tuple[Question, ...] = ()
    form: Form = "choices"

    @property
    def digest(self) -> str:
        texts = _texts_of(self.file) if self.file and not self.questions else []
        return content_id("task", self.name, self.form, texts, [asdict(one) for one in self.questions])


@dataclass
class Harness:
    """The harness loads the model itself, once a task; a suite of it has no prompts of ours."""

    section: HarnessSuite

    def __post_init__(self) -> None:
        _harness_is_there()
        self.tasks = [_task(name) for name in self.section.tasks]
        names = [task.name for task in self.tasks]
        if len(set(names)) < len(names):
            raise DataError(
                f"tasks {', '.join(self.section.tasks)}",
                "two of them have one name, and figures are kept by name",
                "rename a file, or name each task once",
            )

    def asked(self) -> list[str]:
        return []

    def answer(self, at: Place, who: Contestant) -> None:
        if who.model is None:
            raise ConfigError(
                f"{who.name} in suite {self.section.title}",
                "the harness weighs the choices with the model itself, so it cannot use a file of answers",
                "give a model",
            )

    def examine(self, at: Place, who: Contestant, answers: None, help_: Help) -> dict[str, Any]:
        """One step a task, so that a stopped run goes on after the last whole task."""
        engine = help_.config.engine
        if who.model is None or not isinstance(engine, LocalEngineSection):
            raise ConfigError(
                f"suite {self.section.title} with engine.kind={engine.kind}",
                "the harness loads the model itself, to weigh the choices",
                "set engine.kind=local; for a server, run lm_eval with its local-completions model",
            )
        return {
            task.name: at.run.result(
                at.step(f"task_{task.name}"),
                partial(_evaluate, self.section, at),
                who.model,
                task,
                (engine.dtype, engine.device),
                section=self.section,
            )
            for task in self.tasks
        }

    def figures(self, at: Place, who: Contestant, answers: None, findings: dict[str, Any]) -> dict[str, Any]:
        rows = {name: row for found in findings.values() for name, row in found["results"].items()}
        return at.run.result(at.step("figures"), lambda tasks, _: {"tasks": tasks}, rows, len(rows))


def _texts_of(file: Path) -> list[str]:
    """A task file, and the SHA-256 of every file that lies where a word of it says."""
    text = file.read_text("utf-8")
    words = (word.strip("\"',[]{}") for word in text.split())
    data = (path for word in words if (path := Path(word)).suffix and path.is_file())
    return [text, *(hashlib.sha256(path.read_bytes()).hexdigest() for path in data)]


def _task(name: str) -> Task:
    path = data_file(name)
    if path.suffix in {".yaml", ".yml"}:
        if not path.is_file():
            raise DataError(f"task {name}", "there is no such file", "name a task file of the harness")
        return Task(path.stem, path)
    if path.suffix in FILES:
        questions, form = read_questions(path)
        return Task(re.sub(r"[^\w-]+", "_", path.name.split(".")[0]), path, tuple(questions), form)
    return Task(name)


def _evaluate(
    section: HarnessSuite, at: Place, model: Model, task: Task, loaded: tuple[Precision, Device]
) -> dict[str, Any]:
    """What the harness found: by task and metric the value with its interval, and every single answer."""
    folder = at.run.folder / "tasks" / at.suite
    file = write_task(folder, task.name, task.questions, task.form) if task.questions else task.file
    found = ask_harness(
        {
            "task": task.name,
            "include_path": str(file.parent.resolve()) if file else None,
            "model_args": {
                "pretrained": str(whole_folder(model).resolve()),
                "dtype": dtype_of(loaded[0], device_of(loaded[1])),
                "use_safetensors": True,
                "trust_remote_code": model.trust_remote_code,
            },
            "fewshot": section.fewshot,
            "batch_size": section.batch_size,
            "device": loaded[1],
            "limit": section.limit,
            "chat_template": section.chat_template,
        },
        folder / f"{at.model}.{task.name}.log",
    )
    samples = found["samples"]
    parts = {name: parts for name, parts in found["group_subtasks"].items() if parts}
    groups = {part: name for name in parts for part in parts[name]}

    def asked(name: str) -> list[dict[str, Any]]:
        """The questions of a task, or of all tasks of a group."""
        if name not in parts:
            return list(samples.get(name, []))
        return [one for part in parts[name] for one in asked(part)]

    return {
        "results": {
            name: _row(found, name, asked(name)) | {"part_of": groups.get(name)} for name in found["results"]
        },
        "samples": samples,
        "versions": found["versions"],
    }


def _row(found: Mapping[str, Any], name: str, samples: list[dict[str, Any]]) -> dict[str, Any]:
    """A task's or a group's metrics; the interval draws questions, where the harness gives them."""
    values = found["results"][name]
    metrics = {}
    for key, value in values.items():
        metric, _, filter_ = key.partition(",")
        if not isinstance(value, int | float) or not filter_ or metric.endswith("_stderr"):
            continue
        label = metric if filter_ == "none" else f"{metric} ({filter_})"
        chosen = [one for one in samples if one.get("filter", "none") == filter_]
        single = [float(one[metric]) for one in chosen if isinstance(one.get(metric), int | float | bool)]
        interval = asdict(bootstrap(single, lambda one: (one, 1), seed=0)) if single else {}
        metrics[label] = {"low": None, "high": None, "num": len(single), **interval, "value": float(value)}
    return {
        "metrics": metrics,
        "items": len(samples) // max(1, len({one.get("filter", "none") for one in samples})) or None,
        "fewshot": found["n-shot"].get(name),
    }


def _harness_is_there() -> None:
    import importlib.util

    if importlib.util.find_spec("lm_eval") is None:
        raise ConfigError(
            "suite harness",
            "lm-evaluation-harness is not installed",
            "pip install 'srlm[harness]', or leave the suite out",
        )
