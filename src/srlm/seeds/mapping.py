"""Read anyone's preference data as ranked prompts: a mapping says which field is what.

Three shapes of lines are known. Ranked: a prompt and a list of answers with ranks or scores. Pairwise: two
answers, and votes or field names that say which is better. Scored: one answer and its score a line, where
the lines with the same prompt belong together. What cannot be used is named with its reason, and a line
is never repaired. Scores only give the order: they are on other scales than ours, unless `grades` says so.
"""

import difflib
import json
import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from srlm.config import Section
from srlm.errors import ConfigError, DataError
from srlm.seeds.loading import Line, RankedAnswer, RankedPrompt, _numbered, _object, _reason

L = TypeVar("L", bound=Line)
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


@dataclass(frozen=True)
class Fault:
    """A line that is not used: its number, why, and what differs from line to line."""

    number: int
    reason: str
    detail: str = ""

    def __str__(self) -> str:
        return shown(f"{self.reason} ({self.detail})" if self.detail else self.reason, 400)


@dataclass(frozen=True, kw_only=True)
class Sorted(Generic[L]):
    """The usable lines of a file, where each begins, and why the rest is not used."""

    lines: list[L]
    numbers: list[int]
    faults: list[Fault]
    num_lines: int
    unit: Literal["line", "item"] = "line"


@dataclass(frozen=True, kw_only=True)
class Preferences(Sorted[RankedPrompt]):
    """The ranked prompts of a file of the form `form`: a name of MAPPINGS, `srlm` or `mapping`."""

    form: str


