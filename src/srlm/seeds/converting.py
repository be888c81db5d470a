"""One line of someone's preference data, by its mapping, as a ranked prompt; a line is never repaired."""

import math
import re
from dataclasses import dataclass
from typing import Any, TypeVar

from srlm.seeds.loading import RankedAnswer, RankedPrompt
from srlm.seeds.mapping import Mapping, Markers
from srlm.seeds.paths import leads_somewhere, value_at
from srlm.seeds.source import Bad, Fault, Unit, is_unicode, kind_of, shown

T = TypeVar("T")


@dataclass(frozen=True)
class Parts:
    """What a line says; `keys` has a number for every answer, lower for a better one."""

    number: int
    prompt: str
    texts: tuple[str, ...]
    keys: tuple[float, ...]
    category: str | None


def parts_of(number: int, line: dict[str, Any], mapping: Mapping) -> Parts:
    """What a line says, read as the mapping tells; raises Bad for a line that cannot be used."""
    raw, keys = _answers(line, mapping)
    prompt, texts = _cut(line, raw, mapping)
    if mapping.input and leads_somewhere(line, mapping.input) and value_at(line, mapping.input) is not None:
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
    has_category = mapping.category and leads_somewhere(line, mapping.category)
    category = value_at(line, mapping.category) if mapping.category and has_category else None
    category = category if isinstance(category, str) and is_unicode(category) else None
    return Parts(number, prompt, texts, keys, category)


def grouped(found: list[Parts], unit: Unit) -> tuple[list[Parts], list[Fault]]:
    """Answers to the same prompt as one, and the lines that have no sibling or say nothing new."""
    groups: dict[str, dict[str, Parts]] = {}
    faults = []
    for parts in found:
        text = parts.texts[0].strip()
        first = groups.setdefault(parts.prompt, {}).setdefault(text, parts)
        if first is not parts:
            faults.append(
                Fault(parts.number, "the same answer to its prompt stands earlier", f"{unit} {first.number}")
            )
    together = []
    for prompt, members in groups.items():
        one, *others = members.values()
        if not others:
            faults.append(Fault(one.number, "the only answer to its prompt"))
            continue
        texts = tuple(member.texts[0] for member in members.values())
        keys = tuple(member.keys[0] for member in members.values())
        together.append(Parts(one.number, prompt, texts, keys, one.category))
    return together, faults


def ranked(parts: Parts, grades: bool) -> RankedPrompt:
    """The ranked prompt that a line's parts make; `grades` keeps the scores as well as their order."""
    place = {key: rank for rank, key in enumerate(sorted(set(parts.keys)))}
    answers = tuple(
        RankedAnswer(text=text, rank=place[key], score=int(-key) if grades else None)
        for text, key in zip(parts.texts, parts.keys, strict=True)
    )
    return RankedPrompt(prompt=parts.prompt, category=parts.category, answers=answers)


def _answers(line: dict[str, Any], mapping: Mapping) -> tuple[list[str], tuple[float, ...]]:
    """The texts as they stand in the line, and their keys: lower for better ones."""
    if mapping.better and mapping.worse:
        return [_text(line, mapping.better), _text(line, mapping.worse)], (0, 1)
    if mapping.first and mapping.second:
        return [_text(line, mapping.first), _text(line, mapping.second)], _verdict(line, mapping)
    if mapping.response and mapping.score:
        return [_text(line, mapping.response)], (-_score(line, mapping.score),)
    items = value_at(line, str(mapping.answers))
    if not isinstance(items, list):
        raise Bad(f"`{mapping.answers}` is {kind_of(items)}, where a list should be")
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
    value = value_at(line, path)
    if isinstance(value, bool):
        word = str(value).lower()
    elif isinstance(value, str | int):
        word = str(value).strip()
    elif isinstance(value, float):
        word = f"{value:g}"
    else:
        raise Bad(f"`{path}` is {kind_of(value)}, where a label should be")
    for side, words in (
        ("first", mapping.first_wins),
        ("second", mapping.second_wins),
        ("tie", mapping.tie),
    ):
        if word in words:
            return side
    raise Bad(f"`{path}` is a label without a meaning", shown(word))


def _score(line: object, path: str) -> float:
    value = value_at(line, path)
    draws = value if isinstance(value, list) else [value]
    if not draws:
        raise Bad(f"`{path}` is an empty list, where a number should be")
    try:
        return math.fsum(_number(draw, path) for draw in draws) / len(draws)
    except OverflowError as error:
        raise Bad(f"`{path}` is too large a number") from error


def _number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Bad(f"`{path}` is {kind_of(value)}, where a number should be")
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


def _text(line: object, path: str) -> str:
    value = value_at(line, path)
    if not isinstance(value, str):
        raise Bad(f"`{path}` is {kind_of(value)}, where text should be")
    if not is_unicode(value):
        raise Bad(f"`{path}` holds half a character (a lone surrogate)")
    return value
