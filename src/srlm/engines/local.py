"""Any causal language model that transformers loads, in this process, on CPU or CUDA.

Requests are sorted by length and batched by tokens. What all prompts of a batch begin with, such as a
rubric, is read once; the prompt of a request is read once and its cache repeated for the n samples.
Randomness comes from a row of uniform numbers per draw (`seed_for(seed, draw)`), so a draw depends
neither on its batch nor on a shared generator. The nucleus is found among the 64 likeliest tokens, and
by a full sort only for rows where they do not reach top-p, so the distribution is exact.
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

from srlm.chat_format import chat_text, load_tokenizer
from srlm.config import LocalEngineSection
from srlm.engines.attention import decode_grouped
from srlm.engines.base import Reply, Request, empty_conversation
from srlm.errors import EngineError, PromptTooLong
from srlm.memory import give_back_memory
from srlm.models import Model, device_of, load_weights
from srlm.records import Finish, seed_for

NUCLEUS = 64
SHARED_AT_LEAST = 32


class LocalEngine:
    """Generates with a model of a folder; loads it at the first request."""

    def __init__(self, section: LocalEngineSection, model: Model) -> None:
        self._section, self._source = section, model
        self._model: Any = None
        self._tokenizer: Any = None
        self.digest = hashlib.sha256(f"{section.model_dump_json()} {model.digest}".encode()).hexdigest()

    def generate(self, requests: Sequence[Request]) -> Iterator[Reply]:
        self._load()
        encoded = [(request, self._encode(request)) for request in requests]
        self._refuse_too_long(encoded)
        encoded.sort(key=lambda item: (len(item[1]), item[0].id))
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
        ends = self._model.generation_config.eos_token_id
        ends = ends if isinstance(ends, list) else [ends]
        self._ends = {end for end in [*ends, self._tokenizer.eos_token_id] if end is not None}

    def _encode(self, request: Request) -> list[int]:
        if not any(message.content.strip() for message in request.conversation):
            raise empty_conversation(request)
        text = chat_text(self._tokenizer, request.conversation) + request.prefix
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids

    def _refuse_too_long(self, encoded: list[tuple[Request, list[int]]]) -> None:
        context = getattr(self._model.config.get_text_config(), "max_position_embeddings", None)
        fits = [not context or len(ids) + request.max_tokens <= context for request, ids in encoded]
        if not all(fits):
            request, ids = encoded[fits.index(False)]
            raise PromptTooLong(
                f"request {request.id}: a prompt of {len(ids)} tokens and {request.max_tokens} new ones "
                f"({request.conversation[-1].content[:60]!r}...)",
                f"the model's context holds {context} tokens",
                "shorten the prompt, lower max_tokens of the section, or take a model with a longer context",
                tuple(item.id for (item, _), fit in zip(encoded, fits, strict=True) if not fit),
            )

    def _batches(self, encoded: list[tuple[Request, list[int]]]) -> Iterator[list[tuple[Request, list[int]]]]:
        batch: list[tuple[Request, list[int]]] = []
        for item in encoded:
            rows = sum(request.n for request, _ in [*batch, item])
            length = len(item[1]) + max(request.max_tokens for request, _ in [*batch, item])
            if batch and rows * length > self._section.batch_tokens:
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

    @torch.inference_mode()
    def _run(self, batch: list[tuple[Request, list[int]]]) -> Iterator[Reply]:
        cache, logits, mask, positions = self._prefill([ids for _, ids in batch])
        rows: list[_Row] = []
        origins: list[int] = []
        for index, (request, ids) in enumerate(batch):
            probabilities = self._next_probabilities(request, logits[index])
            rows += [_Row(request, draw, len(ids), probabilities) for draw in range(request.n)]
            origins += [index] * request.n
        yield from self._decode(rows, _State(cache, logits, mask, positions).select(origins))

    def _prefill(self, prompts: list[list[int]]) -> tuple[Any, Tensor, Tensor, Tensor]:
        """Cache, last logits [rows, vocabulary], mask [rows, length], next positions [rows, 1]."""
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
        return cache, output.logits[:, -1].float(), mask, positions[:, -1:] + 1

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
        while True:
            uniforms = [row.uniforms[len(row.tokens)] for row in rows]
            tokens = sample(state.logits, rows, uniforms)
            finished = [self._take(row, token) for row, token in zip(rows, tokens, strict=True)]
            for row, finish in zip(rows, finished, strict=True):
                if finish:
                    yield self._reply(row, finish)
            going = [index for index, finish in enumerate(finished) if not finish]
            if not going:
                return
            if len(going) < len(rows):
                state = state.select(going)
                rows = [rows[index] for index in going]
            state = self._step(state, [row.tokens[-1] for row in rows])

    def _step(self, state: "_State", tokens: list[int]) -> "_State":
        ids = torch.tensor(tokens, device=state.mask.device)[:, None]
        mask = torch.cat([state.mask, state.mask.new_ones(len(tokens), 1)], dim=1)
        output = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=state.positions,
            past_key_values=state.cache,
            use_cache=True,
        )
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

    def _next_probabilities(self, request: Request, logits: Tensor) -> tuple[float, ...]:
        if not request.next_tokens:
            return ()
        firsts = [
            self._tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in request.next_tokens
        ]
        return tuple(logits.softmax(-1)[firsts].tolist())


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
class _State:
    """What the model has seen of every row: cache, logits [rows, vocabulary], mask, positions."""

    cache: Any
    logits: Tensor
    mask: Tensor
    positions: Tensor

    def select(self, indices: list[int]) -> "_State":
        """The given rows, in that order, repeats allowed."""
        chosen = torch.tensor(indices, device=self.mask.device)
        self.cache.batch_select_indices(chosen)
        return _State(self.cache, self.logits[chosen], self.mask[chosen], self.positions[chosen])


def sample(logits: Tensor, rows: Sequence[_Row], uniforms: Sequence[float]) -> list[int]:
    """One token a row from logits [rows, vocabulary], by temperature, top-p and a uniform number each."""
    temperature = torch.tensor([max(row.request.temperature, 1e-6) for row in rows], device=logits.device)
    top_p = torch.tensor([row.request.top_p for row in rows], device=logits.device)
    scaled = logits / temperature[:, None]
    total = scaled.logsumexp(-1, keepdim=True)
    if not total.isfinite().all():
        raise EngineError(
            "the model that generates",
            "its logits are not numbers, so its weights are broken",
            "look at the log.jsonl of the training that made it, lower its learning_rate and use --redo",
        )
    values, tokens = scaled.topk(min(NUCLEUS, logits.shape[-1]), dim=-1)
    chosen, reached = _invert((values - total).exp(), tokens, top_p, uniforms)
    for index in (~reached).nonzero()[:, 0].tolist():
        values, tokens = scaled[index : index + 1].sort(descending=True, dim=-1)
        one, _ = _invert(
            (values - total[index]).exp(), tokens, top_p[index : index + 1], uniforms[index : index + 1]
        )
        chosen[index] = one[0]
    greedy = torch.tensor([row.request.temperature == 0 for row in rows], device=logits.device)
    return torch.where(greedy, logits.argmax(-1), chosen).tolist()


def _invert(
    probabilities: Tensor, tokens: Tensor, top_p: Tensor, uniforms: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Tokens by inverse CDF over the nucleus of sorted [rows, k]; and where k reached top-p."""
    before = probabilities.cumsum(-1) - probabilities
    inside = torch.where(before < top_p[:, None], probabilities, 0.0)
    cumulative = inside.double().cumsum(-1)
    aim = torch.tensor(uniforms, dtype=torch.float64, device=tokens.device) * cumulative[:, -1]
    last = (inside > 0).sum(-1) - 1
    place = torch.searchsorted(cumulative, aim[:, None], right=True)[:, 0].clamp(max=last)
    return tokens.gather(1, place[:, None])[:, 0], (before + probabilities)[:, -1] >= top_p