class Bad(ValueError):
    """Why a line cannot be used."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def recognise(first_object: object) -> str | None:
    """The name of the form whose fields an object has, `srlm` for our own, None for no form known."""
    if not isinstance(first_object, dict):
        return None
    if {"prompt", "answers"} <= first_object.keys():
        return NATIVE
    fitting = [name for name, one in MAPPINGS.items() if all(_has(first_object, path) for path in one.wanted)]
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
            mistakes.append(f"{key!r}: no such key{_nearest(key, tuple(Mapping.model_fields))}")
        elif key in seen:
            mistakes.append(f"{key!r}: given twice")
        else:
            values[key] = _value(key, value)
        seen.add(key)
    if not mistakes:
        try:
            return Mapping.model_validate(values)
        except ValidationError as error:
            mistakes.append(_reason(error).removeprefix("line: ").removeprefix("Value error, "))
    raise ConfigError(
        f"the mapping {' '.join(items) or '(empty)'}",
        "; ".join(mistakes),
        "for instance: prompt=question first=response_A second=response_B label=label first_wins='A>B' "
        "second_wins='B>A'",
    )


def read_preferences(path: Path, mapping: Mapping | None = None) -> Preferences:
    """The ranked prompts of a .jsonl or .json file, gzipped or not, with all that is not used and why.

    Without a mapping, the first object that has the fields of a known form decides. Raises DataError when
    the file cannot be read, is of no known form, or has no line that can be used.
    """
    source = Source.open(path)
    found = sort_preferences(source, mapping)
    if not found.lines:
        raise _unusable(source, found, mapping)
    return found


def sort_preferences(source: "Source", mapping: Mapping | None = None) -> Preferences:
    """As read_preferences, but it may be that no line can be used; raises DataError for unknown forms."""
    form = form_of(source) if mapping is None else _name_of(mapping)
    if form is None:
        raise unknown_form(source)
    if form == NATIVE:
        return Preferences(**vars(sort_native(source, RankedPrompt)), form=form)
    return _sort(source, mapping or MAPPINGS[form], form)


def sort_native(source: "Source", kind: type[L]) -> Sorted[L]:
    """The lines that are of our own form `kind`, by the same rules as when training loads them."""
    lines: dict[str, tuple[int, L]] = {}
    faults = []
    num_lines = 0
    for number, value in source:
        num_lines += 1
        try:
            line = kind.model_validate(_dict(value))
        except Bad as bad:
            faults.append(Fault(number, bad.reason, bad.detail))
        except (ValidationError, RecursionError) as error:
            faults.append(Fault(number, _invalid(error)))
        else:
            first_at, _ = lines.setdefault(line.prompt, (number, line))
            if first_at != number:
                faults.append(Fault(number, "its prompt stands in an earlier line", f"line {first_at}"))
    numbers, kept = [number for number, _ in lines.values()], [line for _, line in lines.values()]
    return Sorted(lines=kept, numbers=numbers, faults=faults, num_lines=num_lines, unit=source.unit)


# --- From the bytes of a file to objects ---


class Source:
    """The numbered values of a file, in order; iterate as often as you like.

    A value is what JSON gave, or a Bad that says why there is none.
    """

    def __init__(self, path: Path, data: bytes) -> None:
        self.path = path
        self.is_gzip = data.startswith(_GZIP)
        data, self._cut = _unzipped(data) if self.is_gzip else (data, "")
        self._data = data.removeprefix(b"\xef\xbb\xbf")
        self._array = _array(self._data)
        self.unit: Literal["line", "item"] = "line" if self._array is None else "item"

    @classmethod
    def open(cls, path: Path) -> "Source":
        """The source of a file; raises DataError when it cannot be read or holds nothing."""
        try:
            data = path.read_bytes()
        except (OSError, ValueError) as error:
            raise DataError(
                shown(str(path), 400),
                f"it cannot be read ({getattr(error, 'strerror', None) or error})",
                "give the path of a .jsonl or .json file, gzipped or not",
            ) from error
        source = cls(path, data)
        if next(iter(source), None) is None:
            raise DataError(shown(str(path), 400), "the file holds no lines", "give a file with data in it")
        return source

    def __iter__(self) -> Iterator[tuple[int, object]]:
        values = self._values()
        if not self._cut:
            yield from values
            return
        last: tuple[int, object] = (0, None)
        for number, value in values:
            if last[0]:
                yield last
            last = number, value
        is_torn = isinstance(last[1], Bad) and last[1].reason in (NOT_JSON, NOT_UTF8)
        if last[0] and not is_torn:
            yield last
        yield last[0] + (not is_torn), Bad(self._cut)

    def _values(self) -> Iterator[tuple[int, object]]:
        if self._array is not None:
            yield from enumerate(self._array, 1)
            return
        for number, text in _numbered(self._data):
            yield number, _parsed(text)

    def fields(self) -> list[str]:
        """The names of the fields of the first objects, the most frequent first."""
        counts: Counter[str] = Counter()
        for number, value in self:
            if isinstance(value, dict):
                counts.update(value.keys())
            if number > 100:
                break
        return [name for name, _ in counts.most_common()]


NOT_JSON, NOT_UTF8, TOO_DEEP = "not JSON", "not UTF-8", "nested too deeply"
_GZIP = b"\x1f\x8b"
_SPACE = re.compile(r"[ \t\r\n]*")


def _parsed(text: bytes) -> object:
    try:
        return _object(text)
    except RecursionError:
        return Bad(TOO_DEEP)
    except ValueError as error:
        reason = str(error)
        kind = NOT_UTF8 if reason.startswith(NOT_UTF8) else NOT_JSON
        return Bad(kind, reason.removeprefix(f"{kind} (").removesuffix(")"))


def _array(data: bytes) -> list[object] | None:
    """The items of a JSON array, as far as it can be read; None for lines that are objects of their own."""
    if not data.lstrip(b" \t\r\n").startswith(b"["):
        return None
    items = list(_array_items(data.decode("utf-8", "surrogateescape")))
    is_whole = not any(isinstance(item, Bad) for item in items)
    return items if is_whole or any(isinstance(item, dict) for item in items) else None


def _array_items(text: str) -> Iterator[object]:
    decoder = json.JSONDecoder()
    place = _after_space(text, text.index("[") + 1)
    while text[place : place + 1] != "]":
        try:
            value, end = decoder.raw_decode(text, place)
        except RecursionError:
            yield Bad(TOO_DEEP, "nothing after it can be read")
            return
        except ValueError as error:
            yield Bad(NOT_JSON, f"{error}; nothing after it can be read")
            return
        yield value if _is_unicode(text[place:end]) else Bad(NOT_UTF8)
        place = _after_space(text, end)
        if text[place : place + 1] == ",":
            place = _after_space(text, place + 1)
        elif text[place : place + 1] != "]":
            yield Bad(NOT_JSON, f"the array is not continued at character {place}")
            return
    if text[place + 1 :].strip():
        yield Bad(NOT_JSON, "text follows the end of the array")


def _after_space(text: str, place: int) -> int:
    match = _SPACE.match(text, place)
    return match.end() if match else place


def _unzipped(data: bytes) -> tuple[bytes, str]:
    """What could be unzipped, and why that is not all, or nothing."""
    pieces: list[bytes] = []
    view, place = memoryview(data), 0
    while place < len(data):
        if data[place : place + 2] != _GZIP:
            padded = not data[place:].strip(b"\0")
            return b"".join(pieces), "" if padded else "the gzip file is damaged"
        inflate = zlib.decompressobj(wbits=31)
        try:
            while not inflate.eof and place < len(data):
                piece = view[place : place + 4096]  # small, for what a piece gave is lost at an error
                pieces.append(inflate.decompress(piece))
                place += len(piece) - len(inflate.unused_data)
        except zlib.error:
            return b"".join(pieces), "the gzip file is damaged"
        if not inflate.eof:
            return b"".join(pieces), "the gzip file ends early"
    return b"".join(pieces), ""


# --- From an object to a ranked prompt ---


@dataclass(frozen=True)
class _Parts:
    """What a line says: the answers' keys are lower for better ones."""

    number: int
    prompt: str
    texts: tuple[str, ...]
    keys: tuple[float, ...]
    category: str | None


