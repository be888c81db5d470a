"""Message trees of Open Assistant exports, with every fault of a file named and the rest usable.

Two forms are read, told apart by the first good line and not by the name of the file: nested trees
(`{"prompt": {..., "replies": [...]}}`) and flat messages (`{"message_id": ..., "parent_id": ...}`).
A file is not trusted: source.py names what cannot be read, and no tree is walked by recursion.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from srlm.errors import DataError
from srlm.seeds.hub import fetched
from srlm.seeds.source import DAMAGED, ENDS_EARLY, Bad, Source

SHOWN_FAULTS = 20

IN_A_CIRCLE = "its parents run in a circle"
NO_PARENT = "its parent is not there"
BELOW_LEFT_OUT = "it stands below a message that was left out"
TWICE = "its message_id stands already in another message; left out with its replies"
NO_RANK = "it has no rank although its siblings have"
TIED = "two replies share a rank; kept as a tie"

_HUB = {
    "oasst1": ("OpenAssistant/oasst1", "2023-04-12_oasst_ready.trees.jsonl.gz"),
    "oasst2": ("OpenAssistant/oasst2", "2023-11-05_oasst2_ready.trees.jsonl.gz"),
}

Note = Callable[[int, str, object], None]


@dataclass(frozen=True)
class Message:
    """A message, and the messages that answer it; messages compare by all but their replies."""

    id: str
    parent_id: str | None
    text: str
    role: str  # prompter or assistant
    lang: str
    rank: int | None  # 0 = best among its siblings
    deleted: bool
    review_result: bool | None
    synthetic: bool
    labels: dict[str, float] = field(default_factory=dict, hash=False)  # means over raters, 0 to 1
    # Comparing or printing a tree would recurse as deep as people talked.
    replies: tuple["Message", ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True)
class Fault:
    """A place in a file that is not as it should be, and why; `about` names the message."""

    file: str
    line: int
    reason: str
    about: str = ""

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}" + (f" ({self.about})" if self.about else "")


@dataclass(frozen=True)
class Forest:
    """The trees of all sources by their roots, the faults, and ids of trees that an earlier source has."""

    trees: list[Message]
    faults: list[Fault]
    shared: list[str]


@dataclass(frozen=True)
class _Row:
    """A message as it stands in the file."""

    line: int
    parent: Any
    raw: dict[str, Any]


def read_trees(*sources: str) -> Forest:
    """The trees of files and of the hub's `oasst1` and `oasst2`, in order, each tree once.

    A tree that has a message in common with an earlier source is left out and listed as shared. Raises
    DataError for a source that cannot be read at all or that holds nothing usable.
    """
    forest = Forest([], [], [])
    seen: set[str] = set()
    for source in sources:
        trees, faults = _read(source)
        ids = [{message.id for message in walk(tree)} for tree in trees]
        forest.trees.extend(tree for tree, inside in zip(trees, ids, strict=True) if not inside & seen)
        forest.shared.extend(tree.id for tree, inside in zip(trees, ids, strict=True) if inside & seen)
        forest.faults.extend(faults)
        seen.update(*ids)
    return forest


def walk(tree: Message) -> Iterator[Message]:
    """A tree's messages, each before its replies, however deep the tree is."""
    waiting = [tree]
    while waiting:
        message = waiting.pop()
        yield message
        waiting.extend(reversed(message.replies))


def fault_counts(faults: Iterable[Fault]) -> dict[str, int]:
    """How many faults there are of each reason, the commonest first."""
    return dict(Counter(fault.reason for fault in faults).most_common())


def fault_lines(faults: Sequence[Fault]) -> list[str]:
    """The first 20 faults in words, with file and line, and how many more there are."""
    lines = [str(fault) for fault in faults[:SHOWN_FAULTS]]
    return lines + ([f"and {len(faults) - SHOWN_FAULTS} more"] if len(faults) > SHOWN_FAULTS else [])


def _read(source: str) -> tuple[list[Message], list[Fault]]:
    """The trees of one source and its faults in the order of its lines."""
    faults: list[Fault] = []

    def note(line: int, reason: str, about: object) -> None:
        name = ascii(about[:80]) if isinstance(about, str) and about else ""
        faults.append(Fault(source, line, reason, name))

    trees = _assembled(_rows(_objects(_opened(source), note), note), note)
    faults.sort(key=lambda fault: fault.line)
    if not trees:
        raise DataError(
            "\n    ".join([source, *fault_lines(faults)]),
            "no message tree in it can be used",
            "give an Open Assistant export: lines with `prompt` and nested `replies`, or with `message_id` "
            "and `parent_id`",
        )
    return trees, faults


