"""How likely given responses are to some models: the implicit rewards of DPO are made of it."""

import gc
from collections.abc import Sequence
from typing import Any

import torch

from srlm.chat_format import chat_text, load_tokenizer, without_controls
from srlm.config import LocalEngineSection
from srlm.devices import device_of, dtype_of
from srlm.memory import give_back_memory
from srlm.models import Model, load_model
from srlm.records import Response, ask, content_id

TOKENS = 2048
"""Of all rows in one pass, with their padding, at most; a longer response is read alone."""


class Witnesses:
    """Models of one family, asked one after another; each is loaded for a block and gone after it."""

    def __init__(self, section: LocalEngineSection, models: Sequence[Model]) -> None:
        self._section, self._models = section, list(models)
        self.digest = content_id(
            "witnesses", section.model_dump(mode="json"), [one.digest for one in self._models]
        )

    @torch.inference_mode()
    def logprobs(self, responses: Sequence[Response]) -> list[tuple[tuple[float, ...], int]]:
        """Of every response its log-probability by each model, in nats, its end included, and its tokens.

        Each model reads it in its own tokens; the number is that of the first.
        """
        columns: list[list[float]] = []
        lengths: list[int] = []
        for one in self._models:
            found = self._by(one, responses)
            columns.append([nats for nats, _ in found])
            lengths = lengths or [number for _, number in found]
        return list(zip(zip(*columns, strict=True), lengths, strict=True))

    def _by(self, one: Model, responses: Sequence[Response]) -> list[tuple[float, int]]:
        device = device_of(self._section.device)
        tokenizer = load_tokenizer(one.path, trust_remote_code=one.trust_remote_code)
        model = load_model(one, dtype_of(self._section.dtype, device)).to(device).eval()
        rows = [_encoded(tokenizer, response) for response in responses]
        order = sorted(range(len(rows)), key=lambda place: sum(map(len, rows[place])))
        found: dict[int, tuple[float, int]] = {}
        for places in _in_passes(order, rows):
            for place, nats in zip(places, _nats(model, [rows[place] for place in places]), strict=True):
                found[place] = nats, len(rows[place][1])
        del model
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        give_back_memory()
        return [found[place] for place in range(len(rows))]


def _in_passes(order: Sequence[int], rows: Sequence[tuple[list[int], list[int]]]) -> list[list[int]]:
    """Places of rows, shorter ones first, that are read in one pass."""
    passes: list[list[int]] = []
    for place in order:
        longest = sum(map(len, rows[place]))
        if passes and (len(passes[-1]) + 1) * longest <= TOKENS:
            passes[-1].append(place)
        else:
            passes.append([place])
    return passes


def _encoded(tokenizer: Any, response: Response) -> tuple[list[int], list[int]]:
    """Tokens of a prompt and of the response to it."""
    prompt = chat_text(tokenizer, ask(response.prompt))
    before, said = (
        tokenizer(text, add_special_tokens=False)["input_ids"]
        for text in (prompt, without_controls(tokenizer, response.text))
    )
    return before, said + ([tokenizer.eos_token_id] if response.finish == "stop" else [])


def _nats(model: Any, rows: Sequence[tuple[list[int], list[int]]]) -> list[float]:
    """Log-probability of each row's response; padding stands behind, where nothing looks at it."""
    longest = max(len(before) + len(said) for before, said in rows)
    ids = torch.zeros(len(rows), longest, dtype=torch.long, device=model.device)
    for place, (before, said) in enumerate(rows):
        ids[place, : len(before) + len(said)] = torch.tensor(before + said)
    mask = torch.arange(longest, device=model.device) < torch.tensor(
        [[len(before) + len(said)] for before, said in rows], device=model.device
    )
    most = max(len(said) + longest - len(before) - len(said) for before, said in rows) + 1
    logits = model(input_ids=ids, attention_mask=mask.long(), logits_to_keep=most).logits
    shift = longest - logits.shape[1]
    found = []
    for place, (before, said) in enumerate(rows):
        there = slice(len(before) - 1 - shift, len(before) + len(said) - 1 - shift)
        targets = ids[place, len(before) : len(before) + len(said)]
        logprobs = logits[place, there].float().log_softmax(-1).gather(1, targets[:, None])
        found.append(float(logprobs.sum(dtype=torch.float64)))
    return found
