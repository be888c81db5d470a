"""A round in small, for benchmarks that compare what machines write: responses and judgments."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

from srlm.config import Config
from srlm.engines.opening import open_engine
from srlm.judging.rubric import load_rubric
from srlm.models import Model
from srlm.records import Judgment, Prompt, Response
from srlm.stages.judgments import judge
from srlm.stages.responses import respond
from srlm.store.blocks import Items
from srlm.store.run import open_run


class Prompts(Items[Prompt]):
    digest = "prompts"


def write_round(folder: Path, config: Config, model: Model, texts: Sequence[str]) -> None:
    """Responses to all prompts and judgments of these, in a run's folder."""
    prompts = Prompts([Prompt.of(text, (), number) for number, text in enumerate(texts)])
    with open_run(folder, config) as run, open_engine(config.engine, model) as engine:
        responses = run.records("M2/responses", Response, respond, config.responses, engine, prompts)
        rubric = load_rubric("additive")
        run.records("M2/judgments", Judgment, judge, config.judge, engine, rubric, responses)


def written(folder: Path) -> dict[str, str]:
    """SHA-256 of each record file."""
    return {path.stem: hashlib.sha256(path.read_bytes()).hexdigest() for path in record_files(folder)}


def counted(folder: Path) -> tuple[int, int]:
    """Records, and how many of these are there a second time."""
    ids = [(path.stem, json.loads(line)["id"]) for path in record_files(folder) for line in path.open()]
    return len(ids), len(ids) - len(set(ids))


def record_files(folder: Path) -> list[Path]:
    """The record files of a round."""
    return sorted((folder / "M2").glob("*.jsonl"))
