"""Programs that know how good a response is: the truth, where there is one, by its MODULE:FUNCTION."""

import hashlib
import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from srlm.errors import ConfigError, DataError

SHOWN = 200
"""Characters of a prompt in an error."""


@dataclass(frozen=True)
class Checker:
    """A function from a prompt and a response to points, more are better; `digest` changes with its file."""

    reference: str
    points: Callable[[str, str], float]
    digest: str

    def __call__(self, prompt: str, response: str) -> float:
        """The points of a response; raises DataError where the program cannot say."""
        try:
            return float(self.points(prompt, response))
        except Exception as error:  # a program of somebody else's
            raise DataError(
                f"checker {self.reference}",
                f"of an answer to {prompt[:SHOWN]!r} it said {type(error).__name__}: {error}",
                "mend the program, or take prompts that it knows (prompts.given=FILE)",
            ) from error


def load_checker(reference: str) -> Checker:
    """The function that MODULE:FUNCTION names, as in mypackage.checks:points; raises ConfigError."""
    try:
        found = pkgutil.resolve_name(reference)
        file = importlib.import_module(reference.partition(":")[0]).__file__
    except Exception as error:  # whatever the import of somebody else's program says
        raise ConfigError(
            f"checker {reference}",
            f"there is no such function here ({type(error).__name__}: {error})",
            "name one that Python can import, as in mypackage.checks:points; it gets prompt and response",
        ) from error
    source = Path(file).read_bytes() if file else b""
    return Checker(reference, found, hashlib.sha256(reference.encode() + source).hexdigest())
