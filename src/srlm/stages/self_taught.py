"""Judgments that are known to be right, without people: Self-Taught Evaluator (arXiv 2408.02666).

An answer to another task that is close to the one asked is a worse answer to the one asked, however good it
looks. So where the judge scores a response above it, both judgments are taken to be right and become EFT
examples. The paper's judge compares two; ours grades one at a time, so there is no order to turn round.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from srlm.config import JudgeTrainingSection, ResponsesSection
from srlm.engines.base import Engine, Request
from srlm.judging.rubric import Rubric
from srlm.records import Example, Judgment, Prompt, Response, ask, content_id, seed_for
from srlm.stages.prompts import clean_prompt
from srlm.stages.replies import Made, in_blocks, replies_to, unanswered
from srlm.store.blocks import Block, Resume, Sized
from srlm.templates import fill


def answers_to_others(
    section: JudgeTrainingSection,
    engine: Engine,
    request: str,
    answering: ResponsesSection,
    prompts: Sized[Prompt],
    *,
    seed: int = 0,
    resume: Resume[Response] | None = None,
) -> Iterator[Block[Response]]:
    """Blocks with a worse answer to each prompt: the model's answer to another task, which it writes first.

    `request` is the template that asks for one, with {{task}} in it.
    A prompt is left out, and counted, where the other task is cut off, empty or the same, or has no answer.
    """

    def work(block: list[Prompt]) -> Made[Response]:
        others, counts = _other_tasks(section, engine, request, block, seed)
        asked = [
            _answering(answering, prompt, others[prompt.id], seed) for prompt in block if prompt.id in others
        ]
        replies, left_out = replies_to(engine, asked)
        said = [(prompt, replies[prompt.id, 0]) for prompt in block if (prompt.id, 0) in replies]
        responses = [
            Response.given(
                content_id("worse", prompt.id, reply.text), prompt, reply.text, finish=reply.finish
            ).model_copy(update={"num_tokens": reply.num_tokens})
            for prompt, reply in said
        ]
        return responses, counts + unanswered(left_out)

    return in_blocks(engine, prompts, section.block, resume, work)


def right_judgments(
    rubric: Rubric,
    responses: Iterable[Response],
    judgments: Iterable[Judgment],
    worse: Iterable[Response],
    of_worse: Iterable[Judgment],
) -> list[Example]:
    """EFT examples: of every prompt the first draw that scores its best response above the worse answer.

    Two a prompt, in the prompts' order: the judgment of each side in the judge's own words.
    """
    by_id = {item.id: item for item in [*responses, *worse]}
    best: dict[str, Judgment] = {}
    for item in sorted(judgments, key=lambda item: -math.inf if item.score is None else item.score):
        best[item.prompt_id] = item
    found = []
    for low in of_worse:
        high = best.get(low.prompt_id)
        draw = next(iter(_draws_in_order(high, low)), None) if high else None
        if high and draw is not None:
            found += [_example(rubric, by_id[one.response_id], one, draw) for one in (high, low)]
    return found


def _draws_in_order(high: Judgment, low: Judgment) -> list[int]:
    """The draws of both judgments that score the better answer above the worse one."""
    return [
        draw
        for draw, (above, below) in enumerate(zip(high.scores, low.scores, strict=False))
        if above is not None and below is not None and above > below
    ]


def _example(rubric: Rubric, response: Response, judgment: Judgment, draw: int) -> Example:
    prompt = rubric.conversation(response.prompt, response.text)[0].content
    target = judgment.replies[draw]
    return Example(id=content_id("eft", prompt, target), kind="eft", prompt=prompt, response=target)


def _other_tasks(
    section: JudgeTrainingSection, engine: Engine, request: str, block: Sequence[Prompt], seed: int
) -> tuple[dict[str, str], Counter[str]]:
    """By a prompt's id another task; and why some have none."""
    requests = [
        Request(
            id=prompt.id,
            conversation=ask(fill(request, task=prompt.text)),
            purpose="prompt",
            seed=seed_for(seed, "other task", prompt.id),
            temperature=section.temperature,
            top_p=section.top_p,
            max_tokens=section.max_tokens,
        )
        for prompt in block
    ]
    replies, left_out = replies_to(engine, requests)
    found, counts = {}, unanswered(left_out)
    for prompt in block:
        reply = replies.get((prompt.id, 0))
        text = clean_prompt(reply.text) if reply else ""
        if reply and (reply.finish == "length" or not text or text == prompt.text):
            counts["no other task"] += 1
        elif reply:
            found[prompt.id] = text
    return found, counts


def _answering(section: ResponsesSection, prompt: Prompt, other: str, seed: int) -> Request:
    return Request(
        id=prompt.id,
        conversation=ask(other),
        purpose="response",
        seed=seed_for(seed, "answer to another task", prompt.id),
        temperature=section.temperature,
        top_p=section.top_p,
        max_tokens=section.max_tokens,
    )
