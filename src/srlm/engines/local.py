"""Any causal language model that transformers loads, in this process, on CPU or CUDA.

Prompts are read as a tree (tree.py), rows enter and leave as they come (decoding.py), and what rows share
is kept once (branches.py). Randomness comes from a row of uniform numbers per draw (`seed_for(seed, draw)`),
so a draw depends neither on its batch nor on a shared generator.
"""

import gc
import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from srlm.chat_format import chat_text, load_tokenizer, without_controls
from srlm.config import MOST_ROWS, LocalEngineSection
from srlm.devices import device_of, dtype_of, free_device_memory
from srlm.engines.base import Reply, Request, empty_conversation
from srlm.engines.continuations import split_shared
from srlm.engines.decoding import Decoder, Job, Room, Row
from srlm.engines.forward import forward_of
from srlm.errors import PromptTooLong
from srlm.memory import give_back_memory
from srlm.models import Model, load_weights
from srlm.records import Finish

SHARE_OF_MEMORY = 0.5
"""Of what is free beside the weights, for keys and values; the rest is for what a forward pass needs."""
STOP_WITHIN = 16
"""Tokens at the end of a reply in which `stop` and `until` are looked for."""


class LocalEngine:
    """Generates with a model of a folder; loads it at the first request."""

    def __init__(self, section: LocalEngineSection, model: Model) -> None:
        self._section, self._source = section, model
        self._model: Any = None
        self._tokenizer: Any = None
        self._forward: Any = None
        self.digest = hashlib.sha256(f"{section.model_dump_json()} {model.digest}".encode()).hexdigest()

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        self._load()
        jobs = [self._encode(request) for request in requests]
        self._refuse_too_long(jobs)
        jobs.sort(key=lambda job: (-len(job.ids), job.request.id))
        decoder = Decoder(self._forward, self._room(), self._tokenizer.pad_token_id)
        for row in decoder.run(jobs, lambda row: self._finish(row) is not None):
            yield self._reply(row)

    def close(self) -> None:
        self._model = self._tokenizer = self._forward = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        give_back_memory()

    def _load(self) -> None:
        if self._model is not None:
            return
        path, trust = self._source.path, self._source.trust_remote_code
        device = device_of(self._section.device)
        self._tokenizer = load_tokenizer(path, trust_remote_code=trust)
        self._model = load_weights(path, dtype_of(self._section.dtype, device), trust_remote_code=trust)
        self._model.to(device).eval()
        self._forward = forward_of(self._model, self._tokenizer.pad_token_id)
        ends = self._model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self._ends = {end for end in [*ends, self._tokenizer.eos_token_id] if end is not None}

    def _room(self) -> Room:
        device = self._model.device.type
        rows = MOST_ROWS[device]
        if self._section.batch_tokens:
            return Room(rows, self._section.batch_tokens)
        free = SHARE_OF_MEMORY * free_device_memory(device)
        return Room(rows, max(1, int(free / bytes_a_token(self._model))))

    def _encode(self, request: Request) -> Job:
        if not any(message.content.strip() for message in request.conversation):
            raise empty_conversation(request)
        # A prefix may hold what a judge wrote, and that is text too.
        prefix = without_controls(self._tokenizer, request.prefix)
        text = chat_text(self._tokenizer, request.conversation) + prefix
        draws = tuple(range(request.n))
        if not request.continuations:
            return Job(request, self._tokens(text), [], draws)
        shared, added = split_shared([self._tokens(text + more) for more in request.continuations])
        return Job(request, shared, added, draws)

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _refuse_too_long(self, jobs: Sequence[Job]) -> None:
        context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        too_long = [job for job in jobs if context and job.longest > context]
        if too_long:
            job = too_long[0]
            request = job.request
            raise PromptTooLong(
                f"request {request.id}: {len(job.ids)} tokens of prompt and {request.max_tokens} new ones "
                f"({request.conversation[-1].content[:60]!r}...)",
                f"the model's context holds {context} tokens",
                "shorten the prompt, lower max_tokens of the section, or take a model with a longer context",
                tuple(job.request.id for job in too_long),
            )

    def _finish(self, row: Row) -> Finish | None:
        request = row.job.request
        if row.tokens[-1] in self._ends:
            return "stop"
        if (request.stop or request.until) and self._is_complete(row):
            return "stop"
        return "length" if len(row.tokens) >= request.max_tokens else None

    def _is_complete(self, row: Row) -> bool:
        request = row.job.request
        tail = self._tokenizer.decode(row.tokens[-STOP_WITHIN:], skip_special_tokens=True)
        if any(stop in tail for stop in request.stop):
            return True
        if not request.until or not re.search(request.until, tail):
            return False
        # The tail may begin within a line.
        whole = self._tokenizer.decode(row.tokens, skip_special_tokens=True)
        return re.search(request.until, whole) is not None

    def _reply(self, row: Row) -> Reply:
        request, finish = row.job.request, self._finish(row)
        text = self._tokenizer.decode(
            [token for token in row.tokens if token not in self._ends], skip_special_tokens=True
        )
        for stop in request.stop:
            text = text.partition(stop)[0]
        return Reply(
            request_id=request.id,
            draw=row.draw,
            text=text if request.prefix else text.strip(),
            finish=finish or "length",
            num_tokens=len(row.tokens),
            num_prompt_tokens=len(row.job.ids),
            probabilities=row.probabilities,
        )


def bytes_a_token(model: Any) -> int:
    """Bytes of keys and values that a token takes: measured, for families lay them out in their own ways."""
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(torch.tensor([[5, 6, 7, 8]], device=model.device), past_key_values=cache, use_cache=True)
    held = [getattr(layer, name, None) for layer in cache.layers for name in ("keys", "values")]
    return max(1, sum(tensor.nbytes for tensor in held if isinstance(tensor, torch.Tensor)) // 4)
