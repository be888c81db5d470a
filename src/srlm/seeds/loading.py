"""Read the two forms of seed data, as JSON lines or an array, gzipped or not; every bad line is named.

Instructions, one object a line:

    {"prompt": "...", "response": "...", "category": "...", "split": "train"}

Ranked answers, one object a line; scores are whole numbers from 0 to 5, and a justification is the
reasoning that the judge learns to write before the score:

    {"prompt": "...", "answers": [{"text": "...", "score": 4, "justification": "..."}, ...]}

`category`, `split` (train or heldout), `rank` (0 = best) and `justification` may be left out. Without
a split, the prompt's own content decides, so a prompt stays on its side when the file grows.
"""

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from srlm.config import SeedSection
from srlm.errors import DataError
from srlm.records import Example, Prompt, content_id, seed_for
from srlm.seeds.source import TOO_DEEP, Bad, Fault, Source, Unit, as_object, reason_of, shown

Split = Literal["train", "heldout"]
SHOWN_LINES = 20


def _says_something(text: str, info: ValidationInfo) -> str:
    if not text.strip():
        raise ValueError(f"the {info.field_name} is empty")
    return text


Text = Annotated[str, AfterValidator(_says_something)]


class Line(BaseModel):
    """What both forms share."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prompt: Text
    category: str | None = None
    split: Split | None = None


class Instruction(Line):
    """A prompt and a good answer to it (IFT)."""

    response: Text


Labeller = Literal["people", "rank", "agreement"]


class RankedAnswer(BaseModel):
    """An answer that people scored, or ranked among its siblings, or both."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Text
    score: int | None = Field(None, ge=0, le=5, strict=True)
    rank: int | None = Field(None, ge=0, strict=True, description="0 = best")
    justification: str = ""
    author: str | None = Field(None, description="who wrote it, such as `human` or a model's name")
    labelled_by: Labeller = Field(
        "people", description="where score and justification come from: `rank`, `agreement`: see the-loop.md"
    )


