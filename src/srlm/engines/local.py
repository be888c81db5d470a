"""Any causal language model that transformers loads, in this process, on CPU or CUDA.

Prompts are read as a tree (tree.py), rows enter and leave as they come (decoding.py), and what rows share
is kept once (branches.py). Randomness comes from a row of uniform numbers per draw (`seed_for(seed, draw)`),
so a draw depends neither on its batch nor on a shared generator.
"""

import gc
import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from srlm.chat_format import load_tokenizer
from srlm.config import MOST_ROWS, LocalEngineSection
from srlm.devices import device_of, dtype_of, free_device_memory
from srlm.engines.base import Reply, Request
from srlm.engines.decoding import Decoder, Room
from srlm.engines.encoding import Encoding, refuse_too_long
from srlm.engines.forward import forward_of
from srlm.memory import give_back_memory
from srlm.models import Model, load_model

SHARE_OF_MEMORY = 0.5
"""Of what is free beside the weights, for keys and values; the rest is for what a forward pass needs."""


class LocalEngine:
    """Generates with a model of a folder; loads it at the first request."""

    def __init__(self, section: LocalEngineSection, model: Model) -> None:
        self._section, self._source = section, model
        self._model: Any = None
        self._encoding: Any = None
        self._forward: Any = None
        self.digest = hashlib.sha256(f"{section.model_dump_json()} {model.digest}".encode()).hexdigest()

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        self._load()
        encoding = self._encoding
        jobs = [encoding.job(request) for request in requests]
        context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        refuse_too_long(jobs, context)
        jobs.sort(key=lambda job: (-len(job.ids), job.request.id))
        decoder = Decoder(self._forward, self._room(), encoding.tokenizer.pad_token_id)
        for row in decoder.run(jobs, lambda row: encoding.finish(row.job.request, row.tokens) is not None):
            yield encoding.reply(row.job, row.draw, row.tokens, row.probabilities)

    def close(self) -> None:
        self._model = self._encoding = self._forward = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        give_back_memory()

    def _load(self) -> None:
        if self._model is not None:
            return
        source = self._source
        device = device_of(self._section.device)
        tokenizer = load_tokenizer(source.path, trust_remote_code=source.trust_remote_code)
        self._model = load_model(source, dtype_of(self._section.dtype, device))
        self._model.to(device).eval()
        self._forward = forward_of(self._model, tokenizer.pad_token_id)
        self._encoding = Encoding(tokenizer, self._model.generation_config.eos_token_id)

    def _room(self) -> Room:
        device = self._model.device.type
        rows = MOST_ROWS[device]
        if self._section.batch_tokens:
            return Room(rows, self._section.batch_tokens)
        free = SHARE_OF_MEMORY * free_device_memory(device)
        return Room(rows, max(1, int(free / bytes_a_token(self._model))))


def bytes_a_token(model: Any) -> int:
    """Bytes of keys and values that a token takes: measured, for families lay them out in their own ways."""
    cache = DynamicCache(config=model.config)
    with torch.inference_mode():
        model(torch.tensor([[5, 6, 7, 8]], device=model.device), past_key_values=cache, use_cache=True)
    held = [getattr(layer, name, None) for layer in cache.layers for name in ("keys", "values")]
    return max(1, sum(tensor.nbytes for tensor in held if isinstance(tensor, torch.Tensor)) // 4)
