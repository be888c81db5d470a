"""How far a model has moved from another: KL along its own answers (the signal of drift)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Protocol

from srlm.config import ResponsesSection
from srlm.records import Divergence, Response, content_id
from srlm.stages.replies import Made, in_blocks
from srlm.store.blocks import Block, Resume, Sized


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

    def measure(block: list[Response]) -> Made[Divergence]:
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
        return found, Counter(empty=len(block) - len(said))

    return in_blocks(couple, responses, section.block, resume, measure)
