"""Which texts repeat each other: ROUGE-L F over words, against a pool of any size.

ROUGE-L F over words equals RapidFuzz's normalised Indel similarity (2·LCS / (m + n)). Words are
mapped to single characters, so that its C++ compares plain strings. Most comparisons never happen:
two texts that are near must share one of their rarest words (prefix filtering, Chaudhuri et al. 2006).
"""

import math
import re
from collections.abc import Iterable, Sequence

from rapidfuzz import process
from rapidfuzz.distance import Indel

_WORD = re.compile(r"\w+")
_SURROGATES, _FIRST, _LAST = range(0xD800, 0xE000), 0x100, 0x10FFFF


class Pool:
    """All prompts so far, to compare new ones with; memory grows linearly with their words."""

    def __init__(self, max_rouge: float, texts: Iterable[str] = ()) -> None:
        self._max_rouge = min(max_rouge, 1 - 1e-6)  # the same words twice are never two prompts
        self._characters: dict[str, str] = {}
        self._texts: list[str] = []
        self._with_rare_word: dict[str, list[int]] = {}
        for text in texts:
            self._add(self.encode(text))

    def keep_new(self, texts: Sequence[str]) -> list[bool]:
        """For each text, in order, whether its ROUGE-L F to every earlier one is at most `max_rouge`.

        Kept texts join the pool at once, so later ones are compared with them too.
        """
        return [self._keep(self.encode(text)) for text in texts]

    def _keep(self, text: str) -> bool:
        places = {place for word in self._rarest(text) for place in self._with_rare_word.get(word, ())}
        if self._is_near(text, [self._texts[place] for place in places]):
            return False
        self._add(text)
        return True

    def _is_near(self, text: str, others: list[str]) -> bool:
        """RapidFuzz skips what stays below its cutoff, set a little low; the limit is compared here."""
        cutoff = max(self._max_rouge - 1e-6, 0.0)
        best = process.extractOne(text, others, scorer=Indel.normalized_similarity, score_cutoff=cutoff)
        return best is not None and best[1] > self._max_rouge + 1e-9

    def _add(self, text: str) -> None:
        for word in self._rarest(text):
            self._with_rare_word.setdefault(word, []).append(len(self._texts))
        self._texts.append(text)

    def _rarest(self, text: str) -> set[str]:
        """The words of which a near text must have at least one among its own.

        F = 2·LCS / (m + n) > t needs more than t·m / (2 - t) words in common, so without that many of
        the m words one of the rest must be common. Any fixed order of words will do; the one seen last
        counts as the rarest, for it has the highest character.
        """
        common = max(1, math.ceil(self._max_rouge * len(text) / (2 - self._max_rouge) - 1e-9))
        return set(sorted(text, reverse=True)[: len(text) - common + 1])

    def encode(self, text: str) -> str:
        return "".join(self._character(word) for word in _WORD.findall(text.lower()))

    def _character(self, word: str) -> str:
        known = self._characters.get(word)
        if known is None:
            code = _FIRST + len(self._characters) % (_LAST - _FIRST - len(_SURROGATES))
            code += len(_SURROGATES) if code >= _SURROGATES.start else 0
            known = self._characters[word] = chr(code)
        return known


def closest(texts: Sequence[str], others: Sequence[str]) -> list[float | None]:
    """For each text the highest ROUGE-L F with any of the others; None where there are none.

    All of them are compared, in C++: texts times others, some millions a second.
    """
    if not others:
        return [None] * len(texts)
    pool = Pool(1)
    encoded = [pool.encode(text) for text in others]
    return [
        best[1]
        for text in texts
        if (best := process.extractOne(pool.encode(text), encoded, scorer=Indel.normalized_similarity))
    ]