class RankedPrompt(Line):
    """A prompt with answers of different quality (EFT)."""

    answers: tuple[RankedAnswer, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _is_in_order(self) -> "RankedPrompt":
        if not any(all(getattr(item, key) is not None for item in self.answers) for key in ("score", "rank")):
            raise ValueError("neither every answer has a score nor every answer a rank")
        ranked = [answer for answer in self.answers if answer.rank is not None and answer.score is not None]
        for one in ranked:
            for other in ranked:
                if one.rank < other.rank and one.score < other.score:  # type: ignore[operator]
                    raise ValueError(
                        f"rank {one.rank} has score {one.score}, below rank {other.rank} with {other.score}"
                    )
        if len({answer.text.strip() for answer in self.answers}) < len(self.answers):
            raise ValueError("two answers are the same text")
        return self

    @property
    def is_scored(self) -> bool:
        """Whether there is a score that the judge can be taught; ranks alone only order."""
        return any(answer.score is not None for answer in self.answers)

    @property
    def places(self) -> tuple[int, ...]:
        """The human place of every answer, 0 = best, ties share one: by rank, else by score."""
        ranks = [answer.rank for answer in self.answers]
        keys = [-(answer.score or 0) for answer in self.answers] if None in ranks else ranks
        order = sorted(set(keys))  # type: ignore[type-var]
        return tuple(order.index(key) for key in keys)


L = TypeVar("L", bound=Line)


@dataclass(frozen=True)
class SeedSet:
    """Human seed data in its train and held-out parts."""

    instructions: list[Example]
    heldout_instructions: list[Example]
    ranked: list[RankedPrompt]
    heldout_ranked: list[RankedPrompt]

    def prompts(self) -> list[str]:
        """The texts of all prompts, of both forms and both parts."""
        instructions = [item.prompt for item in [*self.instructions, *self.heldout_instructions]]
        return instructions + [line.prompt for line in [*self.ranked, *self.heldout_ranked]]

    def unscored(self) -> list[RankedPrompt]:
        """Training prompts with ranks alone, to which the SFT baseline gives scores."""
        return [line for line in self.ranked if not line.is_scored]

    def heldout_prompts(self) -> list[Prompt]:
        """Every held-out prompt, of both forms, to answer in the evaluation."""
        texts = [item.prompt for item in self.heldout_instructions]
        texts += [item.prompt for item in self.heldout_ranked]
        return [Prompt.of(text, (), 0) for text in dict.fromkeys(texts)]


def load_seed(section: SeedSection) -> SeedSet:
    """The seed set of a config; raises DataError that names every bad line of both files."""
    instructions, some = _read_all(section.instructions, "instructions", Instruction)
    ranked, others = _read_all(section.ranked, "ranked", RankedPrompt)
    _refuse([*some, *others])
    _refuse_shared(section, {line.prompt for line in instructions}, ranked)
    examples = [(line, _example(line)) for line in instructions]
    sides = {
        side: [item for line, item in examples if _side(line, section) == side]
        for side in ("train", "heldout")
    }
    judged = {
        side: [line for line in ranked if _side(line, section) == side] for side in ("train", "heldout")
    }
    if not sides["train"] or not judged["train"]:
        raise DataError(
            f"seed data {_listed(section)}",
            "no line is left to train on",
            'give more lines, mark some with "split": "train", or lower data.heldout',
        )
    return SeedSet(
        sides["train"],
        sides["heldout"],
        judged["train"],
        judged["heldout"],
    )


def load_ranked(section: SeedSection) -> tuple[list[RankedPrompt], list[RankedPrompt]]:
    """The ranked prompts alone, to train on and held out, their side written on each; raises DataError."""
    ranked, faults = _read_all(section.ranked, "ranked", RankedPrompt)
    _refuse(faults)
    sided = [line.model_copy(update={"split": _side(line, section)}) for line in ranked]
    return [line for line in sided if line.split == "train"], [
        line for line in sided if line.split != "train"
    ]


def native_line(value: object, kind: type[L]) -> L:
    """The value as a line of our own form `kind`; raises Bad for one that is none."""
    try:
        return kind.model_validate(as_object(value))
    except ValidationError as error:
        raise Bad(reason_of(error)) from error
    except RecursionError as error:
        raise Bad(TOO_DEEP) from error


def _example(line: Instruction) -> Example:
    key = content_id("ift", line.prompt, line.response)
    return Example(id=key, kind="ift", prompt=line.prompt, response=line.response)


def _side(line: Line, section: SeedSection) -> Split:
    if line.split:
        return line.split
    return "heldout" if seed_for("split", line.prompt) / 2**63 < section.heldout else "train"


def _read_all(names: tuple[str, ...], part: str, kind: type[L]) -> tuple[list[L], list[str]]:
    """The lines of all files, and a paragraph for each that has bad ones; a prompt stands once."""
    lines: list[L] = []
    paragraphs: list[str] = []
    first_at: dict[str, str] = {}
    for name in names:
        source = _opened(name, part)
        faults: list[Fault] = []
        good = 0
        for number, value in source:
            try:
                line = native_line(value, kind)
            except Bad as bad:
                faults.append(Fault(number, bad.reason, bad.detail))
                continue
            here = f"{source.unit} {number}" if len(names) == 1 else f"{name}, {source.unit} {number}"
            if line.prompt in first_at:
                faults.append(Fault(number, f"its prompt stands already in {first_at[line.prompt]}"))
                continue
            first_at[line.prompt] = here
            lines.append(line)
            good += 1
        paragraphs += _named(_given(name, part), faults, good, source.unit)
    return lines, paragraphs


def _opened(name: str, part: str) -> Source:
    if name == "builtin":
        return Source(Path(name), files("srlm").joinpath("seeds", "builtin", f"{part}.jsonl").read_bytes())
    todo = "give the path of a .jsonl or .json file, gzipped or not, or `builtin`"
    return Source.read(Path(name), _given(name, part), todo)


def _given(name: str, part: str) -> str:
    return shown(f"data.{part}={name}", 400)


def _named(given: str, faults: list[Fault], num_good: int, unit: Unit) -> list[str]:
    if not faults:
        return [] if num_good else [f"{given}: the file holds no lines"]
    told = [f"{unit} {fault.number}: {fault}" for fault in faults[:SHOWN_LINES]]
    if rest := faults[SHOWN_LINES:]:
        told.append(f"and {len(rest)} more, {unit}s {', '.join(str(fault.number) for fault in rest)}")
    return ["\n    ".join([f"{given}: {len(faults)} bad of {num_good + len(faults)} {unit}s", *told])]


def _refuse(paragraphs: list[str]) -> None:
    if paragraphs:
        raise DataError(
            "\n".join(paragraphs),
            "a line that is dropped silently changes what the model learns",
            "mend the lines; the two forms are in docs/the-loop.md, section Seed data",
        )


def _listed(section: SeedSection) -> str:
    return shown(", ".join([*section.instructions, *section.ranked]), 400)


def _refuse_shared(section: SeedSection, instructions: set[str], ranked: list[RankedPrompt]) -> None:
    shared = [line.prompt for line in ranked if line.prompt in instructions]
    if shared:
        listed = "\n    ".join(repr(prompt[:80]) for prompt in shared[:SHOWN_LINES])
        raise DataError(
            f"{len(shared)} prompts stand in both parts of {_listed(section)}:\n    {listed}",
            "a judge tested on prompts it was trained to answer looks better than it is (section 2.1)",
            "leave each out of one of the two files",
        )
