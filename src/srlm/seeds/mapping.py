"""What a mapping is: which field of someone's preference data is what, and the published forms.

Three shapes of lines are known. Ranked: a prompt and a list of answers with ranks or scores. Pairwise: two
answers, and votes or field names that say which is better. Scored: one answer and its score a line, where
the lines with the same prompt belong together. Scores only give the order: they are on other scales than
ours, unless `grades` says so.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from srlm.config import Section
from srlm.errors import ConfigError
from srlm.seeds.paths import leads_somewhere, nearest
from srlm.seeds.source import reason_of

Name = Annotated[str, Field(min_length=1)]
Markers = tuple[Name, Name]
Shape = Literal["ranked", "votes", "chosen", "scored"]

NATIVE = "srlm"
SHAPES: dict[Shape, tuple[str, ...]] = {
    "ranked": ("answers", "text"),
    "votes": ("first", "second", "label", "first_wins", "second_wins"),
    "chosen": ("better", "worse"),
    "scored": ("response", "score"),
}
"""The fields that every mapping of a shape needs; the first of them tells the shape."""
ALLOWED: dict[Shape, tuple[str, ...]] = {"ranked": ("rank", "score"), "votes": ("tie",)}


class Mapping(Section):
    """How one line of someone's file becomes a ranked prompt, or one answer of it.

    Paths are dotted (`completions.0.response`); a key that has dots or spaces in it is tried whole first.
    """

    prompt: Name | None = Field(
        None, description="path of the prompt; left out where the answers' texts hold it too"
    )
    input: Name | None = Field(
        None, description="path of more of the prompt, appended after a blank line when it is not empty"
    )
    answers: Name | None = Field(None, description="ranked: path of the list of answers")
    text: Name | None = Field(None, description="ranked: path of the text inside an answer")
    rank: Name | None = Field(None, description="ranked: path of the place inside an answer, lower is better")
    score: Name | None = Field(
        None,
        description="path of the score, higher is better: a number, or a list of draws (their mean)",
    )
    first: Name | None = Field(None, description="votes: path of one answer")
    second: Name | None = Field(None, description="votes: path of the other answer")
    label: tuple[Name, ...] = Field(
        (), description="votes: path of every vote; more than half of the votes win, else it is a tie"
    )
    first_wins: tuple[Name, ...] = Field((), description="votes: labels that say that `first` is better")
    second_wins: tuple[Name, ...] = Field((), description="votes: labels that say that `second` is better")
    tie: tuple[Name, ...] = Field((), description="votes: labels that say that neither is better")
    better: Name | None = Field(None, description="chosen: path of the better answer")
    worse: Name | None = Field(None, description="chosen: path of the worse answer")
    response: Name | None = Field(None, description="scored: path of the one answer of a line")
    prompt_between: Markers | None = Field(
        None, description="the two markers between which the prompt stands in a longer text"
    )
    answer_between: Markers | None = Field(
        None, description="the two markers between which the answer stands in a longer text"
    )
    transcript: bool = Field(
        False, description="the answers are whole `\\n\\nHuman: ... \\n\\nAssistant: ...` transcripts"
    )
    grades: bool = Field(
        False, description="the scores are grades of our own scale, whole numbers from 0 to 5: keep them"
    )
    category: Name | None = Field(None, description="path of the prompt's category")
    judged_by: Name = Field("people", description="who ranked, voted or scored; only shown")

    @model_validator(mode="after")
    def _has_one_shape(self) -> "Mapping":
        given = {name for name in self.model_fields_set if getattr(self, name)}
        shapes = [shape for shape, needed in SHAPES.items() if needed[0] in given]
        if len(shapes) != 1:
            leads = ", ".join(needed[0] for needed in SHAPES.values())
            raise ValueError(f"give one of {leads}: each tells another shape of lines")
        shape = shapes[0]
        if missing := [name for name in SHAPES[shape] if name not in given]:
            raise ValueError(f"with {SHAPES[shape][0]}, {', '.join(missing)} must be given too")
        mine = {*SHAPES[shape], *ALLOWED.get(shape, ())}
        theirs = {name for names in [*SHAPES.values(), *ALLOWED.values()] for name in names} - mine
        if extra := sorted(given & theirs):
            raise ValueError(f"with {SHAPES[shape][0]}, {', '.join(extra)} has no meaning")
        if shape == "ranked" and (self.rank is None) == (self.score is None):
            raise ValueError("give either rank or score")
        return self

    @model_validator(mode="after")
    def _makes_sense(self) -> "Mapping":
        if self.transcript and (self.prompt or self.prompt_between or self.answer_between):
            raise ValueError("a transcript holds the prompt: give no prompt and no markers")
        if not (self.prompt or self.transcript or self.prompt_between):
            raise ValueError("give prompt, or say with transcript or prompt_between where it stands")
        if self.grades and self.score is None:
            raise ValueError("grades needs score")
        words = [*self.first_wins, *self.second_wins, *self.tie]
        if twice := [word for word, count in Counter(words).items() if count > 1]:
            raise ValueError(f"the label {twice[0]!r} is said to mean two things")
        return self

    @property
    def shape(self) -> Shape:
        """Which of the shapes of lines this describes."""
        return next(shape for shape, needed in SHAPES.items() if getattr(self, needed[0]))

    @property
    def wanted(self) -> tuple[str, ...]:
        """The paths that every line must have."""
        alone = (self.prompt, self.answers, self.first, self.second, *self.label, self.better, self.worse)
        scored = (self.response, self.score) if self.response else ()
        return tuple(dict.fromkeys(path for path in (*alone, *scored) if path))


_INSTRUCTION = ("###The instruction to evaluate:", "###Response to evaluate:")

MAPPINGS: dict[str, Mapping] = {
    "ultrafeedback": Mapping(
        prompt="instruction",
        answers="completions",
        text="response",
        score="overall_score",
        judged_by="GPT-4",
    ),
    "pandalm": Mapping(
        prompt="instruction",
        input="input",
        first="response1",
        second="response2",
        label=("annotator1", "annotator2", "annotator3"),
        first_wins=("1",),
        second_wins=("2",),
        tie=("0",),
    ),
    "autoj": Mapping(
        prompt="prompt",
        first="response 1",
        second="response 2",
        label=("label",),
        first_wins=("0",),
        second_wins=("1",),
        tie=("2",),
        category="scenario",
    ),
    "llmbar": Mapping(
        prompt="input",
        first="output_1",
        second="output_2",
        label=("label",),
        first_wins=("1",),
        second_wins=("2",),
    ),
    "judgebench": Mapping(
        prompt="question",
        first="response_A",
        second="response_B",
        label=("label",),
        first_wins=("A>B",),
        second_wins=("B>A",),
        category="source",
        judged_by="the known right answer",
    ),
    "prometheus": Mapping(
        prompt="instruction",
        response="instruction",
        score="gpt4_score",
        prompt_between=_INSTRUCTION,
        answer_between=("###Response to evaluate:", "###Reference Answer (Score 5):"),
        category="category",
        judged_by="GPT-4",
    ),
    "hhh": Mapping(
        better="chosen_instruction",
        worse="rejected_instruction",
        prompt_between=_INSTRUCTION,
        answer_between=("###Response to evaluate:", "###Score Rubrics:"),
        category="source",
    ),
    "pairs": Mapping(prompt="prompt", better="chosen", worse="rejected"),
    "hh": Mapping(better="chosen", worse="rejected", transcript=True),
}
"""Published data sets by the form of their lines; `srlm` is our own, which needs no mapping."""


def recognise(first_object: object) -> str | None:
    """The name of the form whose fields an object has, `srlm` for our own, None for no form known."""
    if not isinstance(first_object, dict):
        return None
    if {"prompt", "answers"} <= first_object.keys():
        return NATIVE
    fitting = [
        name
        for name, one in MAPPINGS.items()
        if all(leads_somewhere(first_object, path) for path in one.wanted)
    ]
    return max(fitting, key=lambda name: len(MAPPINGS[name].wanted), default=None)


def parse_mapping(items: Sequence[str]) -> Mapping:
    """The mapping of `key=value` items, as given on a command line; raises ConfigError for all mistakes.

    A name of MAPPINGS may stand first, and the rest then changes it. Several labels are separated by
    commas, the two markers of prompt_between and answer_between by three dots.
    """
    values: dict[str, Any] = {}
    mistakes: list[str] = []
    rest = list(items)
    if rest and rest[0] in MAPPINGS:
        values = MAPPINGS[rest.pop(0)].model_dump(exclude_unset=True)
    seen: set[str] = set()
    for item in rest:
        key, equals, value = item.partition("=")
        if not equals:
            mistakes.append(f"{item!r}: not of the form key=value, and not one of {', '.join(MAPPINGS)}")
        elif key not in Mapping.model_fields:
            mistakes.append(f"{key!r}: no such key{nearest(key, tuple(Mapping.model_fields))}")
        elif key in seen:
            mistakes.append(f"{key!r}: given twice")
        else:
            values[key] = _value(key, value)
        seen.add(key)
    if not mistakes:
        try:
            return Mapping.model_validate(values)
        except ValidationError as error:
            mistakes.append(reason_of(error))
    raise ConfigError(
        f"the mapping {' '.join(items) or '(empty)'}",
        "; ".join(mistakes),
        "for instance: prompt=question first=response_A second=response_B label=label first_wins='A>B' "
        "second_wins='B>A'",
    )


def _value(key: str, value: str) -> Any:
    """What pydantic should read for the text that a command line gives for a key."""
    if key in ("label", "first_wins", "second_wins", "tie"):
        return tuple(part.strip() for part in value.split(","))
    return tuple(value.split("...")) if key.endswith("_between") else value
