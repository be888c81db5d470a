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


class Judgment(Record):
    """All that the judge said about one response; `score` is None when nothing could be read."""

    response_id: str
    prompt_id: str
    score: float | None = Field(description="mean of the readable scores, 0 to 5")
    scores: tuple[float | None, ...] = Field(description="one per sampled reply")
    reasons: tuple[str | None, ...] = Field(description="why a reply gave no score, else None")
    replies: tuple[str, ...]
    num_tokens: int
    flagged: bool = Field(description="the response itself contains text in the form of a score")


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


class Example(Record):
    """A supervised example: the loss falls on `response` alone."""

    kind: Literal["ift", "eft"]
    prompt: str
    response: str