def _opened(source: str) -> Source:
    todo = "give the path of an Open Assistant export, or `oasst1` or `oasst2` to fetch one"
    return Source.read(_fetched(source), source, todo)


def _fetched(source: str) -> Path:
    """The file that a source means, fetched from the hub where the source is a name there."""
    repository, filename = _HUB.get(source.removeprefix("OpenAssistant/"), (None, None))
    if repository is None or filename is None:
        return Path(source)
    return fetched(repository, filename, source)


def _objects(source: Source, note: Note) -> list[tuple[int, dict[str, Any]]]:
    """The lines that hold a JSON object, with their numbers."""
    found = []
    for number, value in source:
        if isinstance(value, dict):
            found.append((number, value))
        elif not isinstance(value, Bad):
            note(number, "it is no JSON object", "")
        elif value.reason == DAMAGED:  # for the trees it ends where the damage begins
            note(number, ENDS_EARLY, DAMAGED)
        else:
            note(number, value.reason, value.detail)
    return found


def _rows(objects: list[tuple[int, dict[str, Any]]], note: Note) -> Iterator[_Row]:
    """The messages of a file in either form; the first line that has one of the two forms decides."""
    forms = [_form(value) for _, value in objects]
    form = next(filter(None, forms), "")
    seen: set[str] = set()
    for (line, value), its_form in zip(objects, forms, strict=True):
        if not its_form:
            note(line, "it has neither a tree in `prompt` nor a `message_id`", "")
        elif its_form != form:
            note(line, f"it is in the {its_form} form, and the file began in the {form} form", "")
        elif form == "nested":
            yield from _nested(line, value["prompt"], seen, note)
        else:
            yield _Row(line, value.get("parent_id"), value)


def _form(value: dict[str, Any]) -> str:
    if isinstance(value.get("prompt"), dict):
        return "nested"
    return "flat" if "message_id" in value else ""


def _nested(line: int, prompt: dict[str, Any], seen: set[str], note: Note) -> Iterator[_Row]:
    """A tree's messages; replies to a message that was there before would mix with the first one's."""
    waiting: list[tuple[Any, str | None]] = [(prompt, None)]
    while waiting:
        raw, parent = waiting.pop()
        if not isinstance(raw, dict):
            note(line, "a reply is no object", parent)
            continue
        yield _Row(line, parent, raw)
        key = raw.get("message_id")
        key = key if isinstance(key, str) else ""  # no message has this id, so its replies are orphans
        replies = raw.get("replies")
        replies = [] if replies is None else replies
        if not isinstance(replies, list):
            note(line, "its replies are no list", key)
        elif key not in seen:
            waiting.extend((reply, key) for reply in reversed(replies))
        seen.update([key] if key else [])


def _assembled(rows: Iterable[_Row], note: Note) -> list[Message]:
    """The trees that the messages make, in the order of their roots; what no root leads to is named."""
    messages: dict[str, Message] = {}
    lines: dict[str, int] = {}
    unranked: set[str] = set()
    for row in rows:
        try:
            message = _message(row)
        except ValueError as error:
            note(row.line, str(error), row.raw.get("message_id"))
            continue
        if message.id in messages:
            note(row.line, TWICE, message.id)
            continue
        messages[message.id], lines[message.id] = message, row.line
        for reason in filter(None, (_rank(row.raw)[1], _labels(row.raw)[1])):
            note(row.line, reason, message.id)
        if _rank(row.raw)[1]:
            unranked.add(message.id)
    children: dict[str | None, list[Message]] = defaultdict(list)
    for message in messages.values():
        children[message.parent_id].append(message)
    order = _from_roots(children)
    _note_lost(messages, {message.id for message in order}, lines, note)
    _note_ranks(order, children, unranked, lines, note)
    return _joined(order)


def _message(row: _Row) -> Message:
    raw, parent = row.raw, row.parent
    key, text, role = _text(raw, "message_id"), _text(raw, "text"), _text(raw, "role")
    if role not in ("prompter", "assistant"):
        raise ValueError("its role is neither prompter nor assistant")
    if parent is not None and not isinstance(parent, str):
        raise ValueError("its parent_id is not text")
    lang = raw.get("lang")
    if lang is not None and not isinstance(lang, str):
        raise ValueError("its lang is not text")
    return Message(
        id=key,
        parent_id=parent,
        text=text,
        role=role,
        lang=lang or "",
        rank=_rank(raw)[0],
        deleted=bool(_flag(raw, "deleted")),
        review_result=_flag(raw, "review_result"),
        synthetic=bool(_flag(raw, "synthetic")),
        labels=_labels(raw)[0],
    )


