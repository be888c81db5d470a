"""Small tasks whose answers a program can check: five requirements each, a point for every one that is met.

`edit`: apply an operation to some letters, in the case, the brackets and with the end mark asked for.

    rev up sq bang a b c     →     [ C B A ] !

`walk`: go from one node of a graph to another along its edges. To find a walk is to look ahead; to check one
is to look at each edge once: checking is easier than producing.

    walk A D dot AB CD BD AE BC     →     AB BD .

A prompt holds all that its truth needs, so `points` is a function of two texts. No torch here.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, permutations
from typing import Literal, Protocol

Family = Literal["edit", "walk"]
Operation = Literal["copy", "rev", "sort", "shift", "rot"]

LETTERS = "abcdefghij"
NODES = "ABCDEF"
EDGES = tuple(one + other for one in NODES for other in NODES if one != other)
OPERATIONS: tuple[Operation, ...] = ("copy", "rev", "sort", "shift", "rot")
BRACKETS = {"sq": ("[", "]"), "rd": ("(", ")"), "none": ("", "")}
ENDS = {"bang": "!", "dot": "."}
RAMBLE = "~"

TOP = 5
"""Points of an answer that meets every requirement."""

Flags = tuple[bool, bool, bool, bool, bool]


class Task(Protocol):
    """One instruction with a program that checks its answers."""

    @property
    def prompt(self) -> str: ...

    def flags(self, answer: str) -> Flags:
        """Which of the five requirements an answer meets."""
        ...

    def solution(self) -> str:
        """An answer that meets all of them."""
        ...

    def attempt(self, chance: random.Random, fails: Flags) -> str:
        """An answer in which somebody was careless about the requirements that fail."""
        ...

    def another(self, chance: random.Random) -> "Task":
        """A task that is close to it, whose right answers are mostly wrong here."""
        ...


@dataclass(frozen=True)
class Edit:
    """Letters to rearrange: order implies length and content, which are points of their own."""

    operation: Operation
    upper: bool
    brackets: str
    end: str
    letters: tuple[str, ...]

    @property
    def prompt(self) -> str:
        case = "up" if self.upper else "low"
        return " ".join([self.operation, case, self.brackets, self.end, *self.letters])

    def flags(self, answer: str) -> Flags:
        """Length, content, order, case, closing."""
        words = answer.split()
        said = [word for word in words if word.lower() in LETTERS]
        wanted = self._wanted()
        lower = [word.lower() for word in said]
        return (
            len(said) == len(wanted),
            sorted(lower) == sorted(wanted),
            lower == wanted,
            bool(said) and all(word.isupper() == self.upper for word in said),
            words == self._closed(said),
        )

    def solution(self) -> str:
        return " ".join(self._closed(self._cased(self._wanted(), self.upper)))

    def attempt(self, chance: random.Random, fails: Flags) -> str:
        length, content, order, case, closing = fails
        letters = self._wanted()
        if length:
            longer = [*letters, chance.choice(LETTERS)]
            letters = letters[:-1] if chance.random() < 0.5 and len(letters) > 1 else longer
        if content:
            letters[chance.randrange(len(letters))] = chance.choice(LETTERS)
        if order:
            chance.shuffle(letters)
        words = self._closed(self._cased(letters, self.upper != case))
        return " ".join(_ramble(chance, words) if closing else words)

    def another(self, chance: random.Random) -> Task:
        return replace(self, operation=chance.choice([one for one in OPERATIONS if one != self.operation]))

    def _wanted(self) -> list[str]:
        letters = list(self.letters)
        match self.operation:
            case "rev":
                return letters[::-1]
            case "sort":
                return sorted(letters)
            case "shift":
                return [LETTERS[(LETTERS.index(letter) + 1) % len(LETTERS)] for letter in letters]
            case "rot":
                return [*letters[1:], letters[0]]
        return letters

    def _cased(self, letters: Sequence[str], upper: bool) -> list[str]:
        return [letter.upper() if upper else letter for letter in letters]

    def _closed(self, said: Sequence[str]) -> list[str]:
        left, right = BRACKETS[self.brackets]
        return [word for word in (left, *said, right, ENDS[self.end]) if word]


@dataclass(frozen=True)
class Walk:
    """A graph, and two of its nodes."""

    start: str
    goal: str
    end: str
    edges: tuple[str, ...]

    @property
    def prompt(self) -> str:
        return " ".join(["walk", self.start, self.goal, self.end, *self.edges])

    def flags(self, answer: str) -> Flags:
        """Start, edges that are there, edges that join, goal, closing."""
        words = answer.split()
        said = [word for word in words if word in EDGES]
        return (
            bool(said) and said[0][0] == self.start,
            bool(said) and all(edge in self.edges for edge in said),
            bool(said) and all(one[1] == other[0] for one, other in pairwise(said)),
            bool(said) and said[-1][1] == self.goal,
            words == [*said, ENDS[self.end]],
        )

    def solution(self) -> str:
        return " ".join([*self.shortest(), ENDS[self.end]])

    def attempt(self, chance: random.Random, fails: Flags) -> str:
        start, there, joined, goal, closing = fails
        said = self.shortest()
        if start:
            said[0] = chance.choice([edge for edge in self.edges if edge[0] != self.start] or said[:1])
        if goal:
            onward = [edge for edge in self.edges if edge[1] != self.goal]
            elsewhere = [*said[:-1], chance.choice(onward)]
            said = said[:-1] if chance.random() < 0.5 and len(said) > 1 else elsewhere
        if joined:
            said.insert(chance.randrange(len(said) + 1), chance.choice(self.edges))
        if there:
            place = chance.randrange(len(said))
            absent = [edge for edge in EDGES if edge not in self.edges and edge[1] == said[place][1]]
            said[place] = chance.choice(absent or said[place : place + 1])  # a graph may have all of them
        words = [*said, ENDS[self.end]]
        return " ".join(_ramble(chance, words) if closing else words)

    def another(self, chance: random.Random) -> Task:
        ends = [replace(self, start=start, goal=goal) for start, goal in permutations(NODES, 2)]
        return chance.choice([one for one in ends if one != self and one.shortest()])

    def shortest(self) -> list[str]:
        """The edges of a shortest walk, none where there is no walk."""
        walks = [[edge] for edge in self.edges if edge[0] == self.start]
        while walks:
            for walk in walks:
                if walk[-1][1] == self.goal:
                    return walk
            walks = [
                [*walk, edge]
                for walk in walks
                for edge in self.edges
                if edge[0] == walk[-1][1] and edge[1] not in {self.start, *(one[1] for one in walk)}
            ]
        return []


def points(prompt: str, response: str) -> float:
    """The truth about an answer: 0 to 5, one point a requirement. Raises ValueError for a foreign prompt."""
    return float(sum(parse(prompt).flags(response)))


def is_task(prompt: str) -> bool:
    """Whether a text is a task, as `parse` wants it."""
    try:
        parse(prompt)
    except ValueError:
        return False
    return True


def parse(prompt: str) -> Task:
    """The task of a prompt; raises ValueError for a text that is none."""
    words = prompt.split()
    task = _walk(words) if words[:1] == ["walk"] else _edit(words)
    if task is None:
        raise ValueError(f"{prompt!r} is no task of the proving ground")
    return task


def _walk(words: Sequence[str]) -> Walk | None:
    match words:
        case [_, start, goal, end, *edges] if end in ENDS and edges and set(edges) <= set(EDGES):
            walk = Walk(start, goal, end, tuple(edges))
            return walk if walk.shortest() else None
    return None


def _edit(words: Sequence[str]) -> Edit | None:
    match words:
        case [operation, "up" | "low" as case, brackets, end, *letters] if letters and set(letters) <= set(
            LETTERS
        ):
            known = next((one for one in OPERATIONS if one == operation), None)
            if known and brackets in BRACKETS and end in ENDS:
                return Edit(known, case == "up", brackets, end, tuple(letters))
    return None


def draw_edit(chance: random.Random, operations: Sequence[Operation] = OPERATIONS, longest: int = 5) -> Edit:
    """A random edit of 3 to `longest` letters by one of the operations."""
    return Edit(
        chance.choice(operations),
        chance.random() < 0.5,
        chance.choice(tuple(BRACKETS)),
        chance.choice(tuple(ENDS)),
        tuple(chance.choice(LETTERS) for _ in range(chance.randint(3, longest))),
    )


def draw_walk(chance: random.Random, astray: int = 3) -> Walk:
    """A random graph with a walk of two or three edges, and so many edges besides."""
    nodes = chance.sample(NODES, 4)
    way = nodes[: chance.randint(3, 4)]
    edges = [one + other for one, other in pairwise(way)]
    others = [edge for edge in EDGES if edge not in edges and edge != way[0] + way[-1]]
    edges += chance.sample(others, astray)
    chance.shuffle(edges)
    return Walk(way[0], way[-1], chance.choice(tuple(ENDS)), tuple(edges))


def _ramble(chance: random.Random, words: list[str]) -> list[str]:
    """The words without their end mark, or with something after it."""
    return words[:-1] if chance.random() < 0.5 else [*words, *[RAMBLE] * chance.randint(1, 6)]
