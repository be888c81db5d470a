"""Any server that speaks OpenAI's chat completions: vLLM, llama.cpp, `transformers serve`, a hosted one.

One HTTP request a draw, each with a seed of its own, so a draw depends neither on n nor on what is asked
beside it, as far as the server keeps to seeds (vLLM does, hosted ones try, `transformers serve` with
concurrency 1). What differs from an engine in this process:

prefix
    A begun assistant's message with `continue_final_message`, as vLLM and SGLang take it. A server that
    refuses it is an error with the way out; one that ignores it cannot be told. With ``continues=false`` the
    prefix is left out, and cut off a reply that begins with it.
continuations
    From the 20 likeliest tokens after the prefix (`top_logprobs`): exact for a continuation of one token
    among them, 0 for others. One of several tokens cannot be told, and is an error where it may matter.
    Spaces at the end of the prefix may be a token of their own or part of the next one; both are read.
finish
    `stop` and `length`. `content_filter` is `length`, because the reply was cut off, and counted as
    filtered; an empty reply is a value. Neither may end a run that would meet it again every time.
user's turns
    Cannot be asked for: the server begins the assistant's. An error.
control tokens
    Text that spells them, such as ``<|im_end|>``, is tokenized by the server; most obey it.
"""

import hashlib
import json
import math
import re
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any

from srlm.config import OpenAIEngineSection
from srlm.engines.base import Reply, Request, beginning_of, refuse_empty
from srlm.engines.server import Json, Passing, Refused, Server, Stopped
from srlm.errors import EngineError, PromptTooLong
from srlm.records import Finish, seed_for

PATH = "/chat/completions"
NOT_IDENTITY = {"api_key_env", "concurrency", "timeout_s", "max_retries", "price_in", "price_out"}
"""Keys that change how a server is asked and not what it writes."""
TOP_LOGPROBS = 20
NEGLIGIBLE = 1e-3
"""Probability below which it does not matter whether a continuation has several tokens."""

_TOO_LONG = re.compile(
    r"context.{0,3}(length|size|window)|maximum.context|(prompt|input|message|request)s?\b.{0,40}\btoo.long"
    r"|max_model_len|inputs.{0,40}max_new_tokens",
    re.I | re.S,
)
_WITHOUT_PROBABILITIES = (
    "set judge.scoring=sampled and judge.justify=true, or take a server that goes on with a begun message "
    "and gives top_logprobs (vLLM, SGLang)"
)
Job = tuple[Request, int]


