"""Any causal language model that transformers loads, in this process, on CPU or CUDA.

Requests are sorted by length and batched by tokens. What all prompts of a batch begin with, such as a
rubric, is read once and kept once, and so is each request's prompt for its n samples (branches.py).
Randomness comes from a row of uniform numbers per draw (`seed_for(seed, draw)`), so a draw depends
neither on its batch nor on a shared generator.
"""

import gc
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np
import torch
from torch import Tensor

from srlm.chat_format import chat_text, load_tokenizer, without_controls
from srlm.config import LocalEngineSection
from srlm.engines.attention import ONE_TOKEN, can_branch, decode_grouped
from srlm.engines.base import Reply, Request, empty_conversation
from srlm.engines.branches import Branches, branch_off
from srlm.engines.sampling import sample
from srlm.errors import PromptTooLong
from srlm.memory import give_back_memory
from srlm.models import Model, device_of, load_weights
from srlm.records import Finish, seed_for

SHARED_AT_LEAST = 32
FULL_ENOUGH = 7 / 8
"""Rows that ended stay in the batch until the share of the others has fallen to this: moving costs, too."""


class LocalEngine:
    """Generates with a model of a folder; loads it at the first request."""

    def __init__(self, section: LocalEngineSection, model: Model) -> None:
        self._section, self._source = section, model
        self._model: Any = None
        self._tokenizer: Any = None
        self.digest = hashlib.sha256(f"{section.model_dump_json()} {model.digest}".encode()).hexdigest()

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        self._load()
        encoded = [self._encode(request) for request in requests]
        self._refuse_too_long(encoded)
        encoded.sort(key=lambda item: (len(item.ids), item.request.id))
        for batch in self._batches(encoded):
            yield from self._run(batch)

    def close(self) -> None:
        self._model = self._tokenizer = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        give_back_memory()

    def _load(self) -> None:
        if self._model is not None:
            return
        path, trust = self._source.path, self._source.trust_remote_code
        self._tokenizer = load_tokenizer(path, trust_remote_code=trust)
        self._model = load_weights(path, self._section.dtype, trust_remote_code=trust)
        self._model.to(device_of(self._section.device)).eval()
        decode_grouped(self._model)
        self._branches = can_branch(self._model)
        ends = self._model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self._ends = {end for end in [*ends, self._tokenizer.eos_token_id] if end is not None}

    def _encode(self, request: Request) -> "_Encoded":
        if not any(message.content.strip() for message in request.conversation):
            raise empty_conversation(request)
        # A prefix may hold what a judge wrote, and that is text too.
        prefix = without_controls(self._tokenizer, request.prefix)
        text = chat_text(self._tokenizer, request.conversation) + prefix
        if not request.continuations:
            return _Encoded(request, self._tokens(text))
        whole = [self._tokens(text + continuation) for continuation in request.continuations]
        same = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*whole, strict=False))
        shared = [tokens[0] for tokens in same]
        return _Encoded(request, shared, [ids[len(shared) :] for ids in whole])

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _refuse_too_long(self, encoded: "list[_Encoded]") -> None:
        context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        fits = [not context or item.room <= context for item in encoded]
        if not all(fits):
            first = encoded[fits.index(False)]
            request = first.request
            raise PromptTooLong(
                f"request {request.id}: {len(first.ids)} tokens of prompt and {request.max_tokens} new ones "
                f"({request.conversation[-1].content[:60]!r}...)",
                f"the model's context holds {context} tokens",
                "shorten the prompt, lower max_tokens of the section, or take a model with a longer context",
                tuple(item.request.id for item, fit in zip(encoded, fits, strict=True) if not fit),
            )

    def _batches(self, encoded: "list[_Encoded]") -> "Iterator[list[_Encoded]]":
        batch: list[_Encoded] = []
        for item in encoded:
            rows = sum(one.request.n for one in [*batch, item])
            if batch and rows * max(one.room for one in [*batch, item]) > self._section.batch_tokens:
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

    @torch.inference_mode()
    def _run(self, batch: "list[_Encoded]") -> Iterator[Reply]:
        read = self._prefill([item.ids for item in batch])
        rows: list[_Row] = []
        origins: list[int] = []
        for index, item in enumerate(batch):
            probabilities = self._weigh(item, read.logits[index])
            rows += [_Row(item.request, draw, len(item.ids), probabilities) for draw in range(item.request.n)]
            origins += [index] * item.request.n
        if self._branches:
            cache = branch_off(read.cache, read.mask, read.shared, [item.request.n for item in batch])
            chosen = torch.tensor(origins, device=read.logits.device)
            state = _State(cache, read.logits[chosen], ONE_TOKEN.to(chosen.device), read.positions[chosen])
        else:
            state = _State(read.cache, read.logits, read.mask, read.positions).select(origins)
        del read  # what the branches do not hold can go
        yield from self._decode(rows, state)

    def _weigh(self, item: "_Encoded", logits: Tensor) -> tuple[float, ...]:
        """Probability of each continuation, from the logits [vocabulary] after what all share."""
        after: dict[tuple[int, ...], Tensor] = {(): logits.softmax(-1)}
        found = []
        for tokens in item.continuations:
            probability = 1.0
            for place, token in enumerate(tokens):
                before = tuple(tokens[:place])
                if before not in after:
                    after[before] = self._prefill([[*item.ids, *before]]).logits[0].softmax(-1)
                probability *= float(after[before][token])
            found.append(probability)
        return otherwise(found, item.continuations)

    def _prefill(self, prompts: list[list[int]]) -> "_Read":
        from transformers import DynamicCache

        cache = DynamicCache(config=self._model.config)
        shared = self._read_shared(cache, prompts)
        tails = [prompt[shared:] for prompt in prompts]
        longest = max(map(len, tails))
        pad = self._tokenizer.pad_token_id
        device = self._model.device
        ids = torch.tensor([[pad] * (longest - len(tail)) + tail for tail in tails], device=device)
        mask = torch.tensor(
            [[1] * shared + [0] * (longest - len(tail)) + [1] * len(tail) for tail in tails], device=device
        )
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, shared:]
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return _Read(cache, output.logits[:, -1].float(), mask, positions[:, -1:] + 1, shared)

    def _read_shared(self, cache: Any, prompts: list[list[int]]) -> int:
        """Read once the tokens with which all prompts begin, such as a rubric; returns how many."""
        from transformers.cache_utils import DynamicLayer

        same = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*prompts, strict=False))
        shared = min(len(list(same)), min(map(len, prompts)) - 1)
        plain = all(type(layer) is DynamicLayer for layer in cache.layers)  # a window would count the padding
        if len(prompts) == 1 or shared < SHARED_AT_LEAST or not plain:
            return 0
        ids = torch.tensor([prompts[0][:shared]], device=self._model.device)
        self._model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_repeat_interleave(len(prompts))
        return shared

    def _decode(self, rows: "list[_Row]", state: "_State") -> Iterator[Reply]:
        places = list(range(len(rows)))  # where each row that goes on stands in the state
        while True:
            uniforms = [row.uniforms[len(row.tokens)] for row in rows]
            logits = state.logits if len(places) == len(state.logits) else state.logits[places]
            tokens = sample(logits, [row.request for row in rows], uniforms)
            finished = [self._take(row, token) for row, token in zip(rows, tokens, strict=True)]
            for row, finish in zip(rows, finished, strict=True):
                if finish:
                    yield self._reply(row, finish)
            going = [index for index, finish in enumerate(finished) if not finish]
            if not going:
                return
            rows, places = [rows[index] for index in going], [places[index] for index in going]
            if len(places) <= FULL_ENOUGH * len(state.logits):
                state, places = state.select(places), list(range(len(places)))
            following = [self._tokenizer.pad_token_id] * len(state.logits)
            for row, place in zip(rows, places, strict=True):
                following[place] = row.tokens[-1]
            state = self._step(state, following)

    def _step(self, state: "_State", tokens: list[int]) -> "_State":
        ids = torch.tensor(tokens, device=state.positions.device)[:, None]
        branched = isinstance(state.cache, Branches)
        mask = state.mask
        if not branched:
            mask = torch.cat([mask, mask.new_ones(len(tokens), 1)], dim=1)
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=state.positions,
            past_key_values=state.cache,
            use_cache=True,
        )
        if branched:
            state.cache.advance()
        return _State(state.cache, output.logits[:, -1].float(), mask, state.positions + 1)

    def _take(self, row: "_Row", token: int) -> Finish | None:
        if token in self._ends:
            row.num_tokens += 1
            return "stop"
        row.tokens.append(token)
        row.num_tokens += 1
        if row.request.stop:
            tail = self._tokenizer.decode(row.tokens[-16:], skip_special_tokens=True)
            if any(stop in tail for stop in row.request.stop):
                return "stop"
        return "length" if len(row.tokens) >= row.request.max_tokens else None

    def _reply(self, row: "_Row", finish: Finish) -> Reply:
        text = self._tokenizer.decode(row.tokens, skip_special_tokens=True)
        for stop in row.request.stop:
            text = text.partition(stop)[0]
        return Reply(
            request_id=row.request.id,
            draw=row.draw,
            text=text if row.request.prefix else text.strip(),
            finish=finish,
            num_tokens=row.num_tokens,
            num_prompt_tokens=row.num_prompt_tokens,
            probabilities=row.probabilities,
        )


