"""vLLM in a process of its own: start it, hand it tokens, take what it writes, end it.

vLLM loads the weights in a child process (`VLLM_ENABLE_V1_MULTIPROCESSING`), so that all of their memory goes
back when it ends. What vLLM reads from the environment is set while it starts and put back after that, for
a training that starts later shall not find its preloaded libraries. Nothing is reported to vLLM's makers.

What the child prints goes to a file, of which an error quotes the cause. Where VLLM_LOGGING_LEVEL is set, it
stays on the terminal.
"""

import ctypes.util
import gc
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from threading import Thread
from typing import IO, Any

from srlm.config import VllmEngineSection
from srlm.cores import usable_cores
from srlm.devices import dtype_of
from srlm.engines.vllm_errors import (
    ended,
    no_device,
    not_installed,
    not_started,
    refused,
    too_few_gpus,
    too_large,
    too_old,
)
from srlm.memory import free_memory, give_back_memory
from srlm.models import ADAPTER, Model, num_parameters

SHARE_OF_MEMORY = 0.5
"""Of a processor's memory that is free beside the weights, for keys and values."""
SHARE_OF_GPU = 0.92
"""Of a GPU's memory that vLLM takes where nothing else is said."""
RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""Ranks of adapters for which vLLM can make room."""
QUIET = "ERROR"
"""What vLLM logs where the environment does not say."""
MOST_TOKEN_IDS = 128
"""Tokens of which vLLM says the log-probability at a time."""


@dataclass(frozen=True)
class Output:
    """What came of a request: tokens, log-probabilities after the first of them, and whether it is done."""

    key: str
    tokens: list[int]
    logprobs: dict[int, float]
    finished: bool


@dataclass(frozen=True)
class _Device:
    """GPUs, none on a processor, and bytes: of each GPU all, of a processor those that are free."""

    gpus: int
    memory: int


class VllmProcess:
    """vLLM with a model. `context`: tokens that a prompt and its reply may have; `ends`: end tokens.

    Raises ConfigError where vLLM cannot be had or asked so, EngineError where it does not start or ends.
    """

    def __init__(self, section: VllmEngineSection, model: Model) -> None:
        self._model = model
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed with the process
        with _environment():
            vllm = _import_vllm()
            arguments = _arguments(section, model, _device())
            try:
                with _speaking_into(self._log):
                    llm = vllm.LLM(**arguments)
            except Exception as error:  # whatever vLLM raises, from whichever of its parts
                raise not_started(section, model, error, self._said()) from error
        self._sampling, self._kinds = vllm.SamplingParams, vllm.sampling_params.RequestOutputKind
        self._engine: Any = llm.llm_engine
        self._adapter = _lora_request(model)
        self.context: int = llm.model_config.max_model_len
        self.ends: int | list[int] | None = llm.model_config.try_get_generation_config().get("eos_token_id")
        Thread(target=_wake_at_the_end, args=(self._engine.engine_core,), daemon=True).start()

    def add(self, key: str, ids: Sequence[int], *, stream: bool, **sampling: Any) -> None:
        """Ask for what follows a prompt. `stream`: each step gives new tokens, else the last gives all."""
        kind = self._kinds.DELTA if stream else self._kinds.FINAL_ONLY
        prompt = {"type": "token", "prompt_token_ids": list(ids)}
        try:
            params = self._sampling(**sampling, output_kind=kind, detokenize=False)
            self._engine.add_request(key, prompt, params, lora_request=self._adapter)
        except Exception as error:
            if self._engine.engine_core.resources.engine_dead:
                raise ended(self._model, error, self._said()) from error
            raise refused(self._model, error) from error

    def step(self) -> list[Output]:
        """Wait for what comes next; raises EngineError if the process has ended."""
        with self._alive():
            return [_output(item) for item in self._engine.step()]

    def abort(self, keys: Sequence[str]) -> None:
        """Forget requests that are under way."""
        with self._alive():
            self._engine.abort_request(list(keys))

    def close(self) -> None:
        """End the process and give its memory back; more than once does no harm."""
        if self._engine is None:
            return
        self._engine.engine_core.shutdown()
        self._engine = None
        self._log.close()
        gc.collect()
        give_back_memory()

    @contextmanager
    def _alive(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            raise ended(self._model, error, self._said()) from error

    def _said(self) -> str:
        self._log.seek(0)
        return self._log.read().decode("utf-8", "replace")


def _import_vllm() -> Any:
    try:
        import vllm
    except ImportError as error:
        raise not_installed(error) from error
    if "logprob_token_ids" not in vllm.SamplingParams.__struct_fields__:
        raise too_old(vllm.__version__)
    return vllm


def _device() -> _Device:
    """What this build of vLLM computes on; for a processor, with the environment that its threads want."""
    from vllm.platforms import current_platform

    if current_platform.is_unspecified():
        raise no_device()
    if current_platform.is_cpu():
        for name, value in _for_a_processor().items():
            os.environ.setdefault(name, value)
        return _Device(0, free_memory())
    return _Device(current_platform.device_count(), current_platform.get_device_total_memory())


def _arguments(section: VllmEngineSection, model: Model, device: _Device) -> dict[str, Any]:
    """What vllm.LLM is given; raises ConfigError and EngineError for what cannot fit this machine."""
    on_cpu, gpus = not device.gpus, device.gpus
    if section.tensor_parallel > max(gpus, 1):
        raise too_few_gpus(section.tensor_parallel, gpus)
    dtype = dtype_of(section.dtype, "cpu") if on_cpu else section.dtype.replace("auto", "bfloat16")
    weights = num_parameters(model.path) * (4 if dtype == "float32" else 2)
    share = 1.0 if on_cpu else section.extra.get("gpu_memory_utilization", SHARE_OF_GPU)
    room = int(share * device.memory)
    if weights > room * section.tensor_parallel and "quantization" not in section.extra:
        raise too_large(section, model, weights, room, dtype)
    held = int(section.kv_cache_gib * 2**30) if section.kv_cache_gib else None
    if on_cpu and held is None:
        held = int(SHARE_OF_MEMORY * (room - weights))
    found = {
        "model": str(model.path),
        "trust_remote_code": model.trust_remote_code,
        "skip_tokenizer_init": True,  # prompts come as tokens, and go as tokens
        "dtype": dtype,
        "tensor_parallel_size": section.tensor_parallel,
        "max_model_len": section.max_length,
        "kv_cache_memory_bytes": held,
        "enable_prefix_caching": section.prefix_caching,
        "logprobs_mode": "raw_logprobs",  # of the model, before temperature and top-p
    }
    if on_cpu:
        # A prompt read in parts winds its seed's generator back, which on a processor ends vLLM 0.32.
        found["enable_chunked_prefill"] = False
    return found | _lora_arguments(model) | section.extra


def _lora_arguments(model: Model) -> dict[str, Any]:
    if model.adapter is None:
        return {}
    config = json.loads((model.adapter / ADAPTER).read_text("utf-8"))
    rank = max(config["r"], *config.get("rank_pattern", {}).values(), 0)
    fitting = [able for able in RANKS if able >= rank]
    return {"enable_lora": True, "max_lora_rank": fitting[0] if fitting else rank}


def _lora_request(model: Model) -> Any:
    if model.adapter is None:
        return None
    from vllm.lora.request import LoRARequest

    return LoRARequest("adapter", 1, str(model.adapter.resolve()))


def _output(item: Any) -> Output:
    made = item.outputs[0]
    if made.finish_reason in {"abort", "error"}:
        raise RuntimeError(f"it broke request {item.request_id} off ({made.finish_reason})")
    logprobs = {token: entry.logprob for token, entry in made.logprobs[0].items()} if made.logprobs else {}
    return Output(item.request_id, list(made.token_ids), logprobs, item.finished)


def _wake_at_the_end(core: Any) -> None:
    """vLLM notices when its process is killed, but does not wake who waits for its next output."""
    wait([process.sentinel for process in core.resources.engine_manager.processes])
    core.outputs_queue.put(RuntimeError("its process has ended"))


@contextmanager
def _environment() -> Iterator[None]:
    """What vLLM reads from the environment, in this process and those that it starts; put back at the end."""
    before = dict(os.environ)
    os.environ |= {
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "1",
        "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # this process has threads, which a fork would break
    }
    os.environ.setdefault("VLLM_LOGGING_LEVEL", QUIET)
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # output is for others to read
    try:
        yield
    finally:
        os.environ.clear()
        os.environ |= before | {"VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}


def _for_a_processor() -> dict[str, str]:
    """As many threads as there are cores, none of them bound, and what vLLM wants preloaded.

    vLLM would leave one core to its scheduler, which of two is half, and bind the threads of every engine to
    the same cores.
    """
    openmp = Path(sys.prefix, "lib", "libiomp5.so")
    preloaded = [ctypes.util.find_library("tcmalloc_minimal"), str(openmp) if openmp.exists() else None]
    return {
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": str(usable_cores()),
        "KMP_BLOCKTIME": "5",  # milliseconds that a thread keeps its core after its work
        "LD_PRELOAD": ":".join(filter(None, preloaded)),
    }


@contextmanager
def _speaking_into(log: IO[bytes]) -> Iterator[None]:
    """What is printed meanwhile goes into a file, and what a child that starts meanwhile prints, always."""
    if os.environ["VLLM_LOGGING_LEVEL"] != QUIET:
        yield
        return
    kept = {number: os.dup(number) for number in (1, 2)}
    _flush()
    for number in kept:
        os.dup2(log.fileno(), number)
    try:
        yield
    finally:
        _flush()
        for number, copy in kept.items():
            os.dup2(copy, number)
            os.close(copy)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(ValueError, OSError):  # closed, or nobody reads
            stream.flush()
