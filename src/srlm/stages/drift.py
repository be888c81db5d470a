"""How far a model has moved from another: KL along its own answers (the signal of drift)."""

from collections.abc import Iterator, Sequence
from typing import Protocol

from srlm.config import ResponsesSection
from srlm.records import Divergence, Response, content_id
from srlm.store.blocks import Block, Resume, Sized, blocks_after


class Couple(Protocol):
    """A model and its reference, as engines/divergence.py opens them."""

    @property
    def digest(self) -> str: ...

    def nats(self, responses: Sequence[Response]) -> list[tuple[float, int]]:
        """KL summed over each response's tokens, and how many these are."""
        ...


def drift(
    section: ResponsesSection,
    couple: Couple,
    responses: Sized[Response],
    *,
    seed: int = 0,
    resume: Resume[Divergence] | None = None,
) -> Iterator[Block[Divergence]]:
    """Blocks with one Divergence a response that holds text; nothing is drawn, so `seed` is not used."""
    start = resume.blocks if resume else 0
    done = min(start * section.block, len(responses))
    for block in blocks_after(responses, section.block, start):
        said = [response for response in block if response.text]
        found = [
            Divergence(
                id=content_id("divergence", couple.digest, response.id),
                response_id=response.id,
                prompt_id=response.prompt_id,
                nats=nats,
                num_tokens=num_tokens,
            )
            for response, (nats, num_tokens) in zip(said, couple.nats(said), strict=True)
        ]
        done += len(block)
        yield Block(found, done, len(responses), {"empty": len(block) - len(said)} if said != block else {})
