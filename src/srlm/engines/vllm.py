"""vLLM beside this process: many GPUs, or a processor, with a model of the loop.

Prompts are made tokens here, as the local engine makes them, and so are replies made text. One request of
vLLM's a draw, with a seed of its own, so a draw depends neither on n nor on its order. What vLLM
guarantees beyond that is less than the local engine does:

batches
    The random numbers of a draw are its own, the logits are not quite: their last bits depend on what
    is computed together, which is a matter of timing. Where two tokens are almost equally likely, another may
    be taken, and from there on the texts differ. `VLLM_BATCH_INVARIANT=1` in the environment makes the
    logits the same in every batch, on NVIDIA GPUs of compute capability 9 and more; it takes time. On a
    processor there is no such switch.
continuations
    Log-probabilities of exactly the tokens that are asked for, of the model itself: before temperature and
    top-p (`logprobs_mode=raw_logprobs`). One request of one token after each beginning of a continuation.
prefixes
    Kept in blocks (16 tokens on GPUs, 128 on a processor): of a shared beginning the last, begun block is
    computed again.

A program of your own that uses this engine needs ``if __name__ == "__main__":``, for vLLM starts its process
by importing it again.
"""

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from srlm.chat_format import load_tokenizer
from srlm.config import VllmEngineSection
from srlm.engines.base import Reply, Request
from srlm.engines.continuations import Tokens, looked_at, next_tokens, weigh
from srlm.engines.encoding import Encoding, Job, refuse_too_long
from srlm.engines.vllm_process import MOST_TOKEN_IDS, Output, VllmProcess
from srlm.errors import EngineError
from srlm.models import Model
from srlm.records import seed_for

NOT_IDENTITY = {"tensor_parallel", "kv_cache_gib", "prefix_caching"}
"""Keys that change memory and time, and of what is written no more than batches do."""


@dataclass(frozen=True)
class _Ask:
    """A request of vLLM's. `stream`: its tokens are looked at as they come."""

    ids: list[int]
    sampling: dict[str, Any]
    stream: bool = False


@dataclass
class _Row:
    """One draw on its way."""

    job: Job
    draw: int
    probabilities: tuple[float, ...] = ()
    tokens: list[int] = field(default_factory=list)


class VllmEngine:
    """Generates with a model of a folder; starts vLLM at the first request."""

    def __init__(self, section: VllmEngineSection, model: Model) -> None:
        self._section, self._model = section, model
        self._process: VllmProcess | None = None
        self._encoding: Any = None
        identity = json.dumps(section.model_dump(mode="json", exclude=NOT_IDENTITY), sort_keys=True)
        self.digest = hashlib.sha256(f"{identity} {model.digest}".encode()).hexdigest()

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        process = self._opened()
        jobs = [self._encoding.job(request) for request in requests]
        refuse_too_long(jobs, process.context)
        try:
            yield from self._write(process, jobs)
        except EngineError:
            self.close()  # the next call starts anew
            raise

    def close(self) -> None:
        process, self._process, self._encoding = self._process, None, None
        if process:
            process.close()

    def _opened(self) -> VllmProcess:
        if self._process is None:
            source = self._model
            tokenizer = load_tokenizer(source.path, trust_remote_code=source.trust_remote_code)
            self._process = VllmProcess(self._section, source)
            self._encoding = Encoding(tokenizer, self._process.ends)
        return self._process

    def _write(self, process: VllmProcess, jobs: Sequence[Job]) -> Iterator[Reply]:
        encoding = self._encoding
        rows = {f"{n} {draw}": _Row(job, draw) for n, job in enumerate(jobs) for draw in job.draws}
        for n, (probabilities, first) in self._weigh(process, jobs).items():
            for draw in jobs[n].draws:
                rows[f"{n} {draw}"].probabilities = probabilities
            if first and jobs[n].request.max_tokens == 1:
                yield encoding.reply(rows.pop(f"{n} 0").job, 0, first, probabilities)
        asks = {key: self._ask(row) for key, row in rows.items()}
        for output in _answers(process, asks, lambda output: self._take(rows[output.key], output)):
            row = rows[output.key]
            yield encoding.reply(row.job, row.draw, row.tokens, row.probabilities)

    def _weigh(
        self, process: VllmProcess, jobs: Sequence[Job]
    ) -> dict[int, tuple[tuple[float, ...], list[int]]]:
        """By the number of a job: the probabilities of its continuations, and its draw 0's first token."""
        chances: dict[int, dict[Tokens, dict[int, float]]] = {}
        asks, places = {}, {}
        for n, job in enumerate(jobs):
            befores = looked_at(job.continuations) if job.continuations else []
            chances |= {n: {before: {} for before in befores}} if befores else {}
            for before in befores:
                wanted = next_tokens(job.continuations, before)
                for start in range(0, len(wanted), MOST_TOKEN_IDS):
                    asked = {"max_tokens": 1, "logprob_token_ids": wanted[start : start + MOST_TOKEN_IDS]}
                    key = f"{n} after {before} from {start}"
                    asks[key] = _Ask([*job.ids, *before], self._sampling(job.request, 0) | asked)
                    places[key] = n, before
        first: dict[int, list[int]] = {}
        for output in _answers(process, asks, lambda output: output.finished):
            n, before = places[output.key]
            chances[n][before] |= {token: math.exp(value) for token, value in output.logprobs.items()}
            if not before:
                first[n] = output.tokens
        return {n: (weigh(jobs[n].continuations, after), first.get(n, [])) for n, after in chances.items()}

    def _ask(self, row: _Row) -> _Ask:
        request = row.job.request
        return _Ask(row.job.ids, self._sampling(request, row.draw), self._encoding.is_watched(request))

    def _sampling(self, request: Request, draw: int) -> dict[str, Any]:
        return {
            "temperature": request.temperature,
            "top_p": request.top_p,
            "max_tokens": request.max_tokens,
            "seed": seed_for(request.seed, draw),
            "stop_token_ids": sorted(self._encoding.ends_of(request)),
        }

    def _take(self, row: _Row, output: Output) -> bool:
        """Whether a row ends with its new tokens; those beyond its end are left."""
        for token in output.tokens:
            row.tokens.append(token)
            if self._encoding.finish(row.job.request, row.tokens):
                return True
        return output.finished


def _answers(
    process: VllmProcess, asks: Mapping[str, _Ask], ends: Callable[[Output], bool]
) -> Iterator[Output]:
    """The last output of each request as it ends: `ends` says which does. What is left over is aborted."""
    going = set(asks)
    try:
        for key, ask in asks.items():
            process.add(key, ask.ids, stream=ask.stream, **ask.sampling)
        while going:
            for output in process.step():
                if output.key not in going or not ends(output):
                    continue
                going.remove(output.key)
                if not output.finished:
                    process.abort([output.key])
                yield output
    finally:
        if going:
            with suppress(EngineError):  # the process may be what failed
                process.abort(sorted(going))
