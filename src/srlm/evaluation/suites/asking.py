"""What suites share: prompts from a file, answers from a model or a file, where the steps lie."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from srlm.config import AnsweredSuite
from srlm.engines.base import Engine
from srlm.errors import DataError
from srlm.models import Model
from srlm.records import Finish, Prompt, Response, content_id
from srlm.seeds.prompts import text_field
from srlm.seeds.source import Bad, Source, in_lines, listed, shown, sort_out
from srlm.stages.responses import respond
from srlm.store.blocks import Items
from srlm.store.run import Run

T = TypeVar("T")


@dataclass(frozen=True)
class Place:
    """Where the steps of one suite lie for one model, in an open run."""

    run: Run
    model: str
    suite: str

    def step(self, part: str) -> str:
        """The name of one of its steps: ``M1/evaluation/ifeval/answers``."""
        return f"{self.model}/evaluation/{self.suite}/{part}"


@dataclass(frozen=True)
class Contestant:
    """Who answers: a model with its engine, or `given`, what somebody else's model said."""

    name: str
    model: Model | None = None
    engine: Engine | None = None
    given: "GivenAnswers | None" = None


@dataclass(frozen=True)
class Answers(Items[Response]):
    """One or more answers to every prompt; a prompt that could not be asked has empty ones, which lose."""

    unanswered: frozenset[str] = frozenset()

    @property
    def digest(self) -> str:
        return content_id(
            "answers",
            [[item.id, item.prompt_id, item.prompt] for item in self.items],
            sorted(self.unanswered),
        )

    def asked(self) -> "Answers":
        """Those that somebody wrote."""
        return Answers([item for item in self.items if item.prompt_id not in self.unanswered])

    def by_prompt(self) -> dict[str, str]:
        """The first answer to each prompt, by the prompt's text."""
        found: dict[str, str] = {}
        for item in self.items:
            found.setdefault(item.prompt, item.text)
        return found


@dataclass(frozen=True)
class GivenAnswers:
    """A file of answers: what each prompt's text was answered with."""

    path: Path
    texts: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> "GivenAnswers":
        """The answers of a JSONL or JSON file, by prompt, in any order.

        Raises one DataError that names every line without a prompt or an answer of text, and every prompt
        that stands a second time. An empty answer is an answer.
        """
        texts: dict[str, str] = {}

        def read(value: object) -> None:
            prompt, answer = (text_field(value, key) for key in ("prompt", "response"))
            if prompt in texts:
                raise Bad("its prompt stands in an earlier one", shown(prompt))
            texts[prompt] = answer

        _, faults = sort_out(Source.open(path), read)
        if faults:
            raise DataError(
                f"answers {shown(str(path), 400)}",
                f"{len(faults)} of its lines cannot be used{in_lines(faults)}",
                'give lines of the form {"prompt": "...", "response": "..."}, each prompt once; where a '
                "model wrote nothing, its response is an empty text",
            )
        return cls(path, texts)


def spread(items: Sequence[T], limit: int | None) -> list[T]:
    """So many of the items, evenly spread over all, which may be sorted by kind; all without a limit.

    >>> spread("abcdefghij", 3)
    ['a', 'd', 'g']
    """
    if limit is None or limit >= len(items):
        return list(items)
    return [items[place * len(items) // limit] for place in range(limit)]


def answers_of(place: Place, section: AnsweredSuite, who: Contestant, prompts: Sequence[Prompt]) -> Answers:
    """The contestant's answers to all prompts, in their order; raises DataError where a file lacks some."""
    asked = Prompts(prompts)
    if who.given:
        return given_answers(who.given, prompts)
    made = place.run.records(place.step("answers"), Response, respond, section, who.engine, asked)
    return complete(prompts, made, section.samples)


def complete(prompts: Iterable[Prompt], made: Iterable[Response], samples: int = 1) -> Answers:
    """All answers; a prompt without any (too long for the context) gets `samples` empty ones, counted."""
    found: dict[str, list[Response]] = {}
    for response in made:
        found.setdefault(response.prompt_id, []).append(response)
    items = [
        response
        for prompt in prompts
        for response in found.get(prompt.id)
        or [as_response(prompt, "", draw=draw, finish="length") for draw in range(samples)]
    ]
    return Answers(items, unanswered=frozenset(prompt.id for prompt in prompts if prompt.id not in found))


def given_answers(given: GivenAnswers, prompts: Sequence[Prompt]) -> Answers:
    """What a file says to the prompts; what it says to others is not looked at. Raises DataError."""
    lost = [prompt.text for prompt in prompts if prompt.text not in given.texts]
    if lost:
        raise DataError(
            f"answers {shown(str(given.path), 400)}",
            f"{len(lost)} of the {len(prompts)} prompts have none in it: {listed(lost, 5)}",
            "answer every prompt, word for word as it stands; where a model wrote nothing, its response is "
            "an empty text and a fail",
        )
    return Answers([as_response(prompt, given.texts[prompt.text]) for prompt in prompts])


def as_response(prompt: Prompt, text: str, *, draw: int = 0, finish: Finish = "stop") -> Response:
    """A text as the response to a prompt."""
    id_ = content_id("answer", prompt.id, draw, text)
    return Response.given(id_, prompt, text, draw=draw, finish=finish)


@dataclass(frozen=True)
class Prompts(Items[Prompt]):
    """Prompts as a step's input: `digest` names them all."""

    @property
    def digest(self) -> str:
        return content_id("prompts", [item.id for item in self.items])