def _sort(source: Source, mapping: Mapping, form: str) -> Preferences:
    found: list[_Parts] = []
    faults: list[Fault] = []
    num_lines = 0
    for number, value in source:
        num_lines += 1
        try:
            found.append(_parts(number, _dict(value), mapping))
        except Bad as bad:
            faults.append(Fault(number, bad.reason, bad.detail))
    if mapping.shape == "scored":
        found, alone = _grouped(found)
        faults += alone
    lines, numbers = [], []
    for parts in found:
        try:
            lines.append(_ranked(parts, mapping.grades))
            numbers.append(parts.number)
        except ValidationError as error:  # whatever RankedPrompt will refuse beyond what is checked here
            faults.append(Fault(parts.number, _invalid(error)))
    faults.sort(key=lambda fault: fault.number)
    return Preferences(
        lines=lines, numbers=numbers, faults=faults, num_lines=num_lines, unit=source.unit, form=form
    )


def _parts(number: int, line: dict[str, Any], mapping: Mapping) -> _Parts:
    raw, keys = _answers(line, mapping)
    prompt, texts = _cut(line, raw, mapping)
    if mapping.input and _has(line, mapping.input) and _at(line, mapping.input) is not None:
        more = _text(line, mapping.input)
        prompt = f"{prompt}\n\n{more}" if more.strip() else prompt
    if not prompt.strip():
        raise Bad("the prompt is empty")
    if any(not text.strip() for text in texts):
        raise Bad("an answer is empty")
    if len({text.strip() for text in texts}) < len(texts):
        raise Bad("the two answers are the same text" if len(texts) == 2 else "two answers are the same text")
    if mapping.grades and any(-key not in range(6) for key in keys):
        raise Bad("a score is not a whole number from 0 to 5", ", ".join(f"{-key:g}" for key in keys))
    has_category = mapping.category and _has(line, mapping.category)
    category = _at(line, mapping.category) if mapping.category and has_category else None
    category = category if isinstance(category, str) and _is_unicode(category) else None
    return _Parts(number, prompt, texts, keys, category)


def _answers(line: dict[str, Any], mapping: Mapping) -> tuple[list[str], tuple[float, ...]]:
    """The texts as they stand in the line, and their keys: lower for better ones."""
    if mapping.better and mapping.worse:
        return [_text(line, mapping.better), _text(line, mapping.worse)], (0, 1)
    if mapping.first and mapping.second:
        return [_text(line, mapping.first), _text(line, mapping.second)], _verdict(line, mapping)
    if mapping.response and mapping.score:
        return [_text(line, mapping.response)], (-_score(line, mapping.score),)
    items = _at(line, str(mapping.answers))
    if not isinstance(items, list):
        raise Bad(f"`{mapping.answers}` is {_kind(items)}, where a list should be")
    if len(items) < 2:
        raise Bad("fewer than two answers", f"`{mapping.answers}` holds {len(items)}")
    texts = [_text(item, str(mapping.text)) for item in items]
    if mapping.score:
        return texts, tuple(-_score(item, mapping.score) for item in items)
    return texts, tuple(_score(item, str(mapping.rank)) for item in items)


def _verdict(line: dict[str, Any], mapping: Mapping) -> tuple[float, ...]:
    votes = [_vote(line, path, mapping) for path in mapping.label]
    for side, keys in (("first", (0, 1)), ("second", (1, 0))):
        if 2 * votes.count(side) > len(votes):
            return keys
    return 0, 0


def _vote(line: dict[str, Any], path: str, mapping: Mapping) -> str:
    value = _at(line, path)
    if isinstance(value, bool):
        word = str(value).lower()
    elif isinstance(value, str | int):
        word = str(value).strip()
    elif isinstance(value, float):
        word = f"{value:g}"
    else:
        raise Bad(f"`{path}` is {_kind(value)}, where a label should be")
    for side, words in (
        ("first", mapping.first_wins),
        ("second", mapping.second_wins),
        ("tie", mapping.tie),
    ):
        if word in words:
            return side
    raise Bad(f"`{path}` is a label without a meaning", shown(word))


