"""The Engine protocol: requests in, replies out, in any order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from srlm.errors import EngineError
from srlm.records import Conversation, Finish


@dataclass(frozen=True)
class Request:
    """n samples of one conversation.

    `seed` fixes all draws: sample i uses ``seed_for(seed, i)``, whatever it is batched with.
    `speaker` says whose turn is written. With `user` the conversation is what stands before that turn, and
    may be empty; the reply ends where the model ends it or would let the assistant speak.
    `prefix` is put into the speaker's mouth; it is not part of the reply. `stop` strings end a
    reply and are cut off it. `until`, a regular expression, says when a reply holds all that is wanted of it:
    an engine that can ends it there. `continuations` asks for the probability that the text goes on with each
    given string after prompt and prefix, at temperature 1; where one begins another (1 and 10), the
    shorter one's is that of going on otherwise. Tokens that all of them begin with are taken for granted.
    """

    id: str
    conversation: Conversation
    purpose: Literal["prompt", "response", "judgment"]
    seed: int
    n: int = 1
    temperature: float = 0.7
    top_p: float = 0.9
    max_tokens: int = 512
    prefix: str = ""
    stop: tuple[str, ...] = ()
    until: str = ""
    continuations: tuple[str, ...] = ()
    speaker: Literal["assistant", "user"] = "assistant"


@dataclass(frozen=True)
class Reply:
    """One sample: newly generated text only, without end token or stop string."""

    request_id: str
    draw: int
    text: str
    finish: Finish
    num_tokens: int
    num_prompt_tokens: int
    probabilities: tuple[float, ...] = ()


class Engine(Protocol):
    """Writes text. `digest` changes with anything that changes what it writes."""

    @property
    def digest(self) -> str: ...

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        """n replies for every request, in any order.

        Raises PromptTooLong, before it writes anything, with the ids of all requests that leave no
        room for `max_tokens` new tokens, and EngineError for an empty conversation, or for a user's turn
        where only the assistant's can be had (a server).
        """
        ...

    def close(self) -> None:
        """Give memory back."""
        ...


def refuse_empty(request: Request) -> None:
    """Raise EngineError for a request with nothing in it to answer; a user may begin with nothing said."""
    if request.speaker == "user" and not request.conversation:
        return
    if not any(message.content.strip() for message in request.conversation):
        raise EngineError(
            f"request {request.id}",
            "its conversation holds no text, so every answer would be noise",
            "leave empty prompts out of the data",
        )


def beginning_of(request: Request) -> str:
    """How the last turn of a request begins, quoted, to tell in an error which one it is."""
    return f"{request.conversation[-1].content[:60]!r}..." if request.conversation else "nothing said yet"
