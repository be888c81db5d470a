"""Which new prompts are kept: the Self-Instruct filters (Wang et al. 2023, section 2.2)."""

import re

from srlm.config import PromptsSection

_ABOUT_OTHER_MEDIA = re.compile(r"\b(images?|graphs?|pictures?|files?|maps?|draw|plot|go to)\b", re.I)


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
