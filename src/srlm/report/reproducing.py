"""The line that makes a run of the same config again."""

import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

from srlm.config import flatten
from srlm.recipes import load, parse_values, recipe_names


def command(config: Mapping[str, Any]) -> str:
    """`srlm run RECIPE key=value ...` of a flat config: the built-in recipe that is nearest, and the rest.

    A user's own recipe need not be there where the line is read. Empty where the config is.
    """
    if not config:
        return ""
    recipes = {name: flatten(load(name).config.model_dump(mode="json")) for name in recipe_names()}
    others = {
        name: [key for key, value in config.items() if key not in base or base[key] != value]
        for name, base in recipes.items()
    }
    nearest = min(recipes, key=lambda name: len(others[name]))
    # A section's kind comes first, for its other keys follow from it.
    keys = sorted(others[nearest], key=lambda key: not key.endswith(".kind"))
    return shlex.join(["srlm", "run", nearest, *(_override(key, config[key]) for key in keys)])


def _override(key: str, value: Any) -> str:
    """`key=value` as YAML: as it is where that reads as the same text, else as JSON."""
    plain, quoted = f"{key}={value}", f"{key}={json.dumps(value, ensure_ascii=False)}"
    is_word = isinstance(value, str) and re.fullmatch(r"[\w./-]+", value)
    return plain if is_word and parse_values([plain]) == parse_values([quoted]) else quoted
