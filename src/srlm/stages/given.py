"""Step 1 of a round where prompts are given instead of written: the next ones of a file, in its order."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from srlm.config import Config, PromptsSection
from srlm.errors import DataError
from srlm.records import Example, Prompt, seed_for
from srlm.seeds.prompts import read_prompts
from srlm.store.blocks import Block, Resume


def given_prompts(section: PromptsSection, rounds: int) -> list[Prompt]:
    """The prompts of the file that a config names, none where it names none; enough for so many rounds.

    Raises DataError for a file that cannot be read or holds too few.
    """
    if not section.given:
        return []
    found = read_prompts(Path(section.given).expanduser())
    wanted = section.count * rounds
    if len(found) < wanted:
        raise DataError(
            f"prompts.given={section.given}",
            f"it holds {len(found)} prompts; {rounds} rounds of prompts.count={section.count} take {wanted}",
            f"give more, or set prompts.count={len(found) // rounds} or fewer iterations",
        )
    return found


def seed_prompts(config: Config, t: int, examples: Iterable[Example]) -> list[Prompt]:
    """The prompts of the seed, each once, in an order that is drawn for round t."""
    found = dict.fromkeys(Prompt.of(item.prompt, (), 0) for item in examples)
    return sorted(found, key=lambda prompt: seed_for(config.seed, "seed prompts", t, prompt.id))


def take_prompts(
    section: PromptsSection,
    given: Sequence[Prompt],
    earlier: Sequence[Prompt],
    *,
    seed: int = 0,
    resume: Resume[Prompt] | None = None,
) -> Iterator[Block[Prompt]]:
    """One block with the next `section.count` prompts, after those of earlier rounds; nothing is drawn."""
    if resume and resume.blocks:
        return
    had = {prompt.id for prompt in earlier}
    taken = [prompt for prompt in given if prompt.id not in had][: section.count]
    yield Block(taken, len(taken), section.count, {"kept": len(taken)})
