import pytest

from srlm.errors import ConfigError, ModelError
from srlm.planning.cluster import Wanted, plan_cluster
from srlm.planning.fits import what_would_fit
from srlm.planning.hardware import GPUS, Assumptions, assume, find_gpu
from srlm.planning.layout import lay_out, lay_out_measured
from srlm.planning.rates import Rates, ReplicaCost, replica_cost
from srlm.planning.shapes import KNOWN, shape_of_size
from srlm.planning.steps import Requests, Step
from srlm.planning.times import time_steps
from srlm.recipes import load

PAPER = load("paper-70b").config
DDP = ["launcher.kind=accelerate", "launcher.strategy=ddp"]
LARGE = KNOWN["llama-2-70b"]
H100 = GPUS["h100"]
ASSUMED = Assumptions()


def laid_out(gpus=64, config=PAPER, given=ASSUMED, shape=LARGE, gpu=H100, **more):
    return lay_out(config, shape, gpus, gpu, given, **more)


def test_what_a_data_sheet_allows():
    """One H100, half of 989e12 FLOP/s in reading, 0.6 of 3.35e12 bytes/s in writing, 8.03e9 weights.

    A token read: 2 x 8.03e9 / 494.5e12 = 32.5 µs. A step: 16.06e9 bytes / 2.01e12 = 7.99 ms. A row with
    1,000 tokens: 32.5 µs and 2 x 65,536 bytes x 1,000 / 2.01e12 = 65.2 µs.
    """
    cost = replica_cost(H100, KNOWN["llama-3-8b"], Assumptions(), 1, rows=256, context=1000)
    assert cost.token == pytest.approx(32.5e-6, rel=1e-3)
    assert cost.step == pytest.approx(7.99e-3, rel=1e-3)
    assert cost.row == pytest.approx(32.5e-6 + 65.2e-6, rel=1e-3)
    assert cost.load == pytest.approx(16.06 / 2, rel=1e-3)
    assert cost.written(1000) == cost.written(256) == pytest.approx(cost.step / 256 + cost.row)


def test_replicas_are_as_large_as_writes_most_a_gpu():
    cluster = laid_out()
    assert cluster.replicas * cluster.tensor_parallel == 64
    context = 3024 - 1  # any: only the order of the sizes counts
    per_gpu = {}
    for size in (2, 4, 8):
        rows = laid_out(replicas=64 // size).cost.rows
        per_gpu[size] = size * replica_cost(
            H100, LARGE, Assumptions(), size, rows=rows, context=context
        ).written(rows)
    assert cluster.tensor_parallel == min(per_gpu, key=per_gpu.get)


def test_a_training_waits_for_the_fullest_rank():
    """16 examples on 64 ranks: 16 ranks have one each, and 48 nothing: a quarter is busy at most.

    100 updates of 16,000 tokens are 1,000 a rank: 8 x 68.98e9 x 1,000 / (0.4 x 989e12) = 1.395 s each. The
    network gathers twice in bfloat16 and scatters once in float32, 8 x 68.98e9 bytes x 63/64 at 50 GB/s =
    10.86 s, longer.
    """
    step = Step("M2/dpo", 1600, trained=1_600_000, updates=100)
    slow, *_ = time_steps(laid_out(), PAPER, [step])
    assert slow.limit == "network"
    assert slow.seconds == pytest.approx(100 * 8 * LARGE.parameters * 63 / 64 / 50e9)
    fast, *_ = time_steps(laid_out(given=assume({"network_gb": 100_000})), PAPER, [step])
    assert fast.seconds == pytest.approx(100 * 8 * LARGE.parameters * 1000 / (0.4 * 989e12))
    assert fast.limit == "batch_size"
    assert fast.busy == pytest.approx(0.25)


def test_writing_is_divided_among_replicas_that_have_something_to_do():
    """Sequential blocks of 8 requests keep 8 of 16 replicas at work, a row each; all at once, 16 with 4."""
    cluster = laid_out(replicas=16)
    cost = cluster.cost
    blocked, free = (
        time_steps(
            cluster, PAPER, [Step("M2/prompts", 64, (Requests(64, 1, 0, 100, 50, block, sequential),))]
        )[0]
        for block, sequential in ((8, True), (64, False))
    )
    assert blocked.seconds == pytest.approx((6400 * cost.token + 3200 * (cost.step + cost.row)) / 8)
    assert blocked.busy == 0.5
    assert blocked.limit == "few rows"
    assert free.seconds == pytest.approx((6400 * cost.token + 3200 * (cost.step / 4 + cost.row)) / 16)
    assert [cluster.open_blocks(Requests(256, 1, 0, 100, 50, 128), replicas) for replicas in (1, 8, 64)] == [
        1,
        2,
        16,
    ]  # stages keep two blocks of `engine.block` = 16 requests a replica under way


def fitting(gpus, strategy):
    return what_would_fit(laid_out(gpus, strategy=strategy), [PAPER.sft, PAPER.dpo])


def test_a_training_that_does_not_fit_is_told_what_would():
    """Weights, gradients and moments are 1,027.8 GiB. Of 72 a rank has 52.0 for them, beside 16.2 of

    activations, 11.9 of what is whole and 0.6 of libraries: 23.7 ranks, so 24.
    """
    assert fitting(64, "fsdp") == fitting(24, "fsdp") == ""
    assert "--strategy fsdp" in fitting(64, "ddp")
    assert fitting(23, "fsdp").startswith("gradient_checkpointing=true")
    assert fitting(8, "fsdp").startswith("24 GPUs")


def test_adapters_are_never_to_be_divided():
    """Launchers refuse it; so a plan takes ddp where nothing is said, and names other ways to fit."""
    config = load("llama3-8b").config
    found = plan_cluster(config, Wanted(8, "a100"))
    assert (found.cluster.strategy, found.mends) == ("ddp", "")
    small = plan_cluster(config, Wanted(8, "a100-40gb"))
    assert small.mends.startswith("gradient_checkpointing=true")
    assert plan_cluster(config, Wanted(8, "l4")).mends.startswith("GPUs with more memory")
    keys = ["launcher.kind=ray", "launcher.workers=8", "launcher.strategy=fsdp"]
    for of, strategy in ((load("llama3-8b", keys).config, None), (config, "fsdp"), (config, "deepspeed")):
        with pytest.raises(ConfigError, match=r"sft\.lora=null dpo\.lora=null"):
            plan_cluster(of, Wanted(8, "a100", strategy=strategy))
    whole = load("llama3-8b", ["sft.lora=null", "dpo.lora=null"]).config
    assert plan_cluster(whole, Wanted(8, "a100")).cluster.strategy == "fsdp"


@pytest.mark.parametrize(
    ("shape", "gpus", "gpu", "parts"),
    [
        (LARGE, 1, "h100", ["a replica needs", "--gpus"]),
        (KNOWN["llama-3-405b"], 64, "l4", ["8 of them hold", "8 x h200"]),
        (shape_of_size(10**13), 64, "b200", ["no named GPU holds it", "billion weights would fit"]),
    ],
)
def test_a_model_that_no_replica_holds_is_told_what_would(shape, gpus, gpu, parts):
    with pytest.raises(ModelError) as error:
        laid_out(gpus, shape=shape, gpu=GPUS[gpu])
    for part in parts:
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("call", "part"),
    [
        (lambda: find_gpu("H1000"), "did you mean h100"),
        (lambda: laid_out(0), "at least one"),
        (lambda: laid_out(8, replicas=9), "from 1 to 8"),
        (lambda: assume({"trainign": 0.3}), "did you mean training"),
        (lambda: assume({"training": 3}), "less than or equal to 1"),
    ],
)
def test_numbers_that_cannot_be_are_refused(call, part):
    with pytest.raises(ConfigError) as error:
        call()
    assert part in str(error.value)


