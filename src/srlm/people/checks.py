"""Attention checks: ballots whose right answer is known, which look like all others.

The prompts of checks are asked about in no other ballot, and whose answers they show is drawn, so a check
that is seen through tells nothing about the answers of other ballots.
"""

from collections.abc import Mapping, Sequence

from srlm.errors import ConfigError
from srlm.evaluation.suites.asking import spread
from srlm.people.asking import Answer, Check, Item
from srlm.people.votes import Study
from srlm.records import Response, seed_for

ByModel = Mapping[str, Sequence[Response]]
"""One answer to each prompt, by model."""


def planted(study: Study, answers: ByModel) -> list[Item]:
    """So many checks as the study asks for of each kind: two equal answers; an answer to another prompt.

    Of answers to rate alone, the second kind only. Prompts beyond the study's limit come first. Raises
    ConfigError where that leaves no prompt to ask about, or too few answers are fit for a check.
    """
    kinds: list[Check] = ["same", "bad"] if study.kind == "comparison" else ["bad"]
    wanted = [kind for kind in kinds for _ in range(study.checks)]
    asked = {one.prompt_id for one in spread(answers[study.models[0]], study.limit)}
    drawn = sorted(_drawn(study, answers), key=lambda one: one[1].prompt_id in asked)
    made: list[Item] = []
    for model, one in drawn:
        if len(made) < len(wanted) and (item := _check(wanted[len(made)], model, one, answers[model])):
            made.append(item)
    left = asked - {item.prompt_id for item in made}
    if len(made) < len(wanted) or not left:
        raise ConfigError(
            f"--checks {study.checks}",
            f"a check takes a prompt of its own with answers that say something, and of {len(drawn)} prompts "
            f"there are {len(made)} such, and {len(left)} would be left to ask about",
            "ask for fewer, or give more prompts with --prompts",
        )
    return made


def _drawn(study: Study, answers: ByModel) -> list[tuple[str, Response]]:
    """Every prompt in an order that is drawn, with the answer of a model that is drawn, if it has one."""
    by_prompt = {name: {one.prompt_id: one for one in given} for name, given in answers.items()}
    found = []
    for prompt in by_prompt[study.models[0]]:
        model = study.models[seed_for(study.seed, "check by", prompt) % len(study.models)]
        if prompt in by_prompt[model]:
            found.append((model, by_prompt[model][prompt]))
    return sorted(found, key=lambda one: seed_for(study.seed, "check", one[1].prompt_id))


def _check(kind: Check, model: str, one: Response, others: Sequence[Response]) -> Item | None:
    """A check of a kind about a prompt; None where its answers are not fit for it."""
    right = Answer(model, one.id, one.text)
    if not one.text.strip():
        return None
    if kind == "same":
        return Item(one.prompt_id, one.prompt, (right, right), kind)
    strays = [
        other
        for other in others
        if other.prompt_id != one.prompt_id and other.text.strip() not in {"", one.text.strip()}
    ]
    if not strays:
        return None
    stray = min(strays, key=lambda other: seed_for("stray", one.id, other.id))
    wrong = Answer(model, stray.id, stray.text)
    return Item(one.prompt_id, one.prompt, (right, wrong), kind)
