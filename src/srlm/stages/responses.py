"""Step 2 of a round: N sampled responses to every prompt (paper, section 2.3)."""

from collections import Counter
from collections.abc import Iterable, Iterator

from srlm.config import ResponsesSection
from srlm.engines.base import Engine, Reply, Request
from srlm.records import Prompt, Response, ask, content_id, seed_for
from srlm.stages.replies import Made, in_blocks, replies_to, unanswered
from srlm.store.blocks import Block, Resume, Sized


def respond(
    section: ResponsesSection,
    engine: Engine,
    prompts: Sized[Prompt],
    *,
    seed: int = 0,
    resume: Resume[Response] | None = None,
) -> Iterator[Block[Response]]:
    """Blocks with `section.samples` responses a prompt, prompts and draws in order.

    A prompt that cannot be answered, such as one too long for the model's context, gets none, and is counted.
    """

    def answer(block: list[Prompt]) -> Made[Response]:
        replies, left_out = replies_to(engine, [_request(section, prompt, seed) for prompt in block])
        asked = [prompt for prompt in block if prompt.id not in left_out]
        draws = range(section.samples)
        responses = [_response(prompt, replies[prompt.id, draw]) for prompt in asked for draw in draws]
        return responses, told(responses) + unanswered(left_out)

    return in_blocks(engine, prompts, section.block, resume, answer)


def told(responses: Iterable[Response]) -> Counter[str]:
    """What is counted beside responses: their tokens, and how many were cut off."""
    counts: Counter[str] = Counter()
    for item in responses:
        counts.update({"tokens": item.num_tokens, "cut off": item.finish == "length"})
    return counts


def _request(section: ResponsesSection, prompt: Prompt, seed: int) -> Request:
    return Request(
        id=prompt.id,
        conversation=ask(prompt.text),
        purpose="response",
        seed=seed_for(seed, "response", prompt.id),
        n=section.samples,
        temperature=section.temperature,
        top_p=section.top_p,
        max_tokens=section.max_tokens,
    )


def _response(prompt: Prompt, reply: Reply) -> Response:
    return Response(
        id=content_id("response", prompt.id, reply.draw, reply.text),
        prompt_id=prompt.id,
        prompt=prompt.text,
        draw=reply.draw,
        text=reply.text,
        num_tokens=reply.num_tokens,
        finish=reply.finish,
    )