def test_names_of_gpus_in_any_case():
    assert find_gpu(" H100 ") == H100


def test_a_cost_without_rows_is_that_of_one():
    cost = ReplicaCost(0, 0, 0, 1.0, 0.5, 4)
    assert cost.written(0) == cost.written(1) == 1.5


def test_machines_like_this_one_share_what_it_was_measured_to_do():
    """Three machines, 100 tokens/s read, 10 written, 50 trained each.

    30 prompts of 20 tokens, 5 written each: (600 / 100 + 150 / 10) / 3 = 7 s. A batch of 16 leaves 6 for
    the fullest: two updates of 800 tokens, 2 x 800 x 6/16 / 50 = 12 s.
    """
    rates = Rates(prefill=100, written=10, trained=50)
    cluster = lay_out_measured(PAPER, KNOWN["smollm2-135m"], 3, rates, ASSUMED)
    work = [Step("M2/responses", 30, (Requests(30, 1, 0, 20.0, 5, 64),)), Step("M2/dpo", 32, (), 1600, 2)]
    writing, training = time_steps(cluster, PAPER, work, rates)
    assert writing.seconds == pytest.approx(7)
    assert training.seconds == pytest.approx(12)
    assert training.busy == pytest.approx(1600 / 50 / 3 / 12)
    assert what_would_fit(cluster, [PAPER.sft]) == ""


def test_a_recipe_for_a_cluster_says_how_it_is_laid_out():
    """Replicas, their size, what each is handed, and how trainings are divided are the recipe's own keys."""
    keys = [
        "engine.kind=ray",
        "engine.engine.kind=vllm",
        "engine.engine.tensor_parallel=4",
        "engine.block=32",
    ]
    found = plan_cluster(load("llama3-8b", [*keys, *DDP]).config, Wanted(16, "h100")).cluster
    assert (found.replicas, found.tensor_parallel, found.task, found.strategy) == (4, 4, 32, "ddp")
    two = load("llama3-8b", [*keys, "engine.replicas=2"]).config
    assert plan_cluster(two, Wanted(16, "h100")).cluster.replicas == 2
    assert plan_cluster(two, Wanted(16, "h100", replicas=3)).cluster.replicas == 3
    with pytest.raises(ConfigError, match=r"engine.tensor_parallel=4 with --gpus 2"):
        plan_cluster(two, Wanted(2, "h100"))
    with pytest.raises(ConfigError, match=r"5 replicas with --gpus 16(.|\n)*from 1 to 4"):
        plan_cluster(two, Wanted(16, "h100", replicas=5))
