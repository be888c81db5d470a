"""What was asked: frozen sections with a sentence and the paper's value for every field.

Precedence: default < recipe (which may extend one other) < override. Paper sections in the
descriptions are those of arXiv 2401.10020. Every mistake of a config is reported in one message.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from srlm.errors import ConfigError

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["float32", "bfloat16"]


class Section(BaseModel):
    """A part of the config; immutable, and unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ModelSection(Section):
    """The base model M0."""

    name: str = Field(
        "smollm2-135m-instruct", description="hub id, local folder, .gguf file or a built-in name"
    )
    revision: str | None = Field(None, description="branch, tag or commit on the hub")
    trust_remote_code: bool = Field(False, description="let the hub repository run its own Python code here")


class SeedSection(Section):
    """The human seed data (section 2.1; 3,200 IFT and 1,630 EFT examples in the paper)."""

    instructions: str = Field("builtin", description="`builtin` or a JSONL file of prompt and response")
    ranked: str = Field("builtin", description="`builtin` or a JSONL file of prompts with ranked answers")
    heldout: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="share of the prompts held out where lines name no split (paper: 541 of 2,171 EFT items)",
    )


class LocalEngineSection(Section):
    """transformers in this process."""

    kind: Literal["local"] = "local"
    device: Device = Field("auto", description="`auto` takes CUDA when it is there")
    dtype: Dtype = Field("bfloat16", description="precision of the weights while generating")
    batch_tokens: int = Field(
        16384, ge=64, description="tokens, prompt and answer budget, of all sequences batched together"
    )


class ScriptedEngineSection(Section):
    """Deterministic text without a model, to try a config or test a stage."""

    kind: Literal["scripted"] = "scripted"


EngineSection = LocalEngineSection | ScriptedEngineSection


class Sampling(Section):
    """How text is drawn."""

    temperature: float = Field(0.7, ge=0, description="0 takes the likeliest token")
    top_p: float = Field(0.9, gt=0, le=1, description="nucleus: smallest set of tokens with this probability")
    max_tokens: int = Field(512, ge=1, description="budget of new tokens a draw")
    block: int = Field(32, ge=1, description="requests a block; a block is the unit of resume")


class PromptsSection(Sampling):
    """New prompts, Self-Instruct style (section 2.3, step 1; 8-shot, T = 0.6, top-p 0.9)."""

    temperature: float = Field(0.6, ge=0, description="paper: 0.6")
    max_tokens: int = Field(128, ge=1, description="budget of a new prompt; one cut off here is dropped")
    count: int = Field(
        512, ge=1, description="prompts wanted a round (paper: enough for 3,964 and 6,942 pairs)"
    )
    demonstrations: int = Field(6, ge=1, description="examples from the seed set (paper: 6)")
    generated_demonstrations: int = Field(2, ge=0, description="examples written by the model (paper: 2)")
    max_attempts: int = Field(20, ge=1, description="attempts allowed for each prompt wanted")
    min_words: int = Field(4, ge=1, description="Self-Instruct: 4")
    max_words: int = Field(150, ge=1, description="Self-Instruct: 150")
    max_rouge: float = Field(
        0.7, ge=0, le=1, description="ROUGE-L F above which a prompt repeats another (0.7)"
    )
    writer: str | None = Field(
        None, description="model that writes the prompts; empty: the current one (paper: a fixed chat model)"
    )


class ResponsesSection(Sampling):
    """Candidate responses (section 2.3, step 2)."""

    samples: int = Field(4, ge=2, description="responses a prompt (paper: N = 4)")


class JudgeSection(Sampling):
    """LLM-as-a-Judge (section 2.3, step 2)."""

    max_tokens: int = Field(256, ge=1, description="must fit 100 words of reasoning and the score after them")
    samples: int = Field(3, ge=1, description="judgments a response, averaged (paper: 3)")
    rubric: Literal["additive"] = Field("additive", description="the paper's additive rubric (figure 2)")
    judge: str | None = Field(None, description="model that judges; empty: the current one (the paper's way)")


class PairsSection(Section):
    """Preference pairs (section 2.3, step 3)."""

    min_margin: float = Field(0.0, ge=0, le=5, description="the score gap must exceed this (paper: 0)")


class LoraSection(Section):
    """Low-rank adapters, merged into the saved model."""

    rank: int = Field(64, ge=1)
    alpha: int = Field(128, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)