def _score(line: object, path: str) -> float:
    value = _at(line, path)
    draws = value if isinstance(value, list) else [value]
    if not draws:
        raise Bad(f"`{path}` is an empty list, where a number should be")
    try:
        return math.fsum(_number(draw, path) for draw in draws) / len(draws)
    except OverflowError as error:
        raise Bad(f"`{path}` is too large a number") from error


def _number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Bad(f"`{path}` is {_kind(value)}, where a number should be")
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise Bad(f"`{path}` is not a number", shown(str(value)))
    return number


def _cut(line: dict[str, Any], raw: list[str], mapping: Mapping) -> tuple[str, tuple[str, ...]]:
    """The prompt, and the answers without what surrounds them."""
    if mapping.transcript:
        turns = [_turns(text) for text in raw]
        before = _shared([one[:-1] for one in turns], "the transcripts differ before the last answer")
        return _rendered(before), tuple(one[-1] for one in turns)
    between = mapping.answer_between
    texts = tuple(_between(text, between) if between else text for text in raw)
    if mapping.prompt:
        prompt = _text(line, mapping.prompt)
        return _between(prompt, mapping.prompt_between) if mapping.prompt_between else prompt, texts
    markers = mapping.prompt_between or ("", "")
    return _shared([_between(text, markers) for text in raw], "the answers are to different prompts"), texts


T = TypeVar("T")


def _shared(values: list[T], reason: str) -> T:
    if any(value != values[0] for value in values):
        raise Bad(reason)
    return values[0]


def _between(text: str, markers: Markers) -> str:
    """What stands between the markers; where one stands twice, nobody knows where the part ends."""
    for side, marker in enumerate(markers):
        pieces = text.split(marker)
        if len(pieces) != 2:
            number = "is missing" if len(pieces) == 1 else "stands more than once"
            raise Bad(f"the marker `{shown(marker)}` {number}")
        text = pieces[1 - side]
    return text.strip()


