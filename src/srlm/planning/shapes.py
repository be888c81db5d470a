"""The shape of a model: from its folder, from its published name, or from its number of weights alone."""

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path

from srlm.config import LoraSection
from srlm.errors import ModelError
from srlm.models import model_folder, num_parameters


@dataclass(frozen=True)
class ModelShape:
    """What sizes follow from. `parameters`: weights in all; `origin`: where the shape comes from.

    `tied`: the head is the embeddings' table.
    """

    parameters: int
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    origin: str
    tied: bool = False

    @property
    def root(self) -> int:
        """Weights outside of the blocks: embeddings, last norm and head."""
        tables = 1 if self.tied else 2
        return min(self.parameters, tables * self.vocabulary * self.hidden + self.hidden)

    @property
    def cached(self) -> int:
        """Numbers that one token leaves in the cache: a key and a value of every layer and key head."""
        return 2 * self.layers * self.kv_heads * self.head_dim

    def adapters(self, lora: LoraSection) -> int:
        """Weights of adapters on every linear layer of the blocks: rank times what goes in and out of it."""
        queries, keys = self.heads * self.head_dim, self.kv_heads * self.head_dim
        attention = 2 * (self.hidden + queries) + 2 * (self.hidden + keys)
        return self.layers * lora.rank * (attention + 3 * (self.hidden + self.intermediate))


def _llama(origin: str, *sizes: int, tied: bool = False) -> ModelShape:
    """A model of Llama's kind, of layers, hidden, heads, key heads, intermediate and vocabulary."""
    layers, hidden, heads, kv_heads, intermediate, vocabulary = sizes
    width = hidden // heads
    block = 2 * hidden * heads * width + 2 * hidden * kv_heads * width + 3 * hidden * intermediate
    weights = layers * (block + 2 * hidden) + hidden + (1 if tied else 2) * vocabulary * hidden
    return ModelShape(weights, layers, hidden, heads, kv_heads, width, intermediate, vocabulary, origin, tied)


KNOWN = {
    "smollm2-135m": _llama("smollm2-135m", 30, 576, 9, 3, 1536, 49152, tied=True),
    "smollm2-1.7b": _llama("smollm2-1.7b", 24, 2048, 32, 32, 8192, 49152, tied=True),
    "llama-2-7b": _llama("llama-2-7b", 32, 4096, 32, 32, 11008, 32000),
    "llama-2-13b": _llama("llama-2-13b", 40, 5120, 40, 40, 13824, 32000),
    "llama-2-70b": _llama("llama-2-70b", 80, 8192, 64, 8, 28672, 32000),
    "llama-3-8b": _llama("llama-3-8b", 32, 4096, 32, 8, 14336, 128256),
    "llama-3-70b": _llama("llama-3-70b", 80, 8192, 64, 8, 28672, 128256),
    "llama-3-405b": _llama("llama-3-405b", 126, 16384, 128, 8, 53248, 128256),
    "mistral-7b": _llama("mistral-7b", 32, 4096, 32, 8, 14336, 32768),
}
"""Shapes of published models, as their config.json gives them."""

_NEAR = 1.1
"""A size within this factor of a known model's takes that model's shape."""


def shape_of_folder(folder: Path) -> ModelShape:
    """The shape in a folder's config.json, and the weights in the headers of its safetensors."""
    text = json.loads((folder / "config.json").read_text("utf-8"))
    text = text.get("text_config", text)
    heads = text["num_attention_heads"]
    return ModelShape(
        num_parameters(folder),
        text["num_hidden_layers"],
        text["hidden_size"],
        heads,
        text.get("num_key_value_heads") or heads,
        text.get("head_dim") or text["hidden_size"] // heads,
        text.get("intermediate_size") or 4 * text["hidden_size"],
        text["vocab_size"],
        str(folder),
        bool(text.get("tie_word_embeddings")),
    )


def shape_of(reference: str, parameters: int | None = None) -> ModelShape:
    """The shape of a model that need not be here: by its size if given, else its folder, else its name.

    Nothing is fetched. Raises ModelError.
    """
    if parameters is not None:
        return shape_of_size(parameters)
    folder = model_folder(reference)
    if (folder / "config.json").is_file() and list(folder.glob("*.safetensors")):
        return shape_of_folder(folder)
    name = re.sub(r"llama-3\.\d", "llama-3", reference.lower())
    for known, shape in KNOWN.items():
        if re.search(rf"(^|[^a-z0-9]|meta-){re.escape(known)}([^a-z0-9.]|$)", name):
            return shape
    raise ModelError(
        f"model {reference!r}",
        "it is no folder here, and its name is none whose shape is known",
        f"give its size, as in --parameters 70e9, its folder, or one of {', '.join(KNOWN)}",
    )


def shape_of_size(parameters: int) -> ModelShape:
    """A known model's shape if one has about this size, else one of Llama's proportions."""
    near = min(KNOWN.values(), key=lambda known: abs(math.log(known.parameters / parameters)))
    if 1 / _NEAR < near.parameters / parameters < _NEAR:
        return replace(near, parameters=parameters)
    # Hidden size about 110 times the layers, and 13 hidden² weights a layer, as in Llama's larger models.
    hidden = max(128, 128 * round((110 * parameters / 13) ** (1 / 3) / 128))
    layers = max(1, round(parameters / (13 * hidden**2)))
    heads = hidden // 128
    return ModelShape(
        parameters, layers, hidden, heads, min(8, heads), 128, 7 * hidden // 2, 128256, "by its size"
    )


def parse_size(text: str) -> int:
    """A number of weights: 70e9, 70B, 135M; raises ModelError."""
    found = re.fullmatch(r"(\d+(?:\.\d*)?(?:e\d{1,2})?)\s*([mbt]?)", text.strip().lower())
    size = float(found[1]) * {"": 1, "m": 1e6, "b": 1e9, "t": 1e12}[found[2]] if found else 0
    if not 1e6 <= size <= 1e14:
        raise ModelError(
            f"--parameters {text}",
            "it is no number of weights between a million and a hundred trillion",
            "write for example 70e9, 70B or 135M",
        )
    return round(size)
