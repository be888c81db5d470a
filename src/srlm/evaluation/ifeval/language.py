"""The language of a text, found by `langdetect` as in the reference, with fixed draws and a fixed order."""

from functools import cache
from pathlib import Path

from langdetect import PROFILES_DIRECTORY, DetectorFactory, LangDetectException

from srlm.errors import DataError


def language_of(text: str) -> str | None:
    """The ISO 639-1 code of a text's language ("en", "zh-cn"); None where it has no letters to go by.

    `langdetect` draws at random which parts of a text it looks at, and the reference leaves that to chance;
    here the draws of a text are always the same, whatever was asked before.
    """
    detector = _factory().create()
    detector.append(text)
    try:
        return str(detector.detect())
    except LangDetectException:
        return None


def require_known(language: str) -> None:
    """Nothing for a code that `language_of` can return; else DataError with the codes that there are."""
    known = _factory().get_lang_list()
    if language not in known:
        raise DataError(
            f"language {language!r}",
            "no text is ever found to be in it, so every answer would fail",
            f"use one of {' '.join(known)}",
        )


@cache
def _factory() -> DetectorFactory:
    """The profiles of all languages, read once, in the order of their names."""
    factory = DetectorFactory()
    profiles = sorted(path for path in Path(PROFILES_DIRECTORY).iterdir() if path.name[0] != ".")
    factory.load_json_profile([path.read_text("utf-8") for path in profiles])
    factory.set_seed(0)
    return factory
