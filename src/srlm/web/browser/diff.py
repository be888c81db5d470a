"""What differs between two texts, word by word, in bounded time and memory.

The longest common words are kept (an exact LCS, in C), less those that are too few between changes to read.
Texts too long for that are compared line by line, and words only inside the lines that changed, as far as the
bound goes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rapidfuzz.distance import Indel

MOST_CELLS = 300_000_000
"""Words of one text times words of the other that are compared: about 0.1 s and 40 MB."""

Kind = Literal["same", "deleted", "inserted"]
By = Literal["words", "lines", "nothing"]
Opcode = tuple[str, int, int, int, int]

_TOKEN = re.compile(r"\w+|\s+|[^\w\s]")
_LINE = re.compile(r"[^\n]*\n|[^\n]+")


@dataclass(frozen=True)
class Part:
    """A part of two texts: in both, only in the first (deleted), or only in the second (inserted)."""

    kind: Kind
    text: str


@dataclass(frozen=True)
class Diff:
    """Two texts in parts, in order. `by`: all words were compared, or lines first, or nothing at all."""

    parts: tuple[Part, ...]
    by: By

    @property
    def before(self) -> list[Part]:
        """The parts of the first text."""
        return [part for part in self.parts if part.kind != "inserted"]

    @property
    def after(self) -> list[Part]:
        """The parts of the second text."""
        return [part for part in self.parts if part.kind != "deleted"]


def diff(one: str, other: str) -> Diff:
    """What has to be deleted of a text and inserted into it to make it the other.

    >>> [(part.kind, part.text) for part in diff("a red cat", "a blue cat").parts]
    [('same', 'a '), ('deleted', 'red'), ('inserted', 'blue'), ('same', ' cat')]
    """
    words = _TOKEN.findall(one), _TOKEN.findall(other)
    if _cells(*words) <= MOST_CELLS:
        return Diff(_merged(_by_words(*words)), "words")
    lines = _LINE.findall(one), _LINE.findall(other)
    if _cells(*lines) <= MOST_CELLS // 2:
        return Diff(_merged(_by_lines(*lines)), "lines")
    return Diff(_merged(_replaced(one, other)), "nothing")


def _by_words(one: Sequence[str], other: Sequence[str]) -> list[Part]:
    found: list[Part] = []
    for tag, start, end, begin, stop in _readable(_opcodes(one, other)):
        if tag == "equal":
            found.append(Part("same", "".join(one[start:end])))
        else:
            found += _replaced("".join(one[start:end]), "".join(other[begin:stop]))
    return found


def _by_lines(one: Sequence[str], other: Sequence[str]) -> list[Part]:
    """Line by line; what changed word by word, until half of the cells are used up."""
    found: list[Part] = []
    left = MOST_CELLS // 2
    for tag, start, end, begin, stop in _readable(_opcodes(one, other)):
        before, after = "".join(one[start:end]), "".join(other[begin:stop])
        words = _TOKEN.findall(before), _TOKEN.findall(after)
        if tag == "equal":
            found.append(Part("same", before))
        elif _cells(*words) <= left:
            left -= _cells(*words)
            found += _by_words(*words)
        else:
            found += _replaced(before, after)
    return found


def _opcodes(one: Sequence[str], other: Sequence[str]) -> list[Opcode]:
    """Runs that are equal, deleted, inserted; and those between two equal ones taken together."""
    numbers: dict[str, int] = {}
    coded = [[numbers.setdefault(item, len(numbers)) for item in items] for items in (one, other)]
    found: list[Opcode] = []
    for code in Indel.opcodes(*coded):
        tag = "equal" if code.tag == "equal" else "replace"
        if found and tag == found[-1][0] == "replace":
            found[-1] = ("replace", found[-1][1], code.src_end, found[-1][3], code.dest_end)
        else:
            found.append((tag, code.src_start, code.src_end, code.dest_start, code.dest_end))
    return found


def _readable(codes: Sequence[Opcode]) -> list[Opcode]:
    """Equal runs that are no longer than the changes on both their sides are taken as changed, too.

    Two texts that have little in common share their commonest words, and to see these kept says nothing.
    """
    found: list[Opcode] = []
    for code in codes:
        found.append(code)
        while len(found) > 2 and found[-2][0] == "equal" and _is_lost(*found[-3:]):
            first, last = found[-3], found[-1]
            found[-3:] = [("replace", first[1], last[2], first[3], last[4])]
    return found


def _is_lost(before: Opcode, same: Opcode, after: Opcode) -> bool:
    """Whether a run of equal tokens is no longer than the change before it and the one after it."""
    return all(same[2] - same[1] <= max(code[2] - code[1], code[4] - code[3]) for code in (before, after))


def _replaced(before: str, after: str) -> list[Part]:
    return [Part("deleted", before), Part("inserted", after)]


def _merged(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Neighbours of a kind as one, empty ones left out."""
    found: list[Part] = []
    for part in parts:
        if found and part.text and found[-1].kind == part.kind:
            found[-1] = Part(part.kind, found[-1].text + part.text)
        elif part.text:
            found.append(part)
    return tuple(found)


def _cells(one: Sequence[str], other: Sequence[str]) -> int:
    """How many comparisons two texts take; none for what they begin and end with alike."""
    shorter = min(len(one), len(other))
    pairs = zip(one, other, strict=False)
    alike = next((number for number, (a, b) in enumerate(pairs) if a != b), shorter)
    pairs = zip(reversed(one), reversed(other), strict=False)
    alike += next((number for number, (a, b) in enumerate(pairs) if a != b), shorter - alike)
    return max(len(one) - alike, 0) * max(len(other) - alike, 0)
