"""Who writes text: a model in this process, a script, a server, or many of them over a cluster."""

import re
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from srlm.config.base import Device, Names, Precision, Section

VLLM_TAKEN = {
    *("model", "tokenizer", "skip_tokenizer_init", "trust_remote_code", "enable_lora", "max_lora_rank"),
    *("dtype", "tensor_parallel_size", "max_model_len", "kv_cache_memory_bytes", "enable_prefix_caching"),
    *("logprobs_mode", "data_parallel_size"),
}
"""Arguments of `vllm.LLM` that follow from the other keys, or that replies and probabilities rest on."""
MOST_ROWS = {"cpu": 256, "cuda": 1024}
"""Samples under way at a time, beyond which a step only takes longer (docs/performance.md)."""


class LocalEngineSection(Section):
    """transformers in this process."""

    kind: Literal["local"] = "local"
    device: Device = Field("auto", description="`auto` takes CUDA when it is there")
    dtype: Precision = Field(
        "auto",
        description="precision of the weights while generating; `auto`: bfloat16 where the machine "
        "multiplies it faster, else float32",
    )
    batch_tokens: int | None = Field(
        None,
        ge=64,
        description="tokens, prompts and answer budgets, that may be under way at a time; empty: what half "
        "of the free memory holds",
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


class VllmEngineSection(Section):
    """vLLM in a process of its own beside this one, for a model of the loop, on GPUs or a processor.

    `dtype`, `max_length` and `extra` are part of what a step rests on; the other keys may change while a run
    goes on.
    """

    kind: Literal["vllm"] = "vllm"
    dtype: Precision = Field(
        "auto",
        description="precision of the weights; `auto`: bfloat16 on GPUs, on a processor what it multiplies "
        "faster",
    )
    tensor_parallel: int = Field(1, ge=1, description="GPUs among which the model is split")
    max_length: int | None = Field(
        None,
        ge=16,
        description="tokens of a prompt and its reply together, at most; empty: the model's context, which "
        "the memory for keys and values must hold once",
    )
    kv_cache_gib: float | None = Field(
        None,
        gt=0,
        description="memory for keys and values on each GPU; empty: on GPUs what vLLM finds free, on a "
        "processor half of what is free beside the weights",
    )
    prefix_caching: bool = Field(
        True, description="what prompts begin with alike, such as a rubric, is computed once"
    )
    extra: dict[str, Any] = Field(
        {},
        description="added to what `vllm.LLM` is given (`enforce_eager`, `gpu_memory_utilization`)",
    )

    @field_validator("extra")
    @classmethod
    def _not_set_elsewhere(cls, value: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(VLLM_TAKEN & set(value)):
            raise PydanticCustomError(
                "taken",
                "must leave {keys} to the other keys of this section and to srlm",
                {"keys": ", ".join(taken)},
            )
        return value


AloneEngineSection = LocalEngineSection | ScriptedEngineSection | OpenAIEngineSection | VllmEngineSection
"""An engine in one place."""


class RayEngineSection(Section):
    """Any engine, many times over a Ray cluster. What it writes is what that engine alone would write."""

    kind: Literal["ray"] = "ray"
    engine: AloneEngineSection = Field(
        LocalEngineSection(), discriminator="kind", description="what each replica is"
    )
    address: str = Field(
        "",
        description="of the cluster; empty: $RAY_ADDRESS, one that runs on this machine, or else one that "
        "is started here while it is used; `local`: always that",
    )
    replicas: int | None = Field(
        None,
        ge=1,
        description="engines; those that find no room wait for the cluster to grow; empty: as many as have "
        "room, more when it grows",
    )
    cpus: float | None = Field(
        None,
        gt=0,
        description="cores a replica; empty: 1 beside GPUs, else what the replicas of a machine may share",
    )
    gpus: float | None = Field(
        None,
        ge=0,
        description="GPUs a replica; empty: where the cluster has any, 1 or the engine's `tensor_parallel`",
    )
    block: int = Field(
        16, ge=1, description="requests that a replica gets at a time, and does again when it dies"
    )
    base_urls: Names = Field(
        (), description="servers that the replicas of an `openai` engine share, in place of its `base_url`"
    )
    start_timeout_s: float = Field(
        600, gt=0, description="seconds to wait for the first replica, as for machines that the cluster adds"
    )

    @model_validator(mode="after")
    def _servers_speak_openai(self) -> "RayEngineSection":
        if self.base_urls and not isinstance(self.engine, OpenAIEngineSection):
            raise ValueError("base_urls are servers, so they need engine.kind=openai")
        return self


EngineSection = AloneEngineSection | RayEngineSection


def is_server(section: EngineSection) -> bool:
    """Whether an engine is a server with a model of its own, which answers instead of the loop's model."""
    inner = section.engine if isinstance(section, RayEngineSection) else section
    return isinstance(inner, OpenAIEngineSection)
