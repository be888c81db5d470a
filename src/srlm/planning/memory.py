"""Memory and disk: of a training by rank, of a replica that writes, of all that a run keeps. Bytes."""

import math
from dataclasses import asdict, dataclass
from typing import Literal

from srlm.config import MOST_ROWS, Config, LocalEngineSection, TrainingSection
from srlm.planning.hardware import GIB, GPU, Assumptions
from srlm.planning.shapes import ModelShape
from srlm.planning.steps import Step

Strategy = Literal["single", "ddp", "fsdp", "deepspeed"]

ACTIVATION_BYTES = 150
"""Kept for the backward pass, a token, layer and unit of hidden size; fits the recipe smollm2.
Counted by hand it is 34 in 16 bits (Korthikanti et al. 2022), so on a GPU this errs on the safe side."""
LOGIT_BYTES, LOGITS_HELD = 12, 2**27
"""Of one logit in float32, with its gradient and a copy; how many are held at a time (policy.py)."""
LIBRARIES = 0.6 * GIB
RECORD_BYTES, BYTES_A_TOKEN = 700, 4.5
"""Of a record beside its text, and of a token of text."""


@dataclass(frozen=True)
class TrainingMemory:
    """Bytes of one rank. `buffers`: casts, gathered blocks, buckets, a copy that is saved."""

    weights: float
    gradients: float
    optimizer: float
    activations: float
    buffers: float

    @property
    def total(self) -> float:
        """All of it, the libraries included."""
        parts: list[float] = list(asdict(self).values())
        return sum(parts) + LIBRARIES


@dataclass(frozen=True)
class ReplicaMemory:
    """Bytes of each GPU of a replica that writes. `rows`: samples that fit beside the weights."""

    weights: float
    row: float
    rows: int

    def total(self, rows: int) -> float:
        """With so many rows under way."""
        return self.weights + rows * self.row + LIBRARIES


def training_memory(
    shape: ModelShape, section: TrainingSection, strategy: Strategy = "single", ranks: int = 1
) -> TrainingMemory:
    """What each of so many ranks holds at most.

    `ddp` copies all on every rank, and holds gradients twice, for its buckets. `fsdp` and `deepspeed`
    (ZeRO-3) divide weights, gradients and moments: 16 bytes a weight over the ranks in float32, both ways.
    The former keeps 4 + 4 + 8, the latter 2 + 2 and, with the optimizer's own float32 weights, 12. Beside its
    share a rank of `fsdp` holds embeddings, last norm and head whole, and their gradients; of the blocks the
    one that runs, the next one, the gradients of the former, and those of the one before as they are summed.
    """
    width = 4 if section.weights == "float32" else 2
    trained = shape.adapters(section.lora) if section.lora else shape.parameters
    weights, gradients, moments = width * shape.parameters, width * trained, 2 * width * trained
    activations = _activations(shape, section)
    if strategy in {"fsdp", "deepspeed"}:
        if strategy == "deepspeed":
            if width == 4:
                weights, gradients, moments = 2 * shape.parameters, 2 * trained, 12 * trained
            whole = 2 * 2 * max(shape.parameters / shape.layers, shape.vocabulary * shape.hidden)
        else:
            gathered, summed = sharded_widths(section)
            block = (shape.parameters - shape.root) / shape.layers
            whole = 2 * width * shape.root + (3 * gathered + summed) * block
            if shape.tied:  # two gradients of one table, and their sum, once the activations are gone
                whole = max(whole, 4 * width * shape.root + summed * block - activations)
        return TrainingMemory(weights / ranks, gradients / ranks, moments / ranks, activations, whole)
    cast = 2 * trained  # autocast keeps a bfloat16 copy of every weight that is trained
    saved = weights if strategy == "single" else 0  # a process on a CPU copies its weights to write them
    buckets = gradients if strategy == "ddp" and ranks > 1 else 0
    return TrainingMemory(weights, gradients, moments, activations, cast + saved + buckets)


def sharded_widths(section: TrainingSection) -> tuple[int, int]:
    """Bytes of a block's weight as FSDP gathers it, and of its gradient as it is summed (training/sharding).

    What stands outside of the blocks is gathered and summed as it is kept.
    """
    kept = 4 if section.weights == "float32" else 2
    return (kept, kept) if section.precision == "float32" else (2, 4)


def _activations(shape: ModelShape, section: TrainingSection) -> float:
    """Of one micro-batch: what every layer keeps, or each one's input and all of one layer; and logits."""
    tokens = section.micro_tokens
    layer = ACTIVATION_BYTES * shape.hidden * tokens
    kept = (
        layer + 4 * shape.layers * shape.hidden * tokens
        if section.gradient_checkpointing
        else shape.layers * layer
    )
    return kept + LOGIT_BYTES * min(tokens * shape.vocabulary, LOGITS_HELD)


def replica_memory(
    shape: ModelShape, gpu: GPU, given: Assumptions, tensor_parallel: int, context: int
) -> ReplicaMemory:
    """Of each GPU of a replica in bfloat16, weights and caches divided among them.

    Key heads cannot be divided further than there are, so from there on each GPU holds one whole.
    """
    weights = 2 * shape.parameters / tensor_parallel
    row = 2 * shape.cached * context / min(tensor_parallel, shape.kv_heads)
    free = given.memory * gpu.memory * GIB - LIBRARIES - weights
    return ReplicaMemory(weights, row, max(0, min(given.rows, math.floor(free / row))))


def longest_request(config: Config) -> int:
    """Tokens that the longest request of a round takes up, prompt and answer."""
    answered = config.prompts.max_tokens + config.responses.max_tokens
    return max(answered, answered + 400 + config.judge.max_tokens, 1000 + config.prompts.max_tokens)


def generation_gib(shape: ModelShape, config: Config) -> float:
    """Peak of the local engine's process, GiB: weights, keys and values of all rows under way, and the rest.

    The rest (libraries, what loading leaves, reading the prompts) is what is missing to 2.8 GiB in float32
    (docs/performance.md, "Where the memory goes") and 2.5 in bfloat16, recipe smollm2.
    """
    if not isinstance(config.engine, LocalEngineSection):
        return 0.0
    asked = (
        (config.prompts.block, config.prompts.max_tokens),
        (config.responses.block * config.responses.samples, config.responses.max_tokens),
        (config.judge.block * config.judge.samples, config.judge.max_tokens),
    )
    most = max(min(rows, MOST_ROWS["cpu"]) * budget for rows, budget in asked)
    numbers = shape.parameters + min(most, config.engine.batch_tokens or most) * shape.cached
    width, rest = (4, 0.9) if config.engine.dtype == "float32" else (2, 1.5)
    return width * numbers / GIB + rest


def model_bytes(shape: ModelShape, config: Config) -> int:
    """Of one model that the run saves."""
    return shape.parameters * (4 if config.sft.weights == "float32" else 2)


def disk_bytes(shape: ModelShape, config: Config, steps: list[Step]) -> dict[str, float]:
    """What a run keeps, by kind: models of all iterations and the SFT baseline, two checkpoints, records."""
    width = 4 if config.sft.weights == "float32" else 2
    saved = shape.adapters(config.sft.lora) if config.sft.lora else shape.parameters
    baseline = config.evaluation.sft_baseline or any(step.name == "SFT/sft" for step in steps)
    models = config.iterations + baseline
    return {
        "models": float(models * model_bytes(shape, config)),
        "checkpoints": float(2 * 3 * width * saved),
        "records": sum(RECORD_BYTES * step.items + BYTES_A_TOKEN * step.written for step in steps),
    }
