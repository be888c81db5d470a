"""What is written down: one frozen model per JSONL file, each naming its parents by id.

Ids are SHA-256 of content, so the same text has the same id in every run, on every machine,
whatever the order in which it was made.
"""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


def content_id(*parts: object) -> str:
    """Sixteen hex digits of the SHA-256 of the parts as canonical JSON."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def seed_for(*parts: object) -> int:
    """A 63-bit random seed that depends on the parts alone, never on order or process."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


class Record(BaseModel):
    """A line of a JSONL file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str


class Message(BaseModel):
    """One turn of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


Conversation = tuple[Message, ...]
Finish = Literal["stop", "length"]


def ask(text: str) -> Conversation:
    """A conversation of one user turn."""
    return (Message(role="user", content=text),)


class Prompt(Record):
    """A new prompt that the model wrote (paper, section 2.3, step 1)."""

    text: str
    demonstrations: tuple[str, ...] = Field(description="ids of the prompts shown as examples")
    attempt: int = Field(description="which attempt of the round produced it")

    @classmethod
    def of(cls, text: str, demonstrations: tuple[str, ...], attempt: int) -> "Prompt":
        return cls(id=content_id("prompt", text), text=text, demonstrations=demonstrations, attempt=attempt)


class Response(Record):
    """One sampled answer to a prompt (paper, section 2.3, step 2)."""

    prompt_id: str
    prompt: str
    draw: int
    text: str
    num_tokens: int = Field(description="new tokens; 0 for a text that a person wrote")
    finish: Finish = Field(description="stop: ended itself; length: cut off by the budget")

    @classmethod
    def given(
        cls, id_: str, prompt: Prompt, text: str, *, draw: int = 0, finish: Finish = "stop"
    ) -> "Response":
        """A text that no engine of ours wrote, as the response to a prompt."""
        return cls(
            id=id_,
            prompt_id=prompt.id,
            prompt=prompt.text,
            draw=draw,
            text=text,
            num_tokens=0,
            finish=finish,
        )


class Judgment(Record):
    """All that the judge said about one response; `score` is None when nothing could be read.

    `score` and `variance` come from `scores` or from `expected`, as `scoring` says; the other stays empty
    where it was not asked for.
    """

    response_id: str
    prompt_id: str
    rubric: str = Field(description="name@digest of the rubric")
    scoring: Literal["sampled", "expected"]
    score: float | None = Field(description="mean over the readable draws, in the rubric's scale")
    variance: float | None = Field(description="of one grade, see judging/scoring.py; None if unknown")
    scores: tuple[float | None, ...] = Field(description="the grade that each sampled reply ends with")
    reasons: tuple[str | None, ...] = Field(description="why a draw gave no score, else None")
    replies: tuple[str, ...]
    finishes: tuple[Finish, ...]
    expected: tuple[float | None, ...] = Field((), description="Σ k·p(k) of each draw")
    outside: tuple[float, ...] = Field((), description="probability outside the grades, of each draw")
    retries: int = Field(0, description="replies asked for again because nothing could be read")
    num_tokens: int
    flagged: bool = Field(description="prompt or response contain text in the form of a verdict")


class Comparison(Record):
    """What the judge said about two responses in one order; `verdict` is None when nothing could be read."""

    prompt_id: str
    first_id: str
    second_id: str
    rubric: str = Field(description="name@digest of the rubric")
    verdict: Literal["first", "second", "tie"] | None
    reason: str | None = Field(description="why there is no verdict, else None")
    reply: str
    probabilities: tuple[float, ...] = Field((), description="of first, second, tie, where they were read")


class Label(Record):
    """What a judge says of a prompt in one respect; `value` is None when nothing could be read."""

    prompt_id: str
    aspect: Literal["category", "complexity", "length"]
    value: str | None
    reason: str | None = Field(description="why there is no value, else None")
    reply: str
    probabilities: tuple[float, ...] = Field((), description="of the options, where they were read")


class Divergence(Record):
    """KL(model || reference) along one response of the model, at temperature 1."""

    response_id: str
    prompt_id: str
    nats: float = Field(description="summed over the response's tokens, the end token included")
    num_tokens: int


class Pair(Record):
    """A preference pair: the best and the worst scored response to one prompt (section 2.3, step 3)."""

    prompt_id: str
    prompt: str
    chosen_id: str
    rejected_id: str
    chosen: str
    rejected: str
    chosen_score: float
    rejected_score: float
    chosen_finish: Finish = Field(description="a text that was cut off is trained without an end token")
    rejected_finish: Finish
    label: float = Field(1.0, description="chance that chosen is the better one (CREAM, SPA); 1: certain")
    weight: float = Field(1.0, description="of its loss (ScPO)")
    about: Literal["answers", "judging"] = Field("answers", description="what it teaches (Meta-Rewarding)")

    @classmethod
    def of(
        cls,
        chosen: Response,
        rejected: Response,
        scores: tuple[float, float],
        *,
        weight: float = 1.0,
        about: Literal["answers", "judging"] = "answers",
    ) -> "Pair":
        """The pair of two responses to one prompt and their scores."""
        return cls(
            id=content_id("pair" if about == "answers" else "judge pair", chosen.id, rejected.id),
            prompt_id=chosen.prompt_id,
            prompt=chosen.prompt,
            chosen_id=chosen.id,
            rejected_id=rejected.id,
            chosen=chosen.text,
            rejected=rejected.text,
            chosen_score=scores[0],
            rejected_score=scores[1],
            chosen_finish=chosen.finish,
            rejected_finish=rejected.finish,
            weight=weight,
            about=about,
        )


class Likelihood(Record):
    """How likely a response is to some models, the one that wrote it first."""

    response_id: str
    prompt_id: str
    nats: tuple[float, ...] = Field(description="log-probability by each model, the end token included")
    num_tokens: int


class Example(Record):
    """A supervised example: the loss falls on `response` alone."""

    kind: Literal["ift", "eft"]
    prompt: str
    response: str
