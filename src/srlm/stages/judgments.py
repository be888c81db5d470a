"""Step 3 of a round: the model judges every response K times (paper, sections 2.3 and 3.1.3).

The score is the mean of the readable ones. A reply without a readable score is None with a
reason, never a number.
"""

from collections import Counter
from collections.abc import Iterator

from srlm.config import JudgeSection
from srlm.engines.base import Engine, Reply, Request
from srlm.judging.reading import attempts_a_score, mean_score, read_score
from srlm.judging.rubric import judge_conversation
from srlm.records import Judgment, Response, content_id, seed_for
from srlm.stages.replies import replies_to
from srlm.store.blocks import Block, Resume, Sized, blocks_after


def judge(
    section: JudgeSection,
    engine: Engine,
    responses: Sized[Response],
    *,
    seed: int = 0,
    resume: Resume[Judgment] | None = None,
) -> Iterator[Block[Judgment]]:
    """Blocks with one Judgment a response, in their order; unreadable replies counted by reason."""
    start = resume.blocks if resume else 0
    done = min(start * section.block, len(responses))
    for block in blocks_after(responses, section.block, start):
        replies, too_long = replies_to(engine, [_request(section, item, seed) for item in block])
        draws = range(section.samples)
        judgments = [
            _unasked(item, section.samples)
            if item.id in too_long
            else _judgment(item, [replies[item.id, draw] for draw in draws])
            for item in block
        ]
        done += len(block)
        yield Block(judgments, done, len(responses), _count(judgments))


def _request(section: JudgeSection, response: Response, seed: int) -> Request:
    return Request(
        id=response.id,
        conversation=judge_conversation(response.prompt, response.text),
        purpose="judgment",
        seed=seed_for(seed, "judgment", response.id),
        n=section.samples,
        temperature=section.temperature,
        top_p=section.top_p,
        max_tokens=section.max_tokens,
    )


def _judgment(response: Response, replies: list[Reply]) -> Judgment:
    readings = [read_score(reply.text, reply.finish) for reply in replies]
    scores = [reading.score for reading in readings]
    return Judgment(
        id=content_id("judgment", response.id, [reply.text for reply in replies]),
        response_id=response.id,
        prompt_id=response.prompt_id,
        score=mean_score(scores),
        scores=tuple(scores),
        reasons=tuple(reading.reason for reading in readings),
        replies=tuple(reply.text for reply in replies),
        num_tokens=sum(reply.num_tokens for reply in replies),
        flagged=attempts_a_score(response.text),
    )


def _unasked(response: Response, samples: int) -> Judgment:
    """What stands for the judgment of a response that is too long for the judge's context."""
    return Judgment(
        id=content_id("judgment", response.id, []),
        response_id=response.id,
        prompt_id=response.prompt_id,
        score=None,
        scores=(None,) * samples,
        reasons=("too long for the context",) * samples,
        replies=("",) * samples,
        num_tokens=0,
        flagged=attempts_a_score(response.text),
    )


def _count(judgments: list[Judgment]) -> Counter[str]:
    counts = Counter(f"unreadable: {reason}" for item in judgments for reason in item.reasons if reason)
    counts["replies"] = sum(len(item.scores) for item in judgments)
    counts["tokens"] = sum(item.num_tokens for item in judgments)
    counts["flagged"] = sum(item.flagged for item in judgments)
    return +counts