_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def _turns(text: str) -> list[str]:
    """The turns of a transcript, a human's first, the assistant's last."""
    before, *rest = _TURN.split(text)
    speakers = rest[::2]
    if before.strip() or not rest:
        raise Bad("not a transcript of `Human:` and `Assistant:` turns")
    if speakers != ["Human", "Assistant"] * (len(speakers) // 2):
        raise Bad("the turns are not Human and Assistant in alternation, up to an answer")
    return [turn.strip() for turn in rest[1::2]]


def _rendered(turns: list[str]) -> str:
    if len(turns) == 1:
        return turns[0]
    if not all(turns):
        raise Bad("a turn before the last answer is empty")
    return "\n\n".join(f"{('User', 'Assistant')[place % 2]}: {turn}" for place, turn in enumerate(turns))


def _grouped(found: list[_Parts]) -> tuple[list[_Parts], list[Fault]]:
    """Answers to the same prompt as one, and the lines that have no sibling or say nothing new."""
    groups: dict[str, dict[str, _Parts]] = {}
    faults = []
    for parts in found:
        text = parts.texts[0].strip()
        first = groups.setdefault(parts.prompt, {}).setdefault(text, parts)
        if first is not parts:
            faults.append(
                Fault(parts.number, "the same answer to its prompt stands earlier", f"line {first.number}")
            )
    together = []
    for prompt, members in groups.items():
        one, *others = members.values()
        if not others:
            faults.append(Fault(one.number, "the only answer to its prompt"))
            continue
        texts = tuple(member.texts[0] for member in members.values())
        keys = tuple(member.keys[0] for member in members.values())
        together.append(_Parts(one.number, prompt, texts, keys, one.category))
    return together, faults


def _ranked(parts: _Parts, grades: bool) -> RankedPrompt:
    place = {key: rank for rank, key in enumerate(sorted(set(parts.keys)))}
    answers = tuple(
        RankedAnswer(text=text, rank=place[key], score=int(-key) if grades else None)
        for text, key in zip(parts.texts, parts.keys, strict=True)
    )
    return RankedPrompt(prompt=parts.prompt, category=parts.category, answers=answers)


# --- Fields ---


def _dict(value: object) -> dict[str, Any]:
    if isinstance(value, Bad):
        raise value
    if not isinstance(value, dict):
        raise Bad("not a JSON object", _kind(value))
    return value


def _text(line: object, path: str) -> str:
    value = _at(line, path)
    if not isinstance(value, str):
        raise Bad(f"`{path}` is {_kind(value)}, where text should be")
    if not _is_unicode(value):
        raise Bad(f"`{path}` holds half a character (a lone surrogate)")
    return value


class _Missing(KeyError):
    """A path that leads nowhere: the value at which it ended, and what was left of the path."""


def _at(line: object, path: str) -> Any:
    """The value at a dotted path; raises Bad with the nearest name there is."""
    try:
        return _walk(line, path)
    except _Missing as missing:
        value, left = missing.args
        if isinstance(value, dict):
            raise Bad(f"no field `{path}`{_nearest(left.partition('.')[0], tuple(value))}") from None
        size = f"a list of {len(value)}" if isinstance(value, list) else _kind(value)
        raise Bad(f"no field `{path}`", f"{size} has no {shown(left)!r}") from None


def _walk(value: Any, left: str) -> Any:
    """At every level the whole of what is left is tried as a key, then what stands before the dot."""
    while left:
        head, _, rest = left.partition(".")
        if isinstance(value, dict) and left in value:
            return value[left]
        if isinstance(value, dict) and rest and head in value:
            value, left = value[head], rest
        elif isinstance(value, list) and _is_place(head, value):
            value, left = value[int(head)], rest
        else:
            raise _Missing(value, left)
    return value


def _is_place(text: str, values: list[Any]) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10 and int(text) < len(values)


def _has(line: object, path: str) -> bool:
    try:
        _walk(line, path)
    except _Missing:
        return False
    return True


@lru_cache(maxsize=256)  # the lines of a file mostly have the same fields
def _nearest(name: str, known: tuple[str, ...]) -> str:
    """The end of a sentence: which of the names it may have been."""
    near = difflib.get_close_matches(name, [one for one in known[:200] if len(one) < 100], n=1, cutoff=0.5)
    return f"; the nearest is `{shown(near[0])}`" if near else f"; there is {listed(known)}"


def _kind(value: object) -> str:
    kinds = {
        bool: "true or false", int: "a number", float: "a number", str: "text", list: "a list",
        dict: "an object",
    }  # fmt: skip
    return kinds.get(type(value), "null")


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _invalid(error: ValidationError | RecursionError) -> str:
    return TOO_DEEP if isinstance(error, RecursionError) else shown(_reason(error), 400)


def _value(key: str, value: str) -> Any:
    """What pydantic should read for the text that a command line gives for a key."""
    if key in ("label", "first_wins", "second_wins", "tie"):
        return tuple(part.strip() for part in value.split(","))
    return tuple(value.split("...")) if key.endswith("_between") else value


# --- What is said ---


def shown(text: str, limit: int = 60) -> str:
    """The text on one line, without control characters and at most `limit` characters of it."""
    text = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


def listed(names: Sequence[str], most: int = 12) -> str:
    """The first names, and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"`{shown(name)}`" for name in names[:most]) + rest if names else "nothing"


def _name_of(mapping: Mapping) -> str:
    return next((name for name, one in MAPPINGS.items() if one == mapping), "mapping")


def form_of(source: Source) -> str | None:
    """The form of the first object that has the fields of one, as `recognise` names it."""
    return next((form for _, value in source if (form := recognise(value))), None)


def unknown_form(source: Source) -> DataError:
    """The error for a file none of whose lines has the fields of a known form."""
    fields = source.fields()
    has = f"its lines have the fields {listed(fields)}" if fields else f"no object in it ({_whys(source)})"
    return DataError(
        shown(str(source.path), 400),
        f"{has}: none of the known forms ({', '.join([NATIVE, *MAPPINGS])})",
        "say which field is what, for instance prompt=question better=good_answer worse=bad_answer",
    )


def _whys(source: Source) -> str:
    reasons = Counter(value.reason if isinstance(value, Bad) else _kind(value) for _, value in source)
    return ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))


def _unusable(source: Source, found: Preferences, mapping: Mapping | None) -> DataError:
    mapping = mapping or MAPPINGS.get(found.form)
    reasons = Counter(fault.reason for fault in found.faults).most_common(5)
    why = "; ".join(f"{shown(reason, 200)} ({count})" for reason, count in reasons)
    if mapping:
        why += f". The lines have {listed(source.fields())}; the mapping wants {listed(mapping.wanted)}"
    return DataError(
        f"{shown(str(source.path), 400)}: not one of {found.num_lines} {found.unit}s fits {found.form}",
        why,
        "mend the file, or say which field is what, for instance prompt=question better=good worse=bad",
    )
