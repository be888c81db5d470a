"""What was asked: frozen sections with a sentence and the paper's value for every field.

Paper sections in the descriptions are those of arXiv 2401.10020. Recipes fill them (srlm/recipes).
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["float32", "bfloat16"]

RESOURCES = ("micro_tokens", "gradient_checkpointing", "save_steps")
"""Keys that may change while a run goes on, as after a training that ran out of memory."""


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

    instructions: tuple[str, ...] = Field(
        ("builtin",), description="`builtin`, JSONL files of prompt and response, or both: a list, or commas"
    )
    ranked: tuple[str, ...] = Field(
        ("builtin",), description="`builtin`, JSONL files of prompts with ranked answers, or both"
    )
    heldout: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="share of the prompts held out where lines name no split (paper: 541 of 2,171 EFT items)",
    )

    @field_validator("instructions", "ranked", mode="before")
    @classmethod
    def _commas_make_a_list(cls, value: object) -> object:
        return tuple(value.split(",")) if isinstance(value, str) else value


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


class OpenAIEngineSection(Section):
    """A server that speaks OpenAI's chat completions: vLLM, llama.cpp, `transformers serve`, a hosted one.

    It writes everything that the engine is asked for, whatever model the loop trains. How it is asked
    (`api_key_env`, `concurrency`, `timeout_s`, `max_retries`, prices) may change while a run goes on.
    """

    kind: Literal["openai"] = "openai"
    base_url: str = Field(
        "http://127.0.0.1:8000/v1", description="where `/chat/completions` follows; most end in `/v1`"
    )
    model: str = Field(..., min_length=1, description="the model's name on the server")
    api_key_env: str = Field(
        "OPENAI_API_KEY",
        description="environment variable that holds the key, which is written nowhere; empty: none is sent",
    )
    concurrency: int = Field(8, ge=1, le=1024, description="requests under way at a time, at most")
    timeout_s: float = Field(300, gt=0, description="seconds to wait for a whole reply")
    max_retries: int = Field(
        6,
        ge=0,
        le=20,
        description="times a request is repeated after 429, 5xx, a cut connection or a timeout; waits double",
    )
    continues: bool = Field(
        True,
        description="the server goes on with an assistant's message that was begun (vLLM, SGLang: "
        "`continue_final_message`); false: replies are not begun for it, and no `judge.scoring=expected`",
    )
    budget_key: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="what the server calls the budget; OpenAI's newer models want the second"
    )
    extra: dict[str, Any] = Field(
        {}, description="added to every request as it is (`top_k`, `reasoning_effort`); null leaves a key out"
    )
    price_in: float = Field(0, ge=0, description="price of a million prompt tokens, to count the cost")
    price_out: float = Field(0, ge=0, description="price of a million reply tokens")

    @field_validator("base_url")
    @classmethod
    def _an_address(cls, value: str) -> str:
        try:
            parts = urlsplit(value)
            good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
        except ValueError:
            good = False
        if not good or not value.isascii() or re.search(r"\s", value):
            raise PydanticCustomError("perhaps_secret", "must be an address such as http://127.0.0.1:8000/v1")
        if parts.username or parts.password or parts.query or parts.fragment:
            raise PydanticCustomError(
                "perhaps_secret", "must hold no user, key or query: the key belongs into the environment"
            )
        return value.rstrip("/")

    @field_validator("api_key_env")
    @classmethod
    def _a_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Z_][A-Z0-9_]{0,63}|", value):
            raise PydanticCustomError(
                "perhaps_secret", "must be the NAME of an environment variable, in capitals; never the key"
            )
        return value


EngineSection = LocalEngineSection | ScriptedEngineSection | OpenAIEngineSection


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

    @model_validator(mode="after")
    def _some_length_is_allowed(self) -> "PromptsSection":
        if self.min_words > self.max_words:
            raise ValueError("min_words is above max_words, so no prompt could be kept")
        return self


class ResponsesSection(Sampling):
    """Candidate responses (section 2.3, step 2)."""

    samples: int = Field(4, ge=2, description="responses a prompt (paper: N = 4)")


class Judging(Sampling):
    """How a judge is asked."""

    max_tokens: int = Field(256, ge=1, description="must fit 100 words of reasoning and the score after them")
    samples: int = Field(3, ge=1, description="judgments a response, averaged (paper: 3)")
    retries: int = Field(
        1, ge=0, description="times an unreadable reply is asked for again (open in the paper)"
    )


class EftSection(Judging):
    """Scores for seed answers that have ranks alone: the SFT baseline judges them (section 2.1)."""

    scoring: ClassVar[Literal["sampled"]] = "sampled"
    justify: ClassVar[Literal[True]] = True

    samples: int = Field(3, ge=1, description="judgments an answer; the first that agrees is kept (open)")
    ties: Literal["drop", "keep"] = Field(
        "drop",
        description="equal scores where people ranked apart: drop the prompt, or keep it (open)",
    )
    max_share: float = Field(
        0.4, gt=0, le=1, description="largest share of the commonest score; 4 dominated in the paper (open)"
    )


class JudgeSection(Judging):
    """LLM-as-a-Judge (section 2.3, step 2)."""

    rubric: str = Field(
        "additive", description="`additive` (paper, figure 2), `multiple_choice`, `mt_bench` or a rubric file"
    )
    scoring: Literal["sampled", "expected"] = Field(
        "sampled", description="mean of sampled grades (the paper), or Σ k·p(k) at the place of the grade"
    )
    justify: bool = Field(True, description="false, with `expected`: the grade at once, without reasons")
    judge: str | None = Field(None, description="model that judges; empty: the current one (the paper's way)")

    @model_validator(mode="after")
    def _something_is_read(self) -> "JudgeSection":
        if self.scoring == "sampled" and not self.justify:
            raise ValueError("justify=false needs scoring=expected: without a reply no grade can be read")
        return self


class PairsSection(Section):
    """Preference pairs (section 2.3, step 3)."""

    min_margin: float = Field(0.0, ge=0, description="the score gap must exceed this (paper: 0)")


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
        4096,
        ge=64,
        description="padded tokens a forward pass; trades memory; shifts only last bits and dropout masks",
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
    balance: Literal["tokens", "examples"] = Field(
        "tokens",
        description="what counts the same in the loss: every target token, or every example, so that long "
        "answers do not drown short judgments (open)",
    )


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
    eft: EftSection = EftSection()
    pairs: PairsSection = PairsSection()
    sft: SftSection = SftSection()
    dpo: DpoSection = DpoSection()
    evaluation: EvaluationSection = EvaluationSection()


def section_types() -> dict[str, type[Section]]:
    """Every section by its dotted place, for the generated documentation."""
    found: dict[str, type[Section]] = {}
    for name, field in Config.model_fields.items():
        for kind in sections_in(field.annotation):
            place = name if name != "engine" else f"engine (kind: {kind.model_fields['kind'].default})"
            found[place] = kind
    found["sft.lora, dpo.lora"] = LoraSection
    return found


def sections_in(annotation: Any) -> list[type[Section]]:
    """The sections a field may hold: one, or one of a union."""
    kinds = get_args(annotation) or (annotation,)
    return [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, Section)]


def decisive(section: BaseModel) -> dict[str, Any]:
    """The values that decide what a step makes: all but those that only trade memory and time."""
    return section.model_dump(mode="json", exclude=set(RESOURCES))


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as dotted keys: ``{"judge": {"samples": 3}}`` gives ``{"judge.samples": 3}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat
