"""KL(model || reference) along given responses, token by token, over the whole vocabulary."""

import gc
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from srlm.chat_format import chat_text, load_tokenizer, without_controls
from srlm.config import LocalEngineSection
from srlm.devices import device_of, dtype_of
from srlm.errors import ModelError
from srlm.memory import give_back_memory
from srlm.models import Model, load_model
from srlm.records import Response, ask, content_id

CHUNK = 256


class ModelCouple:
    """Two models of one vocabulary, loaded together at the first use; `close` gives the memory back."""

    def __init__(self, section: LocalEngineSection, model: Model, reference: Model) -> None:
        self._section, self._sources = section, (model, reference)
        self._models: list[Any] = []
        self._tokenizer: Any = None
        self.digest = content_id("couple", section.model_dump(mode="json"), model.digest, reference.digest)

    @torch.inference_mode()
    def nats(self, responses: Sequence[Response]) -> list[tuple[float, int]]:
        """KL summed over each response's tokens, its end included, and how many these are.

        Raises ModelError when the two models do not share their tokens.
        """
        if not self._models:
            self._load()
        return [self._one(response) for response in responses]

    def close(self) -> None:
        self._models, self._tokenizer = [], None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        give_back_memory()

    def _load(self) -> None:
        tokenizers = [
            load_tokenizer(one.path, trust_remote_code=one.trust_remote_code) for one in self._sources
        ]
        if tokenizers[0].get_vocab() != tokenizers[1].get_vocab():
            names = " and ".join(one.name for one in self._sources)
            raise ModelError(
                f"KL between {names}",
                "their vocabularies differ, so their probabilities cannot be compared token by token",
                "leave the reference out of `references`",
            )
        device = device_of(self._section.device)
        dtype = dtype_of(self._section.dtype, device)
        self._tokenizer = tokenizers[0]
        self._models = [load_model(one, dtype).to(device).eval() for one in self._sources]

    def _one(self, response: Response) -> tuple[float, int]:
        prompt = self._tokens(chat_text(self._tokenizer, ask(response.prompt)))
        said = self._tokens(without_controls(self._tokenizer, response.text))
        if response.finish == "stop":
            said.append(self._tokenizer.eos_token_id)
        ids = torch.tensor([prompt + said], device=self._models[0].device)
        # The last position predicts what would follow the response.
        kept = [model(input_ids=ids, logits_to_keep=len(said) + 1).logits[0, :-1] for model in self._models]
        known = min(logits.shape[-1] for logits in kept)  # heads may be padded beyond the vocabulary
        return kl_sum(*(logits[:, :known] for logits in kept)), len(said)

    def _tokens(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def kl_sum(logits: Tensor, reference: Tensor, chunk: int = CHUNK) -> float:
    """Σ over positions of KL(softmax(logits) || softmax(reference)), nats; both [positions, vocabulary]."""
    total = 0.0
    for ours, theirs in zip(torch.split(logits, chunk), torch.split(reference, chunk), strict=True):
        log_ours, log_theirs = ours.float().log_softmax(-1), theirs.float().log_softmax(-1)
        nats = torch.where(log_ours.isneginf(), 0.0, log_ours.exp() * (log_ours - log_theirs))
        total += float(nats.sum(dtype=torch.float64))
    return total