class TrainingSection(Section):
    """What SFT and DPO share (section 3.1.3: batch 16, dropout 0.1, cosine to a floor)."""

    learning_rate: float = Field(..., gt=0, description="peak of the cosine")
    min_learning_rate: float = Field(..., ge=0, description="floor of the cosine")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the steps that warm up")
    batch_size: int = Field(16, ge=1, description="examples or pairs an optimiser step (paper: 16)")
    micro_tokens: int = Field(
        4096, ge=64, description="padded tokens a forward pass; changes memory, not the result"
    )
    epochs: float = Field(1.0, gt=0, description="passes over the data (not in the paper)")
    max_length: int = Field(
        2048, ge=16, description="tokens of prompt and response; longer ones are left out"
    )
    dropout: float = Field(
        0.1, ge=0, lt=1, description="on the output of every attention and MLP block (0.1)"
    )
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0, description="gradient clipping")
    precision: Dtype = Field(
        "bfloat16", description="autocast of the forward pass; weights stay in `weights`"
    )
    weights: Dtype = Field(
        "float32", description="of the trained and saved weights: 1e-6 vanishes in bfloat16"
    )
    device: Device = Field("auto", description="`auto` takes CUDA when it is there")
    gradient_checkpointing: bool = Field(False, description="less memory for about a third more time")
    lora: LoraSection | None = Field(None, description="adapters instead of all weights")
    save_steps: int = Field(200, ge=1, description="optimiser steps between checkpoints (paper: 200)")

    @model_validator(mode="after")
    def _floor_below_peak(self) -> "TrainingSection":
        if self.min_learning_rate > self.learning_rate:
            raise ValueError("min_learning_rate is above learning_rate")
        return self


class SftSection(TrainingSection):
    """M1: supervised fine-tuning on instructions and on judging (section 2.2)."""

    learning_rate: float = Field(5.5e-6, gt=0, description="paper: 5.5e-6")
    min_learning_rate: float = Field(1.1e-6, ge=0, description="paper: 1.1e-6")


class DpoSection(TrainingSection):
    """M2, M3 ...: direct preference optimisation (section 2.4)."""

    learning_rate: float = Field(1e-6, gt=0, description="paper: 1e-6")
    min_learning_rate: float = Field(1e-7, ge=0, description="paper: 1e-7")
    beta: float = Field(0.1, gt=0, description="strength of the pull to the reference (paper: 0.1)")


class EvaluationSection(ResponsesSection):
    """The answers to held-out prompts that are measured after every round."""

    samples: int = Field(1, ge=1, description="answers a held-out prompt")


class Config(Section):
    """A whole run."""

    iterations: int = Field(3, ge=1, description="the last model is M(iterations) (paper: M3)")
    seed: int = Field(0, ge=0, description="all random draws follow from it and from content")
    data: SeedSection = SeedSection()
    model: ModelSection = ModelSection()
    engine: EngineSection = Field(LocalEngineSection(), discriminator="kind")
    prompts: PromptsSection = PromptsSection()
    responses: ResponsesSection = ResponsesSection()
    judge: JudgeSection = JudgeSection()
    pairs: PairsSection = PairsSection()
    sft: SftSection = SftSection()
    dpo: DpoSection = DpoSection()
    evaluation: EvaluationSection = EvaluationSection()


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


def from_dict(values: Mapping[str, Any]) -> Config:
    """The config that `Config.model_dump` wrote; raises ConfigError."""
    return _validate(dict(values), "the saved config")


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


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as dotted keys: ``{"judge": {"samples": 3}}`` gives ``{"judge.samples": 3}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def section_types() -> dict[str, type[Section]]:
    """Every section by its dotted place, for the generated documentation."""
    found: dict[str, type[Section]] = {}
    for name, field in Config.model_fields.items():
        for kind in _sections_in(field.annotation):
            found[
                f"{name} (kind: local)"
                if kind is LocalEngineSection
                else f"{name} (kind: scripted)"
                if kind is ScriptedEngineSection
                else name
            ] = kind
    found["sft.lora, dpo.lora"] = LoraSection
    return found


def _sections_in(annotation: Any) -> list[type[Section]]:
    kinds = get_args(annotation) or (annotation,)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]


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
    value: Any = yaml.load(text, _Loader) if text else None  # noqa: S506  as above
    for part in reversed(key.split(".")):
        value = {part: value}
    return dict(value)


def _merge(
    values: dict[str, Any], layer: Mapping[str, Any], origins: dict[str, str], name: str, prefix: str = ""
) -> None:
    if "kind" in layer and values.get("kind", layer["kind"]) != layer["kind"]:
        values.clear()  # another kind has other keys: the section starts anew
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
    if isinstance(engine, dict):
        engine.setdefault("kind", "local")
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
    place = [str(part) for part in item["loc"] if part not in {"local", "scripted"}]
    key = ".".join(place)
    if item["type"] == "extra_forbidden":
        return f"{key}: no such key{_nearest(key, _known_keys())}"
    return f"{key or 'config'}: {item['msg']} (got {item['input']!r})" if key else f"config: {item['msg']}"


def _known_keys() -> list[str]:
    keys = list(Config.model_fields)
    for name, field in Config.model_fields.items():
        for kind in _sections_in(field.annotation):
            keys += [f"{name}.{key}" for key in kind.model_fields]
    keys += [f"{name}.lora.{key}" for name in ("sft", "dpo") for key in LoraSection.model_fields]
    return keys


def _nearest(word: str, known: Sequence[str]) -> str:
    match = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {match[0]!r}?" if match else ""