@dataclass(frozen=True)
class _Encoded:
    """A request as tokens: what is read, and what each continuation adds to it."""

    request: Request
    ids: list[int]
    continuations: list[list[int]] = field(default_factory=list)

    @property
    def room(self) -> int:
        """Tokens of the context that it may take up."""
        return len(self.ids) + max(self.request.max_tokens, *map(len, self.continuations), 0)


@dataclass
class _Row:
    """One sample on its way."""

    request: Request
    draw: int
    num_prompt_tokens: int
    probabilities: tuple[float, ...]
    tokens: list[int] = field(default_factory=list)
    num_tokens: int = 0

    def __post_init__(self) -> None:
        generator = np.random.Generator(np.random.Philox(seed_for(self.request.seed, self.draw)))
        self.uniforms = generator.random(self.request.max_tokens)


@dataclass
class _Read:
    """What was read of some prompts: cache, last logits [prompts, vocabulary], mask [prompts, length], next
    positions [prompts, 1], and how many tokens all of them begin with.
    """

    cache: Any
    logits: Tensor
    mask: Tensor
    positions: Tensor
    shared: int


@dataclass
class _State:
    """What the model has seen of every row: cache, logits [rows, vocabulary], mask, positions [rows, 1].

    The mask is [rows, length], or ONE_TOKEN for Branches.
    """

    cache: Any
    logits: Tensor
    mask: Tensor
    positions: Tensor

    def select(self, indices: list[int]) -> "_State":
        """The given rows, in that order; repeats are allowed but for Branches."""
        chosen = torch.tensor(indices, device=self.positions.device)
        if isinstance(self.cache, Branches):
            self.cache.select(chosen)
            return _State(self.cache, self.logits[chosen], self.mask, self.positions[chosen])
        self.cache.batch_select_indices(chosen)
        return _State(self.cache, self.logits[chosen], self.mask[chosen], self.positions[chosen])


def otherwise(probabilities: list[float], continuations: list[list[int]]) -> tuple[float, ...]:
    """The probabilities, each less that of the next longer continuations which begin with the same tokens."""
    left = list(probabilities)
    for short, tokens in enumerate(continuations):
        longer = [
            other for other in continuations if len(other) > len(tokens) and other[: len(tokens)] == tokens
        ]
        nearest = [
            other
            for other in longer
            if not any(len(one) < len(other) and other[: len(one)] == one for one in longer)
        ]
        left[short] -= sum(probabilities[continuations.index(other)] for other in nearest)
    return tuple(max(value, 0.0) for value in left)
