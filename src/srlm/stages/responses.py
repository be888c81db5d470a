"""Step 2 of a round: N sampled responses to every prompt (paper, section 2.3)."""

from collections.abc import Iterator

from srlm.config import ResponsesSection
from srlm.engines.base import Engine, Reply, Request
from srlm.records import Prompt, Response, ask, content_id, seed_for
from srlm.store.blocks import Block, Resume, Sized, blocks_after


def respond(
    section: ResponsesSection,
    engine: Engine,
    prompts: Sized[Prompt],
    *,
    seed: int = 0,
    resume: Resume[Response] | None = None,
) -> Iterator[Block[Response]]:
    """Blocks with `section.samples` responses a prompt, prompts and draws in order."""
    start = resume.blocks if resume else 0
    done = min(start * section.block, len(prompts))
    for block in blocks_after(prompts, section.block, start):
        requests = [_request(section, prompt, seed) for prompt in block]
        replies = {(reply.request_id, reply.draw): reply for reply in engine.generate(requests)}
        draws = range(section.samples)
        responses = [_response(prompt, replies[prompt.id, draw]) for prompt in block for draw in draws]
        done += len(block)
        yield Block(
            responses,
            done,
            len(prompts),
            {
                "tokens": sum(item.num_tokens for item in responses),
                "cut off": sum(item.finish == "length" for item in responses),
            },
        )


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
