"""A run's models answer prompts of one's own, and judges score that, so that people can be asked, too.

The steps are those of a round's evaluation, in a run folder of the study's own below the run's, so whatever
reads a run's answers and its judges' words reads these as well.
"""

from collections.abc import Mapping
from pathlib import Path

from srlm.config import Config, ModelSection
from srlm.engines.opening import open_engine, open_roles, resolve_others
from srlm.errors import ConfigError
from srlm.evaluation.suites.asking import Prompts, spread
from srlm.judging.rubric import grading_rubric
from srlm.models import Model, resolve
from srlm.people.votes import Study
from srlm.records import Judgment, Response
from srlm.seeds.prompts import read_prompts
from srlm.stages.judgments import judge
from srlm.stages.responses import respond
from srlm.store.jsonl import Records
from srlm.store.run import Progress, Run, open_run
from srlm.store.states import saved_config

FROZEN = "M1"


def answer_file(folder: Path, name: str, study: Study, progress: Progress) -> dict[str, list[Response]]:
    """Each model's first answer to the prompts of a study's file, by model.

    They are sampled and scored as in the run's evaluation, by each model's own judge and by M1, and kept in
    ``human/NAME``, so a stopped command goes on. Raises DataError for bad lines, ConfigError for a model
    that the run does not have.
    """
    config = saved_config(folder)
    prompts = Prompts(spread(read_prompts(Path(study.prompts)), study.limit))
    models = [_model(folder, config, model) for model in study.models]
    first = [_model(folder, config, FROZEN)] if (folder / FROZEN / "model").is_dir() else []
    others = resolve_others(config) | {one.name: one for one in first}
    with open_run(folder / "human" / name, config, progress=progress) as run:
        answers = {model.name: _answer(config, run, model, others, prompts) for model in models}
        for one in first:
            _freeze(config, run, one, answers)
    return {who: [item for item in made if item.draw == 0] for who, made in answers.items()}


def _answer(
    config: Config, run: Run, model: Model, others: Mapping[str, Model], prompts: Prompts
) -> Records[Response]:
    """A model's answers, with the word of its round's judge on them."""
    with open_roles(config, model, others) as (_, engine, judging):
        asked = (config.evaluation.answers, engine, prompts)
        answers = run.records(f"{model.name}/evaluation/answers", Response, respond, *asked)
        words = (config.judge, judging, grading_rubric(config.judge.rubric), answers)
        run.records(f"{model.name}/watch/own", Judgment, judge, *words)
    return answers


def _freeze(config: Config, run: Run, first: Model, answers: dict[str, Records[Response]]) -> None:
    """M1's word on all answers; on its own it has been asked unless another judges for it."""
    rubric = grading_rubric(config.judge.rubric)
    with open_engine(config.engine, first) as engine:
        for name, given in answers.items():
            if name != FROZEN or config.judge.judge:
                words = (config.judge, engine, rubric, given)
                run.records(f"{name}/watch/frozen", Judgment, judge, *words)


def _model(folder: Path, config: Config, name: str) -> Model:
    """A model of a run by its name in it; M0 is the run's base model."""
    if name == "M0":
        return resolve(config.model)
    place = folder / name / "model"
    if not place.is_dir():
        raise ConfigError(
            f"--models {name}",
            f"run {folder} has no such model",
            "name models of the run, such as M1,M3 (`srlm status` lists its steps)",
        )
    trust = config.model.trust_remote_code
    return resolve(ModelSection(name=str(place), trust_remote_code=trust), name=name)