class OpenAIEngine:
    """Asks the server of a section, at most `concurrency` requests at a time.

    Nothing comes back before all of a call is there, because only the server knows whether a prompt fits.
    What was answered before a failure or a prompt too long is kept, and answers the next call.
    """

    def __init__(
        self,
        section: OpenAIEngineSection,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._section = section
        self._server = Server(section, sleep, now)
        self._kept: dict[Job, Reply] = {}
        self._reported: Counter[str] = Counter()
        identity = json.dumps(section.model_dump(mode="json", exclude=NOT_IDENTITY), sort_keys=True)
        self.digest = hashlib.sha256(identity.encode()).hexdigest()

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        for request in requests:
            self._refuse_impossible(request)
        jobs = [(request, draw) for request in requests for draw in range(request.n)]
        too_long: dict[Request, Refused] = {}
        for job, outcome in self._ask_all([job for job in jobs if job not in self._kept]):
            if isinstance(outcome, Reply):
                self._kept[job] = outcome
            else:
                too_long[job[0]] = outcome
        if too_long:
            raise self._too_long(too_long)
        found = [self._kept[job] for job in jobs]
        self._kept.clear()
        yield from found

    @property
    def usage(self) -> Counter[str]:
        """All since the engine was made: requests, tokens, cost in millionths where prices are set."""
        with self._server.lock:
            found = +self._server.counts
        price_in, price_out = self._section.price_in, self._section.price_out
        cost = found["prompt tokens"] * price_in + found["reply tokens"] * price_out
        return +(found + Counter({"millionths of cost": round(cost)}))

    def spent(self) -> Counter[str]:
        """The usage since this was last asked; `Run` keeps it beside a step's other counts."""
        now = self.usage
        found, self._reported = now - self._reported, now
        return found

    def summary(self) -> str:
        """The usage in a line."""
        used = self.usage
        said = f"{used['requests']:,} requests, {used['requests repeated']:,} of them repeated, "
        said += f"{used['prompt tokens']:,} tokens in, {used['reply tokens']:,} out"
        cost = used["millionths of cost"]
        return f"{said}, cost {cost / 1e6:,.4f}" if cost else said

    def close(self) -> None:
        """Close the connections."""
        self._server.close()

    def _refuse_impossible(self, request: Request) -> None:
        refuse_empty(request)
        if request.speaker == "user":
            raise EngineError(
                f"{self._server.name}, request {request.id}: the user's turn is wanted",
                "chat completions begin the assistant's turn, and nothing else can be asked for there",
                "let a model of yours write it (prompts.writer, engine.kind=local or vllm), or set "
                "prompts.method=few_shot",
            )
        if request.continuations and request.prefix and not self._section.continues:
            raise EngineError(
                f"engine.continues=false; request {request.id} asks what follows {request.prefix[-40:]!r}",
                "only a server that goes on with a begun message can say that",
                _WITHOUT_PROBABILITIES,
            )

    def _ask_all(self, jobs: list[Job]) -> Iterator[tuple[Job, "Reply | Refused"]]:
        """Every job with its reply, or with the refusal of one too long, as they come; raises EngineError."""
        todo, stopping = deque(jobs), threading.Event()
        done: SimpleQueue[tuple[Job, Reply | BaseException]] = SimpleQueue()
        for _ in range(min(self._section.concurrency, len(jobs))):
            threading.Thread(target=self._work, args=(todo, done, stopping), daemon=True).start()
        try:
            for _ in jobs:
                job, outcome = done.get()
                if isinstance(outcome, Refused):
                    if not _is_too_long(outcome):
                        raise self._refusal(job[0], outcome) from outcome
                elif isinstance(outcome, BaseException):
                    raise outcome
                yield job, outcome
        finally:
            stopping.set()

    def _work(
        self,
        todo: deque[Job],
        done: "SimpleQueue[tuple[Job, Reply | BaseException]]",
        stopping: threading.Event,
    ) -> None:
        while not stopping.is_set():
            try:
                job = todo.popleft()
            except IndexError:
                return
            try:
                done.put((job, self._reply(*job, stopping)))
            except Stopped:
                return
            except BaseException as error:
                done.put((job, error))  # and is raised by who waits for the replies

    def _reply(self, request: Request, draw: int, stopping: threading.Event) -> Reply:
        weighed = self._weigh(request, stopping) if request.continuations else None
        answer = weighed.likeliest if weighed and request.max_tokens == 1 else None
        if answer is None:
            body = self._body(request, draw)
            answer = self._server.ask(PATH, body, lambda value: self._read(request, value), stopping)
        return Reply(
            request_id=request.id,
            draw=draw,
            text=answer.text,
            finish=answer.finish,
            num_tokens=answer.num_tokens,
            num_prompt_tokens=answer.num_prompt_tokens,
            probabilities=weighed.probabilities if weighed else (),
        )

    def _body(self, request: Request, draw: int, **instead: Any) -> Json:
        messages = [{"role": item.role, "content": _encodable(item.content)} for item in request.conversation]
        prefix = instead.pop("prefix", request.prefix)
        if prefix and self._section.continues:
            messages.append({"role": "assistant", "content": _encodable(prefix)})
            instead |= {"continue_final_message": True, "add_generation_prompt": False}
        body = {
            "model": self._section.model,
            "messages": messages,
            "temperature": request.temperature,
            "top_p": request.top_p,
            self._section.budget_key: request.max_tokens,
            "seed": seed_for(request.seed, draw) % 2**31,  # as many bits as every server takes
            "stop": list(request.stop) or None,
        }
        body |= instead | self._section.extra
        return {key: value for key, value in body.items() if value is not None}

    def _read(self, request: Request, value: Json) -> "_Answer":
        """The answer to a draw, its tokens counted; raises Passing for one that is not whole."""
        choice, text, finish = _choice(value)
        num_prompt_tokens, num_tokens = self._count(
            value, filtered=choice["finish_reason"] == "content_filter"
        )
        if request.prefix and not self._section.continues:
            text = text.lstrip().removeprefix(request.prefix.strip())
        for stop in request.stop:
            text, found, _ = text.partition(stop)
            finish = "stop" if found else finish
        text = text if request.prefix and self._section.continues else text.strip()
        return _Answer(text, finish, num_tokens, num_prompt_tokens)

    def _count(self, value: Json, *, filtered: bool) -> tuple[int, int]:
        """Tokens of prompt and reply, 0 where the server does not say."""
        usage = value.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        given, made = (usage.get(key) or 0 for key in ("prompt_tokens", "completion_tokens"))
        given, made = (number if isinstance(number, int) and number > 0 else 0 for number in (given, made))
        new = Counter({"prompt tokens": given, "reply tokens": made, "filtered": int(filtered)})
        with self._server.lock:
            self._server.counts.update(new)
        return given, made

    def _weigh(self, request: Request, stopping: threading.Event) -> "_Weighed":
        """The probabilities of the continuations; raises EngineError for those that cannot be told."""
        begun = request.prefix.rstrip()
        spaces = request.prefix[len(begun) :]
        instead = {"prefix": begun, "temperature": 0, "top_p": 1, "stop": None}
        instead |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        instead[self._section.budget_key] = 2 if spaces else 1
        body = self._body(request, 0, **instead)
        likeliest, chances = self._server.ask(
            PATH, body, lambda value: self._likeliest(value, spaces=bool(spaces or not begun)), stopping
        )
        if not chances:
            raise EngineError(
                f"{self._server.name}, request {request.id}",
                "it gives no probabilities of tokens (logprobs, top_logprobs), and they were asked for",
                _WITHOUT_PROBABILITIES,
            )
        self._refuse_several_tokens(request, chances)
        return _Weighed(likeliest, tuple(chances.get(text, 0.0) for text in request.continuations))

    def _likeliest(self, value: Json, *, spaces: bool) -> tuple["_Answer", dict[str, float]]:
        """The likeliest token as an answer, and the probability of each; none where the server gives none."""
        choice, _, _ = _choice(value)
        given, _ = self._count(value, filtered=False)
        logprobs = choice.get("logprobs")
        content = logprobs.get("content") if isinstance(logprobs, dict) else None
        if not content:
            return _Answer("", "length", 0, given), {}
        try:
            place = content[0]
            if spaces and len(content) > 1 and not place["token"].strip():
                place = content[1]  # spaces were a token of their own, and are taken for granted
            listed = {item["token"]: math.exp(item["logprob"]) for item in (*place["top_logprobs"], place)}
        except (TypeError, KeyError, AttributeError, OverflowError) as error:
            raise Passing(f"its logprobs have another form ({type(error).__name__}: {error})") from error
        if not 0 <= sum(listed.values()) <= 1.01:
            raise Passing("its logprobs are no probabilities")
        chances: dict[str, float] = defaultdict(float)
        for token, chance in listed.items():
            chances[token.lstrip() if spaces else token] += chance
        return _Answer(place["token"], "length", 1, given), chances

    def _refuse_several_tokens(self, request: Request, chances: dict[str, float]) -> None:
        for text in request.continuations:
            begun = sum(value for token, value in chances.items() if token and text.startswith(token))
            if text not in chances and begun > NEGLIGIBLE:
                raise EngineError(
                    f"{self._server.name}, request {request.id}: the probability of {text!r}",
                    "the server's model seems to write it as several tokens, and only the next one is told",
                    _WITHOUT_PROBABILITIES,
                )

    def _too_long(self, refused: dict[Request, Refused]) -> PromptTooLong:
        request, error = next(iter(refused.items()))
        return PromptTooLong(
            f"request {request.id} ({beginning_of(request)}) with {request.max_tokens} new tokens",
            f"{self._server.name}, says: {error.said}",
            "shorten the prompt, lower max_tokens of the section, or serve a model with a longer context",
            tuple(item.id for item in refused),
        )

    def _refusal(self, request: Request, error: Refused) -> EngineError:
        status = f"HTTP {error.status}: " if error.status else ""
        return EngineError(
            f"{self._server.name}, request {request.id}",
            f"{status}{error.said}",
            self._way_out(request, error),
        )

    def _way_out(self, request: Request, error: Refused) -> str:
        if error.status in {401, 403}:
            name = self._section.api_key_env or "of your own, named by engine.api_key_env"
            return f"put a key that the server accepts into the environment variable {name}"
        if error.status in {402, 429}:
            return "see to the account, then run the same command again: it goes on after the last block"
        if error.status in {200, 301, 302, 307, 308, 404, 405}:
            return "check engine.base_url, which most often ends in /v1, and engine.model"
        if request.continuations:
            return _WITHOUT_PROBABILITIES
        if request.prefix and self._section.continues:
            return "if the server cannot go on with a begun message, set engine.continues=false"
        return "leave out a key that it does not take (engine.extra.KEY=null); see also engine.budget_key"


@dataclass(frozen=True)
class _Answer:
    """What one HTTP request brought."""

    text: str
    finish: Finish
    num_tokens: int
    num_prompt_tokens: int


@dataclass(frozen=True)
class _Weighed:
    """The likeliest next token, and the probability of each continuation."""

    likeliest: _Answer
    probabilities: tuple[float, ...]


def _choice(value: Json) -> tuple[Json, str, Finish]:
    """The only choice of an answer, its text, and how it ended; raises Passing when it is not whole."""
    choices = value.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise Passing("its answer has no choices[0].message")
    text = message.get("content") or message.get("refusal") or ""
    if not isinstance(text, str):
        raise Passing("the content of its answer is no text")
    ended = choice.setdefault("finish_reason", None)
    if ended in {"abort", "error"}:
        raise Passing(f"it broke the reply off ({ended})")
    return choice, _encodable(text), "length" if ended in {"length", "content_filter"} else "stop"


def _is_too_long(error: Refused) -> bool:
    """Whether a server refused a request because its model's context is too short for it."""
    return error.status in {400, 413, 422} and bool(_TOO_LONG.search(f"{error.code} {error.said}"))


def _encodable(text: str) -> str:
    """The text with a question mark for every half of a surrogate pair, which has no UTF-8."""
    return text.encode("utf-8", "replace").decode()
