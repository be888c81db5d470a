"""Texts as pages show them: cut where they are long, what was searched marked, code and tables as such."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from srlm.web.rendering import parts

BEFORE = 160
"""Characters that are shown before the first hit of a search."""


@dataclass(frozen=True)
class Piece:
    """A piece of a text; `hit`: it is what was searched."""

    text: str
    hit: bool


@dataclass(frozen=True)
class Block:
    """A part of a text in pieces; `fixed`: code or a table."""

    pieces: list[Piece]
    fixed: bool


@dataclass(frozen=True)
class Passage:
    """A text or a part of it; `before` and `after`: characters left out on either side."""

    blocks: list[Block]
    before: int
    after: int

    @property
    def is_whole(self) -> bool:
        return not (self.before or self.after)


def passage(text: str, terms: Sequence[str] = (), limit: int | None = None) -> Passage:
    """A text with the hits of `terms` marked; of a longer one than `limit` that much, around the first hit.

    >>> passage("one two three", ["TWO"], 20).blocks[0].pieces[1]
    Piece(text='two', hit=True)
    """
    pattern = _pattern(terms)
    start, end = 0, len(text)
    if limit is not None and len(text) > limit:
        first = pattern.search(text) if pattern else None
        start = min(max(first.start() - BEFORE, 0), len(text) - limit) if first else 0
        end = start + limit
    blocks = [Block(_pieces(part.text, pattern), part.fixed) for part in parts(text[start:end])]
    return Passage(blocks, start, len(text) - end)


def _pieces(text: str, pattern: re.Pattern[str] | None) -> list[Piece]:
    """A text split at the hits of a pattern; nothing of it is left out."""
    if not pattern:
        return [Piece(text, hit=False)]
    found, end = [], 0
    for match in pattern.finditer(text):
        found += [Piece(text[end : match.start()], hit=False), Piece(match[0], hit=True)]
        end = match.end()
    return [piece for piece in [*found, Piece(text[end:], hit=False)] if piece.text]


def _pattern(terms: Sequence[str]) -> re.Pattern[str] | None:
    """What finds any of the terms as whole words, whatever stands between a phrase's words."""
    words = [re.findall(r"\w+", term) for term in terms]
    found = [r"[\W_]+".join(map(re.escape, phrase)) for phrase in words if phrase]
    if not found:
        return None
    bounded = [rf"(?<!\w){each}(?!\w)" if each.isascii() else each for each in found]
    return re.compile("|".join(bounded), re.IGNORECASE)
