"""Several user turns of one conversation, each answered with all that came before in view (MT-Bench)."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from srlm.config import ResponsesSection
from srlm.engines.base import Engine, Reply, Request
from srlm.records import Conversation, Message, Response, content_id, seed_for
from srlm.stages.replies import Made, Replies, in_blocks, replies_to
from srlm.stages.responses import told
from srlm.store.blocks import Block, Items, Resume, Sized


@dataclass(frozen=True)
class Turns:
    """The user's turns of one conversation, and the temperature for answering them."""

    id: str
    texts: tuple[str, ...]
    temperature: float


@dataclass(frozen=True)
class Conversations(Items[Turns]):
    """Conversations to hold; `digest` names them all."""

    @property
    def digest(self) -> str:
        return content_id("turns", [[one.id, one.texts, one.temperature] for one in self.items])


def converse(
    section: ResponsesSection,
    engine: Engine,
    conversations: Sized[Turns],
    *,
    seed: int = 0,
    resume: Resume[Response] | None = None,
) -> Iterator[Block[Response]]:
    """Blocks with one Response a turn, `draw` its place from 0; a whole conversation in one block.

    A turn that cannot be answered, such as one too long for the model's context, has none, nor has any turn
    after it; it is counted.
    """

    def answer(block: list[Turns]) -> Made[Response]:
        answered = _answer(section, engine, block, seed)
        responses = [response for one in block for response in answered[one.id]]
        lost = sum(len(one.texts) - len(answered[one.id]) for one in block)
        return responses, told(responses) + Counter({"turns without an answer": lost})

    return in_blocks(engine, conversations, section.block, resume, answer)


def turn_id(conversation: Turns, turn: int) -> str:
    """The id of a turn, from 0, as a prompt."""
    return content_id("turn", conversation.id, conversation.texts[: turn + 1])


def _answer(
    section: ResponsesSection, engine: Engine, block: Sequence[Turns], seed: int
) -> dict[str, list[Response]]:
    answered: dict[str, list[Response]] = {one.id: [] for one in block}
    for turn in range(max(len(one.texts) for one in block)):
        # Whoever could not answer a turn is not asked the next.
        going = [one for one in block if len(one.texts) > turn == len(answered[one.id])]
        requests = [_request(section, one, turn, answered[one.id], seed) for one in going]
        replies, left_out = replies_to(engine, requests) if requests else Replies({}, {})
        for one, request in zip(going, requests, strict=True):
            if request.id not in left_out:
                answered[one.id].append(_response(one, turn, replies[request.id, 0]))
    return answered


def _request(
    section: ResponsesSection, one: Turns, turn: int, before: Sequence[Response], seed: int
) -> Request:
    messages: list[Message] = []
    for text, response in zip(one.texts[:turn], before, strict=True):
        messages += [Message(role="user", content=text), Message(role="assistant", content=response.text)]
    conversation: Conversation = (*messages, Message(role="user", content=one.texts[turn]))
    return Request(
        id=turn_id(one, turn),
        conversation=conversation,
        purpose="response",
        seed=seed_for(seed, "turn", one.id, turn),
        temperature=one.temperature,
        top_p=section.top_p,
        max_tokens=section.max_tokens,
    )


def _response(one: Turns, turn: int, reply: Reply) -> Response:
    prompt_id = turn_id(one, turn)
    return Response(
        id=content_id("response", prompt_id, reply.text),
        prompt_id=prompt_id,
        prompt=one.texts[turn],
        draw=turn,
        text=reply.text,
        num_tokens=reply.num_tokens,
        finish=reply.finish,
    )
