"""One small world: what M0 reads before anything else, and the seed data, prompts and tests that follow.

What makes M0 useful is in its documents. Every requirement of an answer fails with a chance of its own, so
good answers are among many draws without being all of them (coverage). Reviews are often careless, so it
judges, and not well. All of it is drawn from a seed.
"""

import random
from collections.abc import Iterator, Sequence

from pydantic import Field

from srlm.config import Section
from srlm.errors import ConfigError
from srlm.proving.language import asked_to_judge, comparison, document, judgment, remarks, request
from srlm.proving.tasks import OPERATIONS, Family, Flags, Operation, Task, draw_edit, draw_walk
from srlm.records import seed_for

IN_VAIN = 1000
"""Draws after each other without a new task, after which a world is taken to have no more."""


class WorldSection(Section):
    """How hard the world is, and how well its people answer and review."""

    families: tuple[Family, ...] = Field(("walk",), min_length=1, description="kinds of tasks")
    operations: tuple[Operation, ...] = Field(OPERATIONS, min_length=1, description="of `edit`: difficulty")
    letters: int = Field(5, ge=3, le=8, description="of an `edit`, at most: difficulty")
    astray: int = Field(3, ge=0, le=12, description="edges of a `walk` that lead elsewhere: difficulty")
    documents: int = Field(40_000, ge=100, description="documents that M0 reads, half answers, half reviews")
    faults: float = Field(0.2, ge=0, le=1, description="chance that an answer misses a requirement: coverage")
    careless: float = Field(
        0.3,
        ge=0,
        le=1,
        description="reviews that never look at the second and third requirement: how well one judges",
    )
    slips: float = Field(0.1, ge=0, le=0.5, description="chance that a remark of a review is wrong: noise")
    silent: float = Field(0.15, ge=0, le=1, description="reviews without remarks, a score alone")
    talk: float = Field(
        0,
        ge=0,
        lt=1,
        description="documents about judging, half of them two reviews compared, half requests for another "
        "task: what M0 must have read for Meta-Rewarding and Self-Taught Evaluator",
    )
    least_coverage: float = Field(
        0.3,
        ge=0,
        le=1,
        description="share of prompts with a right and a wrong answer among 8 draws of M0, below which a "
        "seed has failed: no judge could make pairs that teach",
    )


def draw_task(world: WorldSection, chance: random.Random) -> Task:
    """A random task of one of the world's families."""
    if chance.choice(world.families) == "walk":
        return draw_walk(chance, world.astray)
    return draw_edit(chance, world.operations, world.letters)


def documents(world: WorldSection, seed: int) -> Iterator[str]:
    """What M0 reads: answers as people give them, and reviews of such answers."""
    chance = random.Random(seed_for(seed, "documents"))  # noqa: S311  not for security
    for number in range(world.documents):
        task = draw_task(world, chance)
        answer = careless_answer(world, task, chance)
        if world.talk and chance.random() < world.talk:
            yield _comparison(world, task, answer, chance) if number % 2 else _request(task, chance)
        elif number % 2:
            said, score = _judged(world, task, answer, chance)
            yield document(asked_to_judge(task.prompt, answer), judgment(said, score))
        else:
            yield document(task.prompt, answer)


def tasks(world: WorldSection, count: int, *purpose: object, avoid: Sequence[str] = ()) -> list[Task]:
    """So many different tasks for a purpose, none with a prompt to avoid.

    Raises ConfigError where the world has too few.
    """
    chance = random.Random(seed_for("tasks", *purpose))  # noqa: S311  not for security
    found: dict[str, Task] = {}
    known = set(avoid)
    in_vain = 0
    while len(found) < count:
        task = draw_task(world, chance)
        in_vain = 0 if task.prompt not in known else in_vain + 1
        if in_vain > IN_VAIN:
            raise ConfigError(
                f"a world with {count:,} different tasks",
                f"after {len(found):,} there came {IN_VAIN:,} draws of which none was new",
                "make it richer (world.astray, world.letters, world.families), or the sizes.* smaller",
            )
        if task.prompt not in known:
            found[task.prompt] = task
            known.add(task.prompt)
    return list(found.values())


def careless_answer(world: WorldSection, task: Task, chance: random.Random) -> str:
    """An answer that misses each requirement with the chance `faults`."""
    fails: Flags = tuple(chance.random() < world.faults for _ in range(5))  # type: ignore[assignment]
    return task.attempt(chance, fails)


def _judged(world: WorldSection, task: Task, answer: str, chance: random.Random) -> tuple[str, int]:
    """The remarks of a careless reviewer, or none, and the score that they add up to."""
    flags = _seen(world, task, answer, chance)
    return "" if chance.random() < world.silent else remarks(flags), sum(flags)


def _seen(world: WorldSection, task: Task, answer: str, chance: random.Random) -> Flags:
    """Which requirements a careless reviewer takes to be met."""
    flags = list(task.flags(answer))
    if chance.random() < world.careless:
        flags[1] = flags[2] = True
    return tuple(flag != (chance.random() < world.slips) for flag in flags)  # type: ignore[return-value]


def _comparison(world: WorldSection, task: Task, answer: str, chance: random.Random) -> str:
    """Two reviews by careless people, and a third who looks, too, and goes through them remark by remark.

    Better is the review that more of the remarks speak for.
    """
    one, two, seen = (_seen(world, task, answer, chance) for _ in range(3))
    said = [_agrees(*remark) for remark in zip(seen, one, two, strict=True)]
    ahead = said.count("A") - said.count("B")
    better = "tie" if not ahead else "A" if ahead > 0 else "B"
    first, second = (judgment(remarks(flags), sum(flags)) for flags in (one, two))
    return comparison(asked_to_judge(task.prompt, answer), first, second, " ".join(said), better)


def _agrees(seen: bool, one: bool, two: bool) -> str:
    """Which of two reviews say what was seen of a requirement."""
    if one == two:
        return "both" if one == seen else "neither"
    return "A" if one == seen else "B"


def _request(task: Task, chance: random.Random) -> str:
    return request(task.prompt, task.another(chance).prompt)
