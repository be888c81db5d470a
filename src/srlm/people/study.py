"""A study of a run: which of its models' answers people are asked about, and where its votes lie."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srlm.errors import ConfigError, RunError
from srlm.evaluation.head_to_head import couples_of
from srlm.evaluation.suites.asking import spread
from srlm.judging.rubric import load_rubric
from srlm.people.answering import answer_file
from srlm.people.asking import Answer, Item
from srlm.people.votes import BallotBox, Study, make_box, open_box
from srlm.records import Response, seed_for
from srlm.store.jsonl import read_records
from srlm.store.run import Progress, run_states

HELD_OUT = "held out"
"""The prompts of a study that asks about a run's own answers in its evaluation."""
LIMIT = 50
"""Prompts of a match, as in the paper (section 3.1.1)."""
SEED = 0

ByModel = Mapping[str, Sequence[Response]]
"""One answer to each prompt, by model."""


def study_path(folder: Path, name: str) -> Path:
    """Where a run keeps the votes of a study."""
    if not name.isidentifier():
        raise ConfigError(
            f"--study {name!r}", "it is to be the name of a file", "take letters, digits and underscores"
        )
    return folder / "human" / f"{name}.sqlite"


def studies(folder: Path) -> list[Path]:
    """The files of all studies of a run."""
    return [path for path in sorted((folder / "human").glob("*.sqlite")) if path.stem != "browser"]


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
    changed = {key: getattr(box.study, key) for key in given if getattr(box.study, key) != given[key]}
    if changed:
        box.close()
        raise ConfigError(
            f"study {name} with other {', '.join(changed)}",
            f"it was begun with {', '.join(f'{key}={_told(value)}' for key, value in changed.items())}, and "
            "votes on other questions would mix with its own",
            "leave these options out to go on with it, or begin another study with --study NAME",
        )
    return box


def _new(folder: Path, given: Mapping[str, Any]) -> Study:
    """A study of what was asked for, the rest as the paper has it."""
    kind = given.get("kind", "comparison")
    return Study(
        kind=kind,
        models=given.get("models") or default_models(folder),
        prompts=given.get("prompts", HELD_OUT),
        limit=given.get("limit", LIMIT),
        checks=given.get("checks", 0),
        seed=SEED,
        criteria=criteria("additive") if kind == "rating" else "",
    )


def _answers(folder: Path, name: str, study: Study, progress: Progress) -> ByModel:
    if study.prompts == HELD_OUT:
        return held_out_answers(folder, study.models)
    return answer_file(folder, name, study, progress)


def items_of(study: Study, answers: ByModel) -> list[Item]:
    """What is asked: a match of each model with the first, or every answer alone; checks last."""
    if len(set(study.models)) < len(study.models):
        raise ConfigError(
            f"--models {','.join(study.models)}", "a model stands in it twice", "name each model once"
        )
    if study.kind == "comparison":
        first, *others = study.models
        if not others:
            raise ConfigError(
                f"--models {first}", "a comparison needs two models", "name two or more, or add --rate"
            )
        made = [item for name in others for item in _match(name, first, answers, study.limit)]
    else:
        made = [item for name in study.models for item in _alone(name, answers[name], study.limit)]
    return [*made, *planted(made, study)]


def planted(items: Sequence[Item], study: Study) -> list[Item]:
    """Attention checks: the first answer of an item beside itself, and beside one to another prompt.

    Of answers to rate alone, only one to another prompt. Raises ConfigError where there are too few prompts.
    """
    drawn = sorted(items, key=lambda item: seed_for(study.seed, "check", item.id))[: study.checks]
    if len({item.prompt_id for item in items}) < 2 and study.checks:
        raise ConfigError(
            f"--checks {study.checks}",
            "a bad answer is one to another prompt, and there is one prompt only",
            "leave --checks out",
        )
    if study.kind == "rating":
        return [Item(one.prompt_id, one.prompt, (_stray(one, items),), "bad") for one in drawn]
    same = [Item(one.prompt_id, one.prompt, (one.answers[0],) * 2, "same") for one in drawn]
    bad = [Item(one.prompt_id, one.prompt, (one.answers[0], _stray(one, items)), "bad") for one in drawn]
    return [*same, *bad]


def held_out_answers(folder: Path, models: Sequence[str]) -> dict[str, list[Response]]:
    """Each model's first answer to every held-out prompt; raises RunError that says who has none yet."""
    have = answered(folder)
    if missing := [name for name in models if name not in have]:
        raise RunError(
            f"answers of {', '.join(missing)} in run {folder}",
            "there are none to held-out prompts yet; "
            + (f"there are of {', '.join(have)}" if have else "no model of the run has any"),
            "wait until the run has measured the model, name others with --models, or have them answer now "
            "with --prompts FILE",
        )
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
    first = next((name for name in ("SFT", "M1", "M0") if name in have), "M1")
    numbered = [name for name in have if name != "SFT"]
    return tuple(dict.fromkeys((first, max(numbered, key=lambda name: int(name[1:]), default="M1"))))


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


def _stray(item: Item, items: Sequence[Item]) -> Answer:
    """An answer to another prompt, by the same model."""
    others = [one for one in items if one.prompt_id != item.prompt_id and one.models[0] == item.models[0]]
    return min(others, key=lambda one: seed_for("stray", item.id, one.id)).answers[0]


def _told(value: object) -> str:
    text = ",".join(value) if isinstance(value, tuple) else str(value)
    return text if len(text) < 80 else f"{text[:80]} …"
