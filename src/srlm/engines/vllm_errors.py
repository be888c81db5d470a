"""What goes wrong with vLLM, and the way out of it."""

import math
import re

from srlm.config import VllmEngineSection
from srlm.errors import ConfigError, EngineError
from srlm.models import Model

WITHOUT = "or set engine.kind=local, which needs no vLLM"

_CAUSE = re.compile(r"\b(?:[A-Za-z_.]*(?:Error|Exception)): (.+)")
_WAYS_OUT = (
    (
        r"[Aa]rchitecture|not supported|No model class|head size|head_size",
        f"take a model that this version of vLLM knows, another version of vLLM, {WITHOUT}",
    ),
    (
        r"seq(uence)? len|kv.?cache|No available memory|memory utilization|out of memory|Free memory",
        "set engine.max_length to the longest prompt and reply together, raise engine.kv_cache_gib or free "
        "memory, or split the model over more GPUs with engine.tensor_parallel",
    ),
    (
        r"unexpected keyword|validation error for \w*(Args|Config)",
        "correct engine.extra: its keys are arguments of vllm.LLM",
    ),
)


def not_installed(error: ImportError) -> ConfigError:
    """vLLM is missing, or cannot be loaded."""
    return ConfigError(
        "engine.kind=vllm",
        f"vLLM cannot be imported in this environment ({_short(str(error))})",
        f"pip install 'srlm[vllm]' in an environment with a build of vLLM for this machine, {WITHOUT}",
    )


def too_old(version: str) -> ConfigError:
    """A version without the log-probabilities of given tokens."""
    return ConfigError(
        f"engine.kind=vllm with vLLM {version}",
        "it cannot say the probabilities of given tokens (SamplingParams.logprob_token_ids)",
        f"pip install --upgrade vllm, {WITHOUT}",
    )


def no_device() -> ConfigError:
    """A build of vLLM for other devices than this machine's."""
    return ConfigError(
        "engine.kind=vllm",
        "this build of vLLM finds no device that it can use (nvidia-smi may say why)",
        f"install the build for this machine, on a processor vLLM's CPU build, {WITHOUT}",
    )


def too_few_gpus(wanted: int, there: int) -> ConfigError:
    """A model to be split among more GPUs than there are."""
    return ConfigError(
        f"engine.tensor_parallel={wanted}",
        f"vLLM sees {there or 'no'} GPU{'s' if there > 1 else ''} here",
        f"set it to at most {max(there, 1)}, or look at CUDA_VISIBLE_DEVICES and which build this is",
    )


def too_large(section: VllmEngineSection, model: Model, weights: int, room: int, dtype: str) -> EngineError:
    """Weights that take more bytes than one GPU, or the processor's free memory, has room for."""
    each = 4 if dtype == "float32" else 2
    smaller = "" if each == 2 else "engine.dtype=bfloat16, "
    most = room * section.tensor_parallel / each / 1e9
    return EngineError(
        f"model {model.name} in {dtype} with engine.tensor_parallel={section.tensor_parallel}",
        f"its weights take {weights / 2**30:.1f} GiB and each device has {room / 2**30:.1f} GiB for them",
        f"one of: {smaller}a model of at most {most:.2g} billion weights, "
        f"{math.ceil(weights / max(room, 1))} such devices (engine.tensor_parallel, GPUs alone)",
    )


def not_started(
    section: VllmEngineSection, model: Model, error: Exception, log: str
) -> EngineError | ConfigError:
    """vLLM refused its arguments, or its process ended before it was ready."""
    why = _cause(error, log)
    ways = (way for pattern, way in _WAYS_OUT if re.search(pattern, why))
    kind = ConfigError if isinstance(error, TypeError) else EngineError
    return kind(
        f"engine.kind=vllm with model {model.name} ({model.path})",
        f"vLLM did not start: {why}",
        next(ways, f"set VLLM_LOGGING_LEVEL=INFO to see its whole log, look at engine.extra, {WITHOUT}"),
    )


def refused(model: Model, error: Exception) -> EngineError:
    """A request that vLLM does not take."""
    return EngineError(
        f"a request to vLLM with model {model.name}",
        f"vLLM refuses it: {_short(str(error))}",
        "change the sampling keys of the section that asked",
    )


def ended(model: Model, error: Exception, log: str) -> EngineError:
    """vLLM's process ended while it was at work."""
    return EngineError(
        f"vLLM with model {model.name}",
        f"its process ended in the middle of its work: {_cause(error, log)}",
        "run the same command again: it goes on after the last block. Where the memory ran out, lower "
        "engine.kv_cache_gib or free some",
    )


def _cause(error: Exception, log: str) -> str:
    """What a child's log gives as the first error, which is the root of the others; else the error itself."""
    found = _CAUSE.search(log)
    return _short(found[1] if found else str(error) or type(error).__name__)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 400 else f"{line[:400]}..."
