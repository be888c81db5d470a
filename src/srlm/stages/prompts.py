"""Step 1 of a round: the model writes new prompts from examples (paper, section 2.3).

8-shot: 6 demonstrations from the seed set and 2 that a model wrote before, in shuffled order. Until
two are there, seeds take their places. Attempts are bounded; the stage says what it got. Without examples
(`synthesis`: Magpie, arXiv 2406.08464) the model writes the user's turn itself.
"""

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from srlm.config import PromptsSection
from srlm.engines.base import Engine, Reply, Request
from srlm.records import Example, Prompt, ask, content_id, seed_for
from srlm.similarity import Pool
from srlm.stages.demonstrations import Shown, draw_demonstrations, hardest
from srlm.stages.filters import fault_of
from srlm.stages.replies import replies_to, unanswered
from srlm.store.blocks import Block, Resume
from srlm.templates import fill, template


def write_prompts(  # noqa: PLR0917  a run hands a step's inputs over by position
    section: PromptsSection,
    engine: Engine,
    seeds: Sequence[Example],
    earlier: Sequence[Prompt] = (),
    avoid: Sequence[str] = (),
    spreads: Mapping[str, float] | None = None,
    *,
    seed: int = 0,
    resume: Resume[Prompt] | None = None,
) -> Iterator[Block[Prompt]]:
    """Blocks of new prompts until `section.count` are kept or the attempts are used up.

    `seeds` give the demonstrations, with `earlier`, the prompts of past rounds. New prompts repeat none
    of them, nor one to `avoid`, such as those that the evaluation answers. `spreads` says by prompt of the
    earlier how far its answers were apart, for `demonstrate=hard`. Each block counts the candidates dropped,
    by reason.
    """
    resume = resume or Resume()
    written = [*earlier, *resume.records]
    wanted = len(earlier) + section.count
    known = [item.prompt for item in seeds] + [item.text for item in written]
    pool = Pool(section.max_rouge, [*known, *avoid])
    attempts = resume.blocks * section.block
    limit = section.count * section.max_attempts
    shown_seeds = [Shown(item.id, item.prompt) for item in seeds]
    hard = hardest(section, earlier, spreads or {}) if section.demonstrate == "hard" else []
    while len(written) < wanted and attempts < limit:
        requests, shown = {}, {}
        for attempt in range(attempts, min(attempts + section.block, limit)):
            draw = seed_for(seed, "prompts", attempt, len(written))
            if section.method == "synthesis":
                request, picked = _users_turn(section, draw), []
            else:
                own = hard or [Shown(item.id, item.text) for item in written]
                picked = draw_demonstrations(section, shown_seeds, own, random.Random(draw))  # noqa: S311
                request = _next_task(section, picked, draw)
            requests[request.id] = request
            shown[request.id] = tuple(item.id for item in picked), attempt
        replies, left_out = replies_to(engine, list(requests.values()))
        asked = [replies[key, 0] for key in requests if key not in left_out]
        new, counts = _filter(section, pool, asked)
        counts += unanswered(left_out)
        block = [Prompt.of(text, *shown[key]) for key, text in new[: wanted - len(written)]]
        written += block
        attempts += len(requests)
        counts += Counter({"attempts": len(requests), "kept": len(block)})
        yield Block(block, section.count - (wanted - len(written)), section.count, counts)


def clean_prompt(text: str) -> str:
    """The prompt alone: without a label, quotes or a second task (the paper's post-processing)."""
    text = text.strip().removeprefix("Task:").strip()
    return text[1:-1].strip() if len(text) > 2 and text[0] == text[-1] == '"' else text


def _next_task(section: PromptsSection, shown: Sequence[Shown], draw: int) -> Request:
    """To go on with a list of tasks."""
    tasks = "\n".join(f"Task {number}: {item.text}" for number, item in enumerate(shown, 1))
    next_number = str(len(shown) + 1)
    text = fill(template("new_prompt"), count=str(len(shown)), tasks=tasks, next=next_number)
    return replace(
        _sampling(section, draw, text),
        conversation=ask(text),
        prefix=f"Task {next_number}:",
        stop=("\nTask",),
    )


def _users_turn(section: PromptsSection, draw: int) -> Request:
    """To write what a user would say first; only the draw tells one attempt from another."""
    return replace(_sampling(section, draw, ""), speaker="user")


def _sampling(section: PromptsSection, draw: int, text: str) -> Request:
    """A request with nothing said yet; `text` is what it will be asked, for its id."""
    return Request(
        id=content_id("prompt request", draw, text),
        conversation=(),
        purpose="prompt",
        seed=draw,
        temperature=section.temperature,
        top_p=section.top_p,
        max_tokens=section.max_tokens,
    )


def _filter(
    section: PromptsSection, pool: Pool, replies: Sequence[Reply]
) -> tuple[list[tuple[str, str]], Counter[str]]:
    """Request id and text of every prompt that is kept, and how many were not, by reason."""
    counts: Counter[str] = Counter()
    fit = []
    for reply in replies:
        text = clean_prompt(reply.text)
        fault = "cut off" if reply.finish == "length" else fault_of(text, section)
        if fault:
            counts[f"dropped: {fault}"] += 1
        else:
            fit.append((reply.request_id, text))
    fresh = pool.keep_new([text for _, text in fit])
    counts["dropped: too similar"] += fresh.count(False)
    return [item for item, new in zip(fit, fresh, strict=True) if new], +counts
