"""The map of prompts (the paper's figure of IFT, EFT and generated prompts): which lie near each other.

A prompt is the mean of its tokens' input embeddings in M1, rare tokens weighing more (SIF, Arora et al.
2017), so no forward pass is needed and a model of any size is read in seconds; t-SNE lays them out.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from srlm.chat_format import load_tokenizer

MOST = 300
"""Prompts of each source; of more, so many are taken, evenly spread over all."""
FEW = 5
SMOOTHING = 1e-3
NAMES = ("embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight")

Plane = dict[str, list[tuple[float, float]]]


def prompt_map(model: Path, sources: Mapping[str, Sequence[str]], *, trust: bool = False) -> Plane:
    """Places in a plane of the prompts of each source; empty where they are too few or cannot be embedded.

    `trust`: code that comes with the model's tokenizer may run. Raises ModelError where there is no model.
    """
    chosen = {name: texts[:: max(1, -(-len(texts) // MOST))] for name, texts in sources.items() if texts}
    flat = [text for texts in chosen.values() for text in texts]
    vectors = _embedded(model, flat, trust) if len(flat) >= FEW else None
    if vectors is None:
        return {}
    from sklearn.manifold import TSNE  # a second to load

    perplexity = min(30.0, (len(flat) - 1) / 3)
    places = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(vectors)
    found, start = {}, 0
    for name, texts in chosen.items():
        found[name] = [(float(x), float(y)) for x, y in places[start : start + len(texts)]]
        start += len(texts)
    return found


def _embedded(model: Path, texts: Sequence[str], trust: bool) -> npt.NDArray[np.float32] | None:
    """[texts, width], each of length 1; None where the model's embedding matrix is not found."""
    tokenizer = load_tokenizer(model, trust_remote_code=trust)
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] or [0] for text in texts]
    counts = Counter(token for text in ids for token in text)
    rows = _rows(model, sorted(counts))
    if rows is None:
        return None
    total = sum(counts.values())
    means = []
    for text in ids:
        weights = [SMOOTHING / (SMOOTHING + counts[token] / total) for token in text]
        means.append(np.average([rows[token] for token in text], axis=0, weights=weights))
    vectors = np.array(means, dtype=np.float32)
    vectors -= vectors.mean(axis=0)
    scaled: npt.NDArray[np.float32] = vectors / np.maximum(
        np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9
    )
    return scaled


def _rows(model: Path, tokens: Sequence[int]) -> dict[int, Any] | None:
    """The rows of the input embedding matrix of some tokens, read from the model's safetensors alone."""
    from safetensors import safe_open

    for path in sorted(model.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            name = next((key for key in file.keys() if key.endswith(NAMES)), None)  # noqa: SIM118  no dict
            if name:
                matrix = file.get_slice(name)
                return {token: matrix[token : token + 1][0].float().numpy() for token in tokens}
    return None
