"""A request as tokens and tokens as a reply, the same for every engine that has a model's tokenizer."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from srlm.chat_format import UserEnd, chat_text, end_of_user, user_text, without_controls
from srlm.engines.base import Reply, Request, beginning_of, refuse_empty
from srlm.engines.continuations import Tokens, split_shared
from srlm.errors import PromptTooLong
from srlm.records import Finish

STOP_WITHIN = 16
"""Tokens at the end of a reply in which `stop` and `until` are looked for."""


@dataclass(frozen=True)
class Job:
    """A request as tokens: its prompt, what each of its continuations adds, and the draws that are wanted."""

    request: Request
    ids: list[int]
    continuations: list[Tokens]
    draws: tuple[int, ...]

    @property
    def longest(self) -> int:
        """Tokens of the model's context that it may take up."""
        return len(self.ids) + max(self.request.max_tokens, *map(len, self.continuations), 0)


class Encoding:
    """A model's tokenizer and the tokens that end a reply: the generation config's `ends`, and its own."""

    def __init__(self, tokenizer: Any, ends: int | Iterable[int] | None) -> None:
        self.tokenizer = tokenizer
        named = (ends,) if ends is None or isinstance(ends, int) else tuple(ends)
        self.ends = {end for end in (*named, tokenizer.eos_token_id) if end is not None}

    def job(self, request: Request) -> Job:
        """A request as tokens; raises EngineError for an empty conversation."""
        refuse_empty(request)
        # A prefix may hold what a judge wrote, and that is text too.
        prefix = without_controls(self.tokenizer, request.prefix)
        written = user_text if request.speaker == "user" else chat_text
        text = written(self.tokenizer, request.conversation) + prefix
        draws = tuple(range(request.n))
        if not request.continuations:
            return Job(request, self._tokens(text), [], draws)
        shared, added = split_shared([self._tokens(text + more) for more in request.continuations])
        return Job(request, shared, added, draws)

    def ends_of(self, request: Request) -> set[int]:
        """The tokens that end a reply; to a user's turn belongs what hands over to the assistant."""
        return self.ends | self._user_end.tokens if request.speaker == "user" else self.ends

    def is_watched(self, request: Request) -> bool:
        """Whether a text may end a reply, so that it has to be read while it is written."""
        return bool(request.until or self._stops(request))

    def finish(self, request: Request, tokens: Sequence[int]) -> Finish | None:
        """How a reply ends with the last of its tokens; None if it goes on."""
        if tokens[-1] in self.ends_of(request):
            return "stop"
        if self.is_watched(request) and self._is_complete(request, tokens):
            return "stop"
        return "length" if len(tokens) >= request.max_tokens else None

    def reply(self, job: Job, draw: int, tokens: Sequence[int], probabilities: tuple[float, ...]) -> Reply:
        """The reply that a draw's tokens make."""
        request = job.request
        ends = self.ends_of(request)
        text = self._text([token for token in tokens if token not in ends])
        for stop in self._stops(request):
            text = text.partition(stop)[0]
        return Reply(
            request_id=request.id,
            draw=draw,
            text=text if request.prefix else text.strip(),
            finish=self.finish(request, tokens) or "length",
            num_tokens=len(tokens),
            num_prompt_tokens=len(job.ids),
            probabilities=probabilities,
        )

    @cached_property
    def _user_end(self) -> UserEnd:
        return end_of_user(self.tokenizer)

    def _stops(self, request: Request) -> tuple[str, ...]:
        return request.stop + self._user_end.texts if request.speaker == "user" else request.stop

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _text(self, tokens: Sequence[int]) -> str:
        text: str = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return text

    def _is_complete(self, request: Request, tokens: Sequence[int]) -> bool:
        tail = self._text(tokens[-STOP_WITHIN:])
        if any(stop in tail for stop in self._stops(request)):
            return True
        if not request.until or not re.search(request.until, tail):
            return False
        # The tail may begin within a line.
        return re.search(request.until, self._text(tokens)) is not None


def refuse_too_long(jobs: Sequence[Job], context: int | None) -> None:
    """Raise PromptTooLong with the ids of all requests that do not fit a context of so many tokens."""
    too_long = [job for job in jobs if context and job.longest > context]
    if too_long:
        job = too_long[0]
        request = job.request
        raise PromptTooLong(
            f"request {request.id}: {len(job.ids)} tokens of prompt and {request.max_tokens} new ones "
            f"({beginning_of(request)})",
            f"the model's context holds {context} tokens",
            "shorten the prompt, lower max_tokens of the section, or take a model with a longer context",
            tuple(job.request.id for job in too_long),
        )
