"""Programs that know how good a response is: the truth, where there is one, by its MODULE:FUNCTION."""

import pkgutil
from collections.abc import Callable

from srlm.errors import ConfigError

Checker = Callable[[str, str], float]
"""From a prompt and a response to points; more are better."""


def load_checker(reference: str) -> Checker:
    """The function that MODULE:FUNCTION names, as in mypackage.checks:points; raises ConfigError."""
    try:
        found = pkgutil.resolve_name(reference)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"checker {reference}",
            f"there is no such function here ({error})",
            "name one that Python can import, as in mypackage.checks:points; it gets prompt and response",
        ) from error
    return found  # type: ignore[no-any-return]
