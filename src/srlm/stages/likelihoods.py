"""How likely the responses of a round are to the models that have been: what implicit rewards are made of."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from srlm.config import ResponsesSection
from srlm.records import Likelihood, Response, content_id
from srlm.stages.replies import Made, in_blocks
from srlm.store.blocks import Block, Resume, Sized

LARGEST = 64
"""Blocks of responses that are read while the models are loaded once."""


class Readers(Protocol):
    """Some models, as engines/likelihood.py loads them."""

    @property
    def digest(self) -> str: ...

    def logprobs(self, responses: Sequence[Response]) -> list[tuple[tuple[float, ...], int]]:
        """Of every response its log-probability by each model, and its tokens."""
        ...


def weigh(
    section: ResponsesSection,
    readers: Readers,
    responses: Sized[Response],
    *,
    seed: int = 0,
    resume: Resume[Likelihood] | None = None,
) -> Iterator[Block[Likelihood]]:
    """Blocks with one Likelihood a response that has a token; nothing is drawn, so `seed` is not used."""

    def measure(block: list[Response]) -> Made[Likelihood]:
        said = [response for response in block if response.text or response.finish == "stop"]
        found = [
            Likelihood(
                id=content_id("likelihood", readers.digest, response.id),
                response_id=response.id,
                prompt_id=response.prompt_id,
                nats=nats,
                num_tokens=num_tokens,
            )
            for response, (nats, num_tokens) in zip(said, readers.logprobs(said), strict=True)
        ]
        return found, Counter(empty=len(block) - len(said))

    return in_blocks(readers, responses, section.block * LARGEST, resume, measure)
