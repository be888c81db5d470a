"""What a sweep does: every recipe with every combination of the values that words list, each with a label."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from srlm.config import RESOURCES, Config, flatten
from srlm.errors import ConfigError
from srlm.recipes import load

LONGEST = 120
"""Characters of a folder's name."""
MAY_CHANGE = ("seed", "report_to", "launcher", "engine")
"""What is no part of a sweep's settings; of an engine only who answers is."""
WHO = ("kind", "model", "base_url")


@dataclass(frozen=True)
class Setting:
    """One combination: its folder's name, the swept values as they were given, and the config with them."""

    label: str
    values: Mapping[str, str]
    config: Config
    origins: Mapping[str, str]

    def saved(self) -> dict[str, Any]:
        """As plain JSON."""
        config = self.config.model_dump(mode="json")
        return {"label": self.label, "values": self.values, "config": config, "origins": self.origins}


def settings_of(recipe: str, words: Sequence[str]) -> tuple[Setting, ...]:
    """Every recipe with every combination of the values that words list.

    ``smollm2,mine.yaml`` are two recipes, ``dpo.beta=0.1,0.3`` two values. Raises ConfigError where a config
    is not valid, two are the same, or a word sets the seed.
    """
    if any(word.partition("=")[0] == "seed" for word in words):
        raise ConfigError(
            "seed=... in a sweep",
            "a sweep does every setting on the same seeds, 0, 1, 2 ...",
            "leave it out and say how many with --seeds",
        )
    recipes = choices(recipe)
    settings = [
        _setting(one, len(recipes) > 1, combination)
        for one in recipes
        for combination in product(*(_readings(word) for word in words))
    ]
    _check_apart(settings)
    return tuple(settings)


def choices(text: str) -> list[str]:
    """The parts of a value between its commas, but for those inside brackets or quotes.

    >>> choices("0.1,[a,b],'x,y'")
    ['0.1', '[a,b]', "'x,y'"]
    """
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and (depth or not parts[-1].strip()):
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "," and not depth:
            parts.append("")
            continue
        parts[-1] += char
    return list(dict.fromkeys(parts))


def changes(before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]) -> list[str]:
    """What is set otherwise, in words: in settings of one name, or, where none is, in what all have alike.

    Both are settings as `saved`; what is swept, and recipes of other names, may differ.
    """
    then = {one["label"]: one for one in before}
    same = [(then[one["label"]], one) for one in now if one["label"] in then]
    if same:
        found = [change for two in same for change in _changes(*map(_fixed, two))]
        return list(dict.fromkeys(found))
    return _changes(_alike(before), _alike(now))


def _alike(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all settings have alike, by key, and which keys are swept."""
    first, *others = map(_fixed, settings)
    return {key: value for key, value in first.items() if all(one.get(key) == value for one in others)}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}: {before[key]!r} then, {now[key]!r} now"
        for key in sorted({*before} & {*now})
        if before[key] != now[key]
    ]


def _fixed(setting: Mapping[str, Any]) -> dict[str, Any]:
    """What is not swept in a setting, by key."""
    config, swept = setting["config"], setting["values"]
    engine = config["engine"].get("engine") or config["engine"]  # over a cluster it is the one inside
    values = flatten({key: value for key, value in config.items() if key not in MAY_CHANGE})
    values |= {f"engine.{key}": engine.get(key) for key in WHO}
    kinds = [key.removesuffix("kind") for key in swept if key.endswith(".kind")]  # another kind, other keys
    mine = (*(f"{key}." for key in swept), *kinds)
    kept = {
        key: value
        for key, value in values.items()
        if key not in swept and not key.startswith(mine) and key.rpartition(".")[2] not in RESOURCES
    }
    return kept | {"what is swept": sorted(swept)}


def _readings(word: str) -> list[tuple[str, str, bool]]:
    """A word as ``key=``, one of its values, and whether it has several; raises ConfigError.

    What is no ``key=value`` stays as it is: the recipe's reader says what is wrong with it.
    """
    key, equals, text = word.partition("=")
    found = choices(text) if equals else [""]
    if len(found) > 1 and not all(one.strip() for one in found):
        raise ConfigError(
            f"{word!r}",
            "a value between its commas is empty",
            f"leave the comma out, or write null for no value, as in {key}=null,...",
        )
    return [(f"{key}{equals}", one.strip(), len(found) > 1) for one in found]


def _setting(recipe: str, named: bool, combination: Sequence[tuple[str, str, bool]]) -> Setting:
    """A recipe with some values; its label says the recipe where it is `named`, or there is nothing else."""
    loaded = load(recipe, [f"{key}{value}" for key, value, _ in combination])
    values = {key.removesuffix("="): value for key, value, swept in combination if swept}
    parts = [f"{key}={value}" for key, value in values.items()]
    if named or not parts:
        parts.insert(0, Path(recipe).stem)
    return Setting(_file_name(",".join(parts)), values, loaded.config, loaded.origins)


def _check_apart(settings: Sequence[Setting]) -> None:
    """Raise ConfigError where two settings have one name, or are the same values."""
    alike: dict[str, str] = {}
    labels: set[str] = set()
    for one in settings:
        before = alike.setdefault(one.config.model_dump_json(), one.label)
        if before != one.label:
            raise ConfigError(
                f"{before} and {one.label}",
                "they are the same values in other words, and one run would count as two",
                "leave one of them out",
            )
        if one.label in labels:
            raise ConfigError(
                f"two settings called {one.label}",
                "they would be done in one folder",
                "rename one of the recipe files, or leave one of them out",
            )
        labels.add(one.label)


def _file_name(text: str) -> str:
    """A text as the name of a folder on any system; where letters are lost, with a digest that parts it."""
    safe = re.sub(r"[^\w.=,+-]", "_", text)[:LONGEST]
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"
