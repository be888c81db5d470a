from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlm.config import LoraSection
from srlm.planning.hardware import GIB, GPUS, Assumptions
from srlm.planning.memory import disk_bytes, generation_gib, replica_memory, training_memory
from srlm.planning.shapes import KNOWN
from srlm.planning.steps import plan_steps
from srlm.recipes import load
from srlm.seeds import load_seed

SMALL, LARGE = KNOWN["smollm2-135m"], KNOWN["llama-2-70b"]
SFT = load("paper-70b").config.sft


def test_memory_of_the_demo_is_near_what_was_measured():
    """5.2 GiB for M1's training (docs/results.md)."""
    found = training_memory(SMALL, load("smollm2").config.sft).total / GIB
    assert found == pytest.approx(5.2, rel=0.1)


def test_memory_of_the_local_engine_is_near_what_was_measured():
    """2.83 GiB in float32 and 2.45 in bfloat16, 256 rows of 128 tokens (docs/performance.md)."""
    for dtype, measured in (("float32", 2.83), ("bfloat16", 2.45)):
        config = load("smollm2", [f"engine.dtype={dtype}"]).config
        assert generation_gib(SMALL, config) == pytest.approx(measured, rel=0.03)


def test_memory_of_generation_follows_the_batch():
    """A token is a key and a value of 30 layers, 3 heads and 64 numbers, two bytes each, kept once."""
    small, large = (load("smollm2", [f"engine.batch_tokens={n}"]).config for n in (1000, 5000))
    extra = generation_gib(SMALL, large) - generation_gib(SMALL, small)
    assert extra == pytest.approx(2 * 30 * 3 * 64 * 2 * 4000 / GIB)


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed"])
def test_seventy_billion_weights_over_sixty_four_ranks(strategy):
    """16 bytes a weight: 68,976,648,192 x 16 / 64 = 17,244,162,048 bytes = 16.06 GiB of the three.

    Recomputed activations of 4,096 tokens: inputs in float32, 80 x 8,192 x 4 x 4,096 = 10.0 GiB, one layer of
    150 x 8,192 x 4,096 = 4.69 GiB, and 4,096 x 32,000 logits of 12 bytes, 1.46 GiB. FSDP holds 524,296,192
    weights outside of the blocks and their gradients in float32, 3.91 GiB, and of blocks of 855,654,400 two
    in bfloat16, gradients of one in it and of one in float32: 10 bytes, 7.97 GiB. ZeRO-3 gathers two blocks
    of 862 million: 3.21 GiB.
    """
    found = training_memory(LARGE, SFT, strategy, 64)
    assert found.weights + found.gradients + found.optimizer == 68_976_648_192 * 16 / 64
    layers = 80 * 8192 * 4 * 4096 + 150 * 8192 * 4096
    assert found.activations == layers + 12 * 4096 * 32_000
    whole = {"fsdp": 8 * 524_296_192 + 10 * 855_654_400, "deepspeed": 2 * 2 * 68_976_648_192 / 80}
    assert found.buffers == pytest.approx(whole[strategy])
    assert found.total / GIB == pytest.approx({"fsdp": 44.7, "deepspeed": 36.0}[strategy], abs=0.1)


def test_what_fsdp_holds_whole_outside_of_the_blocks():
    """Llama 3 8B: 128,256 x 4,096 twice in float32 is 3.91 GiB, and as much of gradients, on any rank.

    Blocks of 218,112,000: 10 bytes, 2.03 GiB, or where products are in float32 too, 16 bytes, 3.25 GiB.
    """
    shape = KNOWN["llama-3-8b"]
    assert shape.root == 2 * 128_256 * 4096 + 4096
    assert KNOWN["smollm2-135m"].root == 49_152 * 576 + 576  # the head is the embeddings' table
    root = 2 * 4 * shape.root
    assert root / GIB == pytest.approx(2 * 3.91, abs=0.01)
    assert training_memory(shape, SFT, "fsdp", 8).buffers == root + 10 * 218_112_000
    exact = SFT.model_copy(update={"precision": "float32"})
    assert training_memory(shape, exact, "fsdp", 8).buffers == root + 16 * 218_112_000
    few = SFT.model_copy(update={"micro_tokens": 64})
    found = training_memory(SMALL, few, "fsdp", 8)
    block = (SMALL.parameters - SMALL.root) / 30
    assert found.buffers + found.activations == pytest.approx(16 * SMALL.root + 4 * block)


def test_strategies_divide_differently():
    """FSDP keeps 4 + 4 + 8 bytes a weight, ZeRO-3 2 + 2 + 12; DDP divides nothing, gradients are twice."""
    weights = LARGE.parameters
    fsdp, zero, ddp = (training_memory(LARGE, SFT, kind, 8) for kind in ("fsdp", "deepspeed", "ddp"))
    assert [fsdp.weights, fsdp.gradients, fsdp.optimizer] == [weights / 2, weights / 2, weights]
    assert [zero.weights, zero.gradients, zero.optimizer] == [weights / 4, weights / 4, 1.5 * weights]
    assert [ddp.weights, ddp.gradients, ddp.optimizer] == [4 * weights, 4 * weights, 8 * weights]
    assert ddp.buffers == 2 * weights + 4 * weights


def test_adapters_are_counted():
    """Llama 3 8B, rank 64, a layer: 64 x (4096+4096 + 4096+1024 + 4096+1024 + 4096+4096 + 3 x (4096+14336)).

    That is 64 x 81,920 = 5,242,880, times 32 layers: 167,772,160 weights, 2.1 % of all.
    """
    assert KNOWN["llama-3-8b"].adapters(LoraSection(rank=64)) == 167_772_160
    plain = load("llama3-8b").config.sft.model_copy(update={"lora": None})
    shape = KNOWN["llama-3-8b"]
    adapted = training_memory(shape, load("llama3-8b").config.sft)
    assert adapted.gradients == 4 * 167_772_160
    assert adapted.weights == training_memory(shape, plain).weights


def test_a_replica_divides_weights_and_key_heads():
    """70B over four H100: 68.98e9 x 2 / 4 bytes = 32.1 GiB; of 72 GiB 39.3 are left beside the libraries.

    1,000 tokens x 2 x 80 layers x 8 heads x 128 numbers x 2 bytes = 327.68 MB, a fourth on each: 515 samples,
    bounded by 256 rows. Over 16 GPUs eight key heads are not divided further.
    """
    given = Assumptions()
    four = replica_memory(LARGE, GPUS["h100"], given, 4, 1000)
    assert four.weights == 68_976_648_192 / 2
    assert four.row == 327_680_000 / 4
    assert four.rows == 256
    unbounded = given.model_copy(update={"rows": 10_000})
    assert replica_memory(LARGE, GPUS["h100"], unbounded, 4, 1000).rows == int(
        (0.9 * 80 * GIB - 0.6 * GIB - 34_488_324_096) / 81_920_000
    )
    assert replica_memory(LARGE, GPUS["h100"], given, 16, 1000).row == 327_680_000 / 8
    assert replica_memory(LARGE, GPUS["l4"], given, 1, 1000).rows == 0


def test_disk_keeps_models_checkpoints_and_records():
    """Three models and two checkpoints (weights and two moments) of four bytes a weight."""
    found = disk_bytes(SMALL, load("smollm2").config, [])
    assert found == {
        "models": 3 * 4 * SMALL.parameters,
        "checkpoints": 2 * 3 * 4 * SMALL.parameters,
        "records": 0,
    }


def test_disk_keeps_the_sft_baseline_that_ranks_alone_want(tmp_path):
    """Answers without scores are scored by a baseline, which is a fourth model, whatever is evaluated."""
    answers = '"answers": [{"text": "Yes.", "rank": 0}, {"text": "No.", "rank": 1}]'
    (tmp_path / "ranked.jsonl").write_text(f'{{"prompt": "Is it?", "split": "train", {answers}}}')
    config = load("smollm2", [f"data.ranked=builtin,{tmp_path}/ranked.jsonl"]).config
    assert not config.evaluation.sft_baseline
    found = disk_bytes(SMALL, config, plan_steps(config, load_seed(config.data)))
    assert found["models"] == 4 * 4 * SMALL.parameters


@given(
    ranks=st.integers(1, 4096),
    strategy=st.sampled_from(["fsdp", "deepspeed"]),
    tokens=st.integers(64, 65_536),
    checkpointing=st.booleans(),
)
def test_more_ranks_never_need_more_and_more_tokens_never_less(ranks, strategy, tokens, checkpointing):
    section = SFT.model_copy(update={"micro_tokens": tokens, "gradient_checkpointing": checkpointing})
    more = section.model_copy(update={"micro_tokens": tokens + 64})
    here = training_memory(LARGE, section, strategy, ranks).total
    assert training_memory(LARGE, section, strategy, ranks + 1).total <= here
    assert training_memory(LARGE, more, strategy, ranks).total >= here
    assert (
        training_memory(replace(LARGE, parameters=LARGE.parameters + 10**9), section, strategy, ranks).total
        > here
    )
