"""Prompts with instructions that can be verified, and whether responses follow them, strictly and loosely."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from srlm.errors import DataError
from srlm.evaluation.ifeval.instructions import CHECKS
from srlm.evaluation.ifeval.language import require_known
from srlm.seeds.source import Bad, Source, in_lines, listed, shown


@dataclass(frozen=True)
class Instruction:
    """An id of `CHECKS` and its arguments; raises DataError where these are not what the check needs."""

    id: str
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.id not in CHECKS:
            raise DataError(
                f"instruction {shown(self.id)!r}",
                "no check is known for it, and an instruction that is not checked must not count as followed",
                f"use one of {', '.join(CHECKS)}",
            )
        wanted = {
            name: parameter.annotation
            for name, parameter in inspect.signature(CHECKS[self.id]).parameters.items()
            if parameter.kind is parameter.KEYWORD_ONLY
        }
        faults = [f"`{name}` is missing" for name in wanted if name not in self.arguments]
        faults += [
            f"`{shown(name)}` is not an argument of it" for name in self.arguments if name not in wanted
        ]
        faults += [
            f"`{name}` is {shown(repr(value))}, not {_described(wanted[name])}"
            for name, value in self.arguments.items()
            if name in wanted and not _fits(value, wanted[name])
        ]
        if faults:
            raise DataError(
                f"instruction {self.id}",
                "; ".join(faults),
                f"give it just these arguments: {', '.join(wanted) or 'none'}",
            )
        if "language" in wanted:
            require_known(self.arguments["language"])

    def is_followed(self, response: str) -> bool:
        """Whether the response as it is follows the instruction; an empty one follows none."""
        return bool(response.strip()) and CHECKS[self.id](response, **self.arguments)

    def is_followed_loosely(self, response: str) -> bool:
        """Whether any of `variants` of the response follows the instruction."""
        return any(self.is_followed(variant) for variant in variants(response))


@dataclass(frozen=True)
class Task:
    """A prompt of IFEval and its instructions."""

    key: str
    prompt: str
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True)
class Verdict:
    """Which instructions of a task a response follows, in the task's order."""

    task: Task
    is_empty: bool
    strict: tuple[bool, ...]
    loose: tuple[bool, ...]

    def row(self) -> dict[str, Any]:
        """The verdict as plain JSON, for the raw outputs of an evaluation."""
        return {
            "key": self.task.key,
            "instructions": [instruction.id for instruction in self.task.instructions],
            "strict": list(self.strict),
            "loose": list(self.loose),
        }


def variants(response: str) -> list[str]:
    """The eight texts that the loose verdict tries (paper, section 2.2), the response itself first.

    With and without its first line, its last line and both (a preamble, a closing remark), each as it is and
    without asterisks (Markdown).
    """
    lines = response.split("\n")
    cut = [response, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return cut + [text.replace("*", "") for text in cut]


def verify(task: Task, response: str) -> Verdict:
    """The strict and loose verdict on one response."""
    return Verdict(
        task=task,
        is_empty=not response.strip(),
        strict=tuple(item.is_followed(response) for item in task.instructions),
        loose=tuple(item.is_followed_loosely(response) for item in task.instructions),
    )


def verify_all(tasks: Sequence[Task], responses: Mapping[str, str]) -> list[Verdict]:
    """The verdicts on the response to every task, by its prompt; no task is left out.

    Raises DataError where a task has no response, or one that is not text: a figure over fewer prompts could
    not be compared. Responses to other prompts are not looked at.
    """
    faults = [
        f"{task.key} ({'no response' if task.prompt not in responses else 'not text'})"
        for task in tasks
        if not isinstance(responses.get(task.prompt), str)
    ]
    if faults:
        raise DataError(
            f"responses to {len(tasks)} prompts of IFEval",
            f"{len(faults)} of them cannot be judged: {listed(faults)}",
            "answer every prompt; where a model wrote nothing, its response is an empty text and a fail",
        )
    return [verify(task, responses[task.prompt]) for task in tasks]


# --- Reading ---


def read_tasks(path: Path) -> list[Task]:
    """The tasks of a file in IFEval's own form, JSON lines, gzipped or not.

    A line has `key`, `prompt`, `instruction_id_list` and `kwargs`, a dict for each instruction; null ones are
    absent. Raises one DataError that names every bad line, and prompts that stand twice.
    """
    tasks: dict[str, Task] = {}
    faults = []
    for number, value in Source.open(path):
        try:
            task = task_of(value)
            if task.prompt in tasks:
                raise _bad("`prompt`", "it stands in an earlier line")
            tasks[task.prompt] = task
        except DataError as error:
            faults.append(f"line {number}: {error.given}: {error.why}")
    if faults:
        raise DataError(
            shown(str(path), 400),
            in_lines(faults),
            "mend or remove these lines: none is left out silently",
        )
    return list(tasks.values())


def task_of(value: object) -> Task:
    """The task of one line; raises DataError saying what is wrong with it."""
    if not isinstance(value, dict):
        raise _bad("the line", str(value) if isinstance(value, Bad) else "it is not an object")
    prompt, ids, arguments = (value.get(name) for name in ("prompt", "instruction_id_list", "kwargs"))
    if not isinstance(prompt, str) or not prompt.strip():
        raise _bad("`prompt`", "it is missing, empty or not text")
    if not isinstance(ids, list) or not ids or not all(isinstance(name, str) for name in ids):
        raise _bad("`instruction_id_list`", "it is not a list of at least one id")
    if not isinstance(arguments, list) or not all(isinstance(item, dict) for item in arguments):
        raise _bad("`kwargs`", "it is not a list of objects")
    if len(ids) != len(arguments):
        raise _bad("`kwargs`", f"it has {len(arguments)} items for {len(ids)} instructions")
    given = ({name: arg for name, arg in item.items() if arg is not None} for item in arguments)
    instructions = tuple(Instruction(name, item) for name, item in zip(ids, given, strict=True))
    return Task(str(value.get("key", "")), prompt, instructions)


def _bad(part: str, why: str) -> DataError:
    return DataError(part, why, "give `key`, `prompt`, `instruction_id_list` and `kwargs`, as IFEval does")


def _fits(value: object, kind: Any) -> bool:
    if get_origin(kind) is list:
        return isinstance(value, list) and bool(value) and all(_fits(item, str) for item in value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool) and value >= 0
    if kind is str:
        return isinstance(value, str) and bool(value)
    return value in get_args(kind)


def _described(kind: Any) -> str:
    if get_origin(kind) is list:
        return "a list of texts that are not empty"
    plain = {int: "a whole number from 0 on", str: "a text that is not empty"}
    return plain.get(kind) or " or ".join(f'"{name}"' for name in get_args(kind))
