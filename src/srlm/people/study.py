"""A study of a run: which of its models' answers people are asked about, and where its votes lie."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from srlm.errors import ConfigError, RunError
from srlm.evaluation.head_to_head import couples_of
from srlm.evaluation.suites.asking import spread
from srlm.judging.rubric import load_rubric
from srlm.people.answering import answer_file
from srlm.people.asking import Answer, Item, Kind
from srlm.people.checks import ByModel, planted
from srlm.people.votes import BallotBox, Study, make_box, open_box
from srlm.records import Response
from srlm.store.jsonl import read_records
from srlm.store.run import Progress
from srlm.store.states import run_states

HELD_OUT = "held out"
"""The prompts of a study that asks about a run's own answers in its evaluation."""
INDEX = "browser"
"""Name of the run browser's index, which lies beside the studies and is none."""
LIMIT = 50
"""Prompts of a match, as in the paper (section 3.1.1)."""
SEED = 0


def study_path(folder: Path, name: str) -> Path:
    """Where a run keeps the votes of a study."""
    if not name.isidentifier() or name.casefold() == INDEX or len(name) > 60:
        raise ConfigError(
            f"--study {name!r}",
            "it is to be the name of a file of its own",
            f"take at most 60 letters, digits and underscores, and not {INDEX}, which is the run browser's",
        )
    return folder / "human" / f"{name}.sqlite"


def studies(folder: Path) -> list[Path]:
    """The files of all studies of a run."""
    return [path for path in sorted((folder / "human").glob("*.sqlite")) if path.stem != INDEX]


def open_study(folder: Path, name: str, wanted: Mapping[str, Any], progress: Progress) -> BallotBox:
    """A run's study of a name: the one that is there, else a new one.

    `wanted` holds what was asked for, by the names of Study's fields, None where nothing was. Raises
    ConfigError where the study that is there asks something else, and DataError for models that answered
    different prompts.
    """
    path = study_path(folder, name)
    run_states(folder)  # raises RunError where there is no run
    given = {key: value for key, value in wanted.items() if value is not None}
    if not path.exists():
        study = _new(folder, given)
        make_box(path, study, items_of(study, _answers(folder, name, study, progress)))
    box = open_box(path)
    _refuse_other(box, name, given)
    return box


def _refuse_other(box: BallotBox, name: str, given: Mapping[str, Any]) -> None:
    """Raises ConfigError where the study asks something else than what is asked for now."""
    changed = {key: getattr(box.study, key) for key in given if getattr(box.study, key) != given[key]}
    if changed:
        raise ConfigError(
            f"study {name} with other {', '.join(changed)}",
            f"it was begun with {', '.join(f'{key}={_told(value)}' for key, value in changed.items())}, and "
            "votes on other questions would mix with its own",
            "leave these options out to go on with it, or begin another study with --study NAME"
            + ("" if box.has_words else f" (nobody has voted: {box.path} can be removed)"),
        )


def _new(folder: Path, given: Mapping[str, Any]) -> Study:
    """A study of what was asked for, the rest as the paper has it."""
    kind = given.get("kind", "comparison")
    models = given.get("models", ()) or default_models(folder)
    _check_models(models, kind)
    return Study(
        kind=kind,
        models=models,
        prompts=given.get("prompts", HELD_OUT),
        limit=given.get("limit", LIMIT),
        checks=given.get("checks", 0),
        seed=SEED,
        criteria=criteria("additive") if kind == "rating" else "",
    )


def _check_models(models: tuple[str, ...], kind: Kind) -> None:
    """Raises ConfigError for what cannot be compared, before anybody answers anything."""
    given, ways = f"--models {','.join(models)}", "name models of the run, such as M1,M3"
    if odd := [name for name in models if not re.fullmatch(r"SFT|M\d+", name)]:
        raise ConfigError(given, f"{odd[0]!r} is no name of a run's model", ways)
    if len(set(models)) < len(models):
        raise ConfigError(given, "a model stands in it twice", "name each model once")
    if kind == "comparison" and len(models) < 2:
        raise ConfigError(given, "a comparison needs two models", "name two or more, or add --rate")


def _answers(folder: Path, name: str, study: Study, progress: Progress) -> ByModel:
    if study.prompts == HELD_OUT:
        return held_out_answers(folder, study.models)
    return answer_file(folder, name, study, progress)


def items_of(study: Study, answers: ByModel) -> list[Item]:
    """What is asked: a match of each model with the first, or every answer alone; checks last."""
    first, *others = study.models
    if study.kind == "comparison":
        made = [item for name in others for item in _match(name, first, answers, study.limit)]
    else:
        made = [item for name in study.models for item in _alone(name, answers[name], study.limit)]
    checks = planted(study, answers)
    if study.kind == "rating":
        checks = [replace(item, answers=item.answers[1:]) for item in checks]
    taken = {item.prompt_id for item in checks}
    return [*(item for item in made if item.prompt_id not in taken), *checks]


def held_out_answers(folder: Path, models: Sequence[str]) -> dict[str, list[Response]]:
    """Each model's first answer to every held-out prompt; raises RunError that says who has none yet."""
    have = answered(folder)
    if missing := [name for name in models if name not in have]:
        raise _unanswered(folder, missing, have)
    return {
        name: [
            item
            for item in read_records(folder / f"{name}/evaluation/answers.jsonl", Response)
            if item.draw == 0
        ]
        for name in models
    }


def answered(folder: Path) -> list[str]:
    """The models of a run with answers to held-out prompts, in the order in which they were made."""
    done = [state["step"] for state in run_states(folder) if state["done"]]
    return [step.split("/")[0] for step in done if step.endswith("/evaluation/answers")]


def default_models(folder: Path) -> tuple[str, ...]:
    """The SFT baseline where there is one, as in the paper, else M1; and the last model."""
    have = answered(folder)
    if not have:
        raise _unanswered(folder, ["M1"], have)
    first = next((name for name in ("SFT", "M1", "M0") if name in have), "M1")
    numbered = [name for name in have if name != "SFT"]
    return tuple(dict.fromkeys((first, max(numbered, key=lambda name: int(name[1:]), default="M1"))))


def _unanswered(folder: Path, missing: Sequence[str], have: Sequence[str]) -> RunError:
    there = f"there are of {', '.join(have)}" if have else "no model of the run has any"
    return RunError(
        f"answers of {', '.join(missing)} in run {folder}",
        f"there are none to held-out prompts yet; {there}",
        "wait until the run has measured the model, name others with --models, or have them answer now with "
        "--prompts FILE",
    )


def criteria(rubric: str) -> str:
    """What a rubric says before the texts that are to be judged: people read it above the grades."""
    return load_rubric(rubric).text.partition("<")[0].strip()


def _match(name: str, first: str, answers: ByModel, limit: int) -> list[Item]:
    couples = couples_of(answers[name], answers[first])
    return [
        Item(one.prompt_id, one.prompt, (_answer(name, one), _answer(first, other)))
        for one, other in spread(couples, limit)
    ]


def _alone(name: str, answers: Sequence[Response], limit: int) -> list[Item]:
    return [Item(one.prompt_id, one.prompt, (_answer(name, one),)) for one in spread(answers, limit)]


def _answer(model: str, response: Response) -> Answer:
    return Answer(model, response.id, response.text)


def _told(value: object) -> str:
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) < 80 else f"{text[:80]} …"
