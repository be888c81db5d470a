"""Two responses to one prompt side by side: which does the judge prefer, in the order they are given?"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from srlm.config import Comparing
from srlm.engines.base import Engine, Reply, Request
from srlm.judging.reading import attempts_a_verdict, read_verdict, until_verdict
from srlm.judging.rubric import Rubric
from srlm.records import Comparison, Response, content_id, seed_for
from srlm.stages.replies import Made, in_blocks, replies_to
from srlm.store.blocks import Block, Items, Resume, Sized

Couple = tuple[Response, Response]
Verdict = Literal["first", "second", "tie"]
VERDICTS: tuple[Verdict, Verdict, Verdict] = ("first", "second", "tie")
LEAST_MASS = 0.5
"""Below this probability of all choices together, the likeliest of them says nothing."""


@dataclass(frozen=True)
class Couples(Items[Couple]):
    """Responses to compare, the first of each shown first; `digest` names them all."""

    @property
    def digest(self) -> str:
        return content_id("couples", [[one.id, other.id] for one, other in self.items])


def compare(
    section: Comparing,
    engine: Engine,
    rubric: Rubric,
    couples: Sized[Couple],
    *,
    seed: int = 0,
    resume: Resume[Comparison] | None = None,
) -> Iterator[Block[Comparison]]:
    """Blocks with one Comparison a couple. Ask both orders: give each couple twice, once turned round.

    With `justify` one reply is sampled and its verdict read; without, the likeliest choice is taken.
    """

    def ask(block: list[Couple]) -> Made[Comparison]:
        requests = [_request(section, rubric, couple, seed) for couple in block]
        replies, left_out = replies_to(engine, list({request.id: request for request in requests}.values()))
        found = [
            _comparison(section, rubric, couple, replies.get((request.id, 0)) or left_out[request.id])
            for couple, request in zip(block, requests, strict=True)
        ]
        return found, Counter(item.verdict or str(item.reason) for item in found)

    return in_blocks(engine, couples, section.block, resume, ask)


def _request(section: Comparing, rubric: Rubric, couple: Couple, seed: int) -> Request:
    first, second = couple
    at_once = not section.justify
    quotes = at_once or _is_flagged(couple, rubric)  # it may repeat a verdict of the texts before its own
    return Request(
        id=content_id("comparison", first.id, second.id),
        conversation=rubric.comparison(first.prompt, first.text, second.text),
        purpose="judgment",
        seed=seed_for(seed, "comparison", first.id, second.id),
        temperature=section.temperature,
        top_p=section.top_p,
        max_tokens=1 if at_once else section.max_tokens,
        prefix=rubric.before_grade if at_once else "",
        until="" if quotes else until_verdict(rubric),
        continuations=rubric.grades if at_once else (),
    )


def _is_flagged(couple: Couple, rubric: Rubric) -> bool:
    texts = (couple[0].prompt, couple[0].text, couple[1].text)
    return any(attempts_a_verdict(text, rubric) for text in texts)


def _comparison(section: Comparing, rubric: Rubric, couple: Couple, reply: Reply | str) -> Comparison:
    """The comparison that a reply makes; `reply` may be why there is none."""
    first, second = couple
    verdict, reason = _verdict(section, rubric, couple, reply)
    text, probabilities = ("", ()) if isinstance(reply, str) else (reply.text, reply.probabilities)
    return Comparison(
        id=content_id("comparison", first.id, second.id, text),
        prompt_id=first.prompt_id,
        first_id=first.id,
        second_id=second.id,
        rubric=rubric.version,
        verdict=verdict,
        reason=reason,
        reply=text if section.justify else "",
        probabilities=probabilities,
    )


def _verdict(
    section: Comparing, rubric: Rubric, couple: Couple, reply: Reply | str
) -> tuple[Verdict | None, str | None]:
    if isinstance(reply, str):
        return None, reply
    if not section.justify:
        if sum(reply.probabilities) < LEAST_MASS:
            return None, "off the grades"
        return VERDICTS[reply.probabilities.index(max(reply.probabilities))], None
    reading = read_verdict(reply.text, reply.finish, rubric, flagged=_is_flagged(couple, rubric))
    if reading.verdict is None:
        return None, reading.reason
    return VERDICTS[rubric.grades.index(reading.verdict)], None
