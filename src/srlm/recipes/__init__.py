"""Recipes: YAML files beside this one or a user's own, read into a Config.

Precedence: default < recipe (which may extend one other) < override. Every mistake of a config is
reported in one message.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from srlm.config import Config, Section, flatten, section_types, sections_in
from srlm.errors import ConfigError

TAGS = {
    str(kind.model_fields[tag].default)
    for kind in section_types().values()
    for tag in ("kind", "suite")
    if tag in kind.model_fields
}
"""What pydantic puts into the place of a mistake for the kind of a section, and nobody wrote there."""


@dataclass(frozen=True)
class Loaded:
    """A config with the origin of every value: `default`, a recipe's name or `override`."""

    config: Config
    origins: dict[str, str]


def load(recipe: str, overrides: Sequence[str] = ()) -> Loaded:
    """The config of a built-in recipe or a YAML file with ``section.key=value`` overrides.

    Raises ConfigError with every mistake at once.
    """
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for name, layer in _layers(recipe):
        _merge(values, layer, origins, name)
    for override in overrides:
        _merge(values, _parse_override(override), origins, "override")
    config = _validate(values, f"recipe {recipe}")
    return Loaded(config, {key: origins.get(key, "default") for key in flatten(config.model_dump())})


def override(
    config: Config | None, overrides: Sequence[str], given: Mapping[str, Any] | None = None
) -> Config:
    """A config, the defaults if None, with values that are `given` and then ``section.key=value`` overrides.

    Raises ConfigError with every mistake at once.
    """
    values = (config or Config()).model_dump(mode="json")
    _merge(values, given or {}, {}, "given")
    for one in overrides:
        _merge(values, _parse_override(one), {}, "override")
    return _validate(values, "the command line")


def parse_values(overrides: Sequence[str]) -> dict[str, Any]:
    """``key=value`` texts as a mapping, values read as YAML; raises ConfigError."""
    values: dict[str, Any] = {}
    for one in overrides:
        _merge(values, _parse_override(one), {}, "override")
    return values


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package."""
    folder = files("srlm").joinpath("recipes")
    return sorted(
        entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")
    )


def recipe_text(recipe: str) -> str:
    """The YAML text of a built-in recipe or of a file; raises ConfigError."""
    if recipe in recipe_names():
        return files("srlm").joinpath("recipes", f"{recipe}.yaml").read_text("utf-8")
    path = Path(recipe)
    if path.suffix in {".yaml", ".yml"} and path.is_file():
        return path.read_text("utf-8")
    raise ConfigError(
        f"recipe {recipe!r}",
        f"it is neither a built-in recipe nor a YAML file{_nearest(recipe, recipe_names())}",
        f"take one of {', '.join(recipe_names())}, or the path of a .yaml file",
    )


def _layers(recipe: str) -> Iterable[tuple[str, dict[str, Any]]]:
    layer = _parse(recipe_text(recipe), recipe)
    base = layer.pop("extends", None)
    if base is not None:
        below = _parse(recipe_text(str(base)), str(base))
        if "extends" in below:
            raise ConfigError(
                f"recipe {recipe!r} extends {base!r}, which extends another",
                "one level of inheritance is allowed, so that a recipe can be read in two places at most",
                f"let {recipe!r} extend {below['extends']!r} directly and copy what it needs from {base!r}",
            )
        yield str(base), below
    yield recipe, layer


class _Loader(yaml.SafeLoader):
    """YAML in which a key stands once and 1e-6 is a number."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$"),
    list("-+0123456789."),
)


def _unique_mapping(loader: _Loader, node: yaml.MappingNode) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if key in seen:
            line = key_node.start_mark.line + 1
            raise ConfigError(
                f"key {key!r} is written twice (line {line})",
                "one of the two values would be lost silently",
                "keep the one you mean",
            )
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_Loader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


def _parse(text: str, origin: str) -> dict[str, Any]:
    try:
        values = yaml.load(text, _Loader)  # noqa: S506  a SafeLoader with stricter mappings
    except yaml.YAMLError as error:
        raise ConfigError(f"{origin} is not YAML", str(error), "mend the line it names") from error
    if not isinstance(values, dict):
        raise ConfigError(
            f"{origin} holds no sections", "a recipe is a mapping of sections", "see `srlm config smollm2`"
        )
    return values


def _parse_override(override: str) -> dict[str, Any]:
    key, equals, text = override.partition("=")
    if not equals or not key:
        raise ConfigError(
            f"override {override!r}",
            "it is not of the form section.key=value",
            "write for example judge.samples=5",
        )
    try:
        value: Any = yaml.load(text, _Loader) if text else None  # noqa: S506  as above
    except yaml.YAMLError as error:
        raise ConfigError(
            f"override {override!r}",
            f"its value is not YAML ({str(error).splitlines()[0]})",
            f"put the value in quotes of its own, as in {key}='\"text\"'",
        ) from error
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _merge(
    values: dict[str, Any], layer: Mapping[str, Any], origins: dict[str, str], name: str, prefix: str = ""
) -> None:
    if "kind" in layer and values.get("kind", "local") != layer["kind"]:
        # Another kind has other keys: what was there before this layer goes.
        for key in [key for key in values if origins.get(f"{prefix}{key}") != name]:
            del values[key]
    for key, value in layer.items():
        if isinstance(value, Mapping):
            below = values.get(key)
            values[key] = below if isinstance(below, dict) else {}
            _merge(values[key], value, origins, name, f"{prefix}{key}.")
        else:
            values[key] = value
            origins[f"{prefix}{key}"] = name


def _validate(values: dict[str, Any], origin: str) -> Config:
    engine = values.get("engine")
    while isinstance(engine, dict):  # a cluster's has another inside
        engine.setdefault("kind", "local")
        engine = engine.get("engine")
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        lines = [_explain(dict(item)) for item in error.errors()]
        raise ConfigError(
            f"{origin} has {len(lines)} mistake{'s' * (len(lines) > 1)}:\n    " + "\n    ".join(lines),
            "a value that is ignored or impossible would give another run than you asked for",
            "mend each line above; `srlm config smollm2` shows every key with its value",
        ) from error


def _explain(item: dict[str, Any]) -> str:
    place = [str(part) for part in item["loc"] if part not in TAGS]
    key = ".".join(place)
    if item["type"] == "extra_forbidden":
        return f"{key}: no such key{_nearest(key, _known_keys())}"
    if item["type"] in {
        "perhaps_secret",
        "missing",
    }:
        return f"{key}: {item['msg']}"
    return f"{key or 'config'}: {item['msg']} (got {item['input']!r})" if key else f"config: {item['msg']}"


def _known_keys(section: type[Section] = Config, place: str = "") -> list[str]:
    keys = []
    for name, field in section.model_fields.items():
        keys.append(f"{place}{name}")
        for kind in sections_in(field.annotation):
            keys += _known_keys(kind, f"{place}{name}.")
    return keys


def _nearest(word: str, known: Sequence[str]) -> str:
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""
