"""Which new prompts are kept: the Self-Instruct filters (Wang et al. 2023, section 2.2).

ROUGE-L F over words equals RapidFuzz's normalised Indel similarity (2·LCS / (m + n)). Words are
mapped to single characters, so that its C++ compares plain strings.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Indel

from srlm.config import PromptsSection

_WORD = re.compile(r"\w+")
_ABOUT_OTHER_MEDIA = re.compile(r"\b(images?|graphs?|pictures?|files?|maps?|draw|plot|go to)\b", re.I)
_SURROGATES, _FIRST, _LAST = range(0xD800, 0xE000), 0x100, 0x10FFFF


def fault_of(text: str, section: PromptsSection) -> str | None:
    """Why a prompt is not kept, or None: length, words about other media, how it starts."""
    words = len(text.split())
    if words < section.min_words:
        return "too short"
    if words > section.max_words:
        return "too long"
    if _ABOUT_OTHER_MEDIA.search(text):
        return "needs another medium"
    if text.startswith("Write a program"):
        return "write a program"
    if not text[0].isascii():
        return "starts with non-ASCII"
    return None if text[0].isalnum() else "starts with punctuation"


class Pool:
    """All prompts so far, to compare new ones with; memory grows linearly with their words."""

    def __init__(self, max_rouge: float, texts: Iterable[str] = ()) -> None:
        self._max_rouge = max_rouge
        self._characters: dict[str, str] = {}
        self._encoded = [self._encode(text) for text in texts]

    def keep_new(self, texts: Sequence[str], chunk: int = 64) -> list[bool]:
        """For each text, in order, whether its ROUGE-L F to every earlier one is at most `max_rouge`.

        Kept texts join the pool at once, so later ones are compared with them too.
        """
        kept: list[bool] = []
        for start in range(0, len(texts), chunk):
            kept += self._keep_chunk([self._encode(text) for text in texts[start : start + chunk]])
        return kept

    def _keep_chunk(self, encoded: list[str]) -> list[bool]:
        near_pool = self._near(encoded, self._encoded)
        near_each_other = self._near(encoded, encoded)
        kept: list[int] = []
        for index in range(len(encoded)):
            if not near_pool[index].any() and not near_each_other[index, kept].any():
                kept.append(index)
        self._encoded += [encoded[index] for index in kept]
        return [index in set(kept) for index in range(len(encoded))]

    def _near(self, texts: list[str], others: list[str]) -> np.ndarray:
        """[texts, others]: whether ROUGE-L F exceeds the limit.

        RapidFuzz skips what stays below its cutoff, which is set a little low; the limit itself is
        compared here, in float64.
        """
        if not others:
            return np.zeros((len(texts), 0), dtype=bool)
        cutoff = max(self._max_rouge - 1e-6, 0.0)
        table = process.cdist(
            texts,
            others,
            scorer=Indel.normalized_similarity,
            score_cutoff=cutoff,
            dtype=np.float64,
            workers=-1,
        )
        return np.asarray(table > self._max_rouge + 1e-9)

    def _encode(self, text: str) -> str:
        return "".join(self._character(word) for word in _WORD.findall(text.lower()))

    def _character(self, word: str) -> str:
        known = self._characters.get(word)
        if known is None:
            code = _FIRST + len(self._characters) % (_LAST - _FIRST - len(_SURROGATES))
            code += len(_SURROGATES) if code >= _SURROGATES.start else 0
            known = self._characters[word] = chr(code)
        return known