def _text(raw: dict[str, Any], name: str) -> str:
    value = raw.get(name)
    if value is None:
        raise ValueError(f"it has no {name}")
    if isinstance(value, bool):
        raise ValueError(f"its {name} is true or false where text should be")
    if not isinstance(value, str):
        raise ValueError(f"its {name} is not text")
    if not value.strip():
        raise ValueError(f"its {name} is empty")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"its {name} holds half a character (a lone surrogate)") from error
    return value


def _flag(raw: dict[str, Any], name: str) -> bool | None:
    value = raw.get(name)
    if value is not None and not isinstance(value, bool):
        raise ValueError(f"its {name} is neither true nor false")
    return value


def _rank(raw: dict[str, Any]) -> tuple[int | None, str]:
    """A rank, or the reason why it is none; tables write whole numbers as 1.0."""
    value = raw.get("rank")
    if value is None:
        return None, ""
    if isinstance(value, bool):
        return None, "its rank is true or false"
    if not isinstance(value, int) and not (isinstance(value, float) and math.isfinite(value)):
        return None, "its rank is no number"
    if value < 0:
        return None, "its rank is below 0"
    return (int(value), "") if value == int(value) else (None, "its rank is no whole number")


def _labels(raw: dict[str, Any]) -> tuple[dict[str, float], str]:
    """Labels by name from either way exports write them, and a reason where some cannot be read."""
    given = raw.get("labels")
    if given is None:
        return {}, ""
    if not isinstance(given, dict):
        return {}, "its labels are no object"
    names, values = given.get("name"), given.get("value")
    if isinstance(names, list) and isinstance(values, list):
        pairs = list(zip(names, values, strict=False))
    else:
        pairs = [(name, one.get("value") if isinstance(one, dict) else one) for name, one in given.items()]
    rated = [(name, value) for name, value in pairs if value is not None]
    good = {name: float(value) for name, value in rated if isinstance(name, str) and _is_share(value)}
    return good, "" if len(good) == len(rated) else "some of its labels are no numbers from 0 to 1"


def _is_share(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def _from_roots(children: dict[str | None, list[Message]]) -> list[Message]:
    """Every message that a root leads to, each before its replies."""
    order: list[Message] = []
    waiting = list(reversed(children.get(None, [])))
    while waiting:
        message = waiting.pop()
        order.append(message)
        waiting.extend(reversed(children.get(message.id, [])))
    return order


def _note_lost(messages: dict[str, Message], reached: set[str], lines: dict[str, int], note: Note) -> None:
    lost = {key: message for key, message in messages.items() if key not in reached}
    circles = _circles(lost)
    for key, message in lost.items():
        reason = NO_PARENT if message.parent_id not in messages else BELOW_LEFT_OUT
        note(lines[key], IN_A_CIRCLE if key in circles else reason, key)


def _circles(lost: dict[str, Message]) -> set[str]:
    """The messages that are their own ancestors; each parent is followed once."""
    done: set[str] = set()
    found: set[str] = set()
    for start in lost:
        trail: dict[str, int] = {}
        here = start
        while here in lost and here not in done:
            done.add(here)
            trail[here] = len(trail)
            here = lost[here].parent_id or ""
        if here in trail:
            found.update(list(trail)[trail[here] :])
    return found


def _note_ranks(
    order: list[Message],
    children: dict[str | None, list[Message]],
    noted: set[str],
    lines: dict[str, int],
    note: Note,
) -> None:
    """Ranks that are missing or shared; messages that were deleted or refused never had one."""
    for message in order:
        replies = children.get(message.id, [])
        ranks = Counter(reply.rank for reply in replies if reply.rank is not None)
        if not ranks:
            continue
        for reply in replies:
            unusual = reply.rank is None and not reply.deleted and reply.review_result is not False
            if unusual and reply.role == "assistant" and reply.id not in noted:
                note(lines[reply.id], NO_RANK, reply.id)
        tied = [reply for reply in replies if reply.rank is not None and ranks[reply.rank] > 1]
        if tied:
            note(lines[tied[0].id], TIED, message.id)


def _joined(order: list[Message]) -> list[Message]:
    """The roots with all that hangs below them, made from the leaves up."""
    done: dict[str | None, list[Message]] = defaultdict(list)
    for message in reversed(order):
        whole = replace(message, replies=tuple(reversed(done.pop(message.id, []))))
        done[message.parent_id].append(whole)
    return list(reversed(done[None]))
