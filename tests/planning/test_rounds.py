import json
from dataclasses import replace

import numpy as np
import pytest

from srlm.errors import ConfigError, RunError
from srlm.planning.alternatives import alternatives, dominating
from srlm.planning.cluster import Wanted, plan_cluster
from srlm.planning.hardware import GPUS, Assumptions
from srlm.planning.layout import lay_out
from srlm.planning.lengths import Lengths, lengths_of_run
from srlm.planning.rates import Rates
from srlm.planning.rounds import round_steps, simulate_round, stages
from srlm.planning.shapes import KNOWN
from srlm.planning.simulation import fleet, simulate
from srlm.planning.steps import Requests, Step, plan_steps
from srlm.planning.times import StepTime, time_steps
from srlm.recipes import load, override
from srlm.seeds import load_seed

PAPER = load("paper-70b", ["prompts.count=256"]).config
BY_64 = load("paper-70b", ["engine.kind=ray", "engine.block=64", "evaluation.suites=[]"]).config
ONE = lay_out(PAPER, KNOWN["llama-3-8b"], 1, GPUS["h200"], Assumptions())


def test_requests_become_tasks_of_their_blocks():
    """10 requests in blocks of 6, tasks of 4: 4 + 2 of the first block, 4 of the second; two answers each."""
    step = Step("M2/responses", 10, (Requests(10, 2, 30, 5.0, 7, 6),))
    cluster = replace(ONE, task=4)
    (stage,) = stages(step, Lengths(always=1.0), cluster, replicas=2, seed=0)
    assert [(task.block, task.prompt, task.lengths) for task in stage.tasks] == [
        (0, 20.0, (7,) * 8),
        (0, 10.0, (7,) * 4),
        (1, 20.0, (7,) * 8),
    ]
    assert (stage.head, stage.in_flight) == (30, 3)  # 2 replicas take 2 x 2 x 4 of 6 each
    in_order = Step("M2/prompts", 2, (Requests(2, 1, 0, 5.0, 7, 1, True),))
    (ordered,) = stages(in_order, Lengths(), cluster, replicas=2, seed=0)
    assert ordered.in_flight == 1


def test_one_replica_with_equal_lengths_is_the_closed_form():
    """Without faults, dispatch or loading; tasks of 64 requests x 4 samples fill 256 rows."""
    given = Assumptions(dispatch=0, stragglers=0)
    cluster = lay_out(BY_64, KNOWN["llama-3-8b"], 1, GPUS["h200"], given, replicas=1)
    assert cluster.cost.rows == 256
    step = Step("M2/responses", 256, (Requests(256, 4, 0, 50.0, 100, 128),))
    (closed,) = time_steps(cluster, PAPER, [step])
    (stage,) = stages(step, Lengths(always=1.0), cluster, replicas=1, seed=0)
    found = simulate(stage, fleet(cluster.cost, 1), loads=False)
    assert found.seconds == pytest.approx(closed.seconds)


def test_a_round_loads_a_model_for_every_change_and_trains_after_it():
    """The paper's prompts are written by another model: a load for it, one for M1, none for the judge."""
    steps = plan_steps(PAPER, load_seed(PAPER.data))
    cluster = lay_out(PAPER, KNOWN["llama-2-70b"], 64, GPUS["h100"], Assumptions())
    times = {one.step.name: one for one in time_steps(cluster, PAPER, steps)}
    made = simulate_round(cluster, PAPER, round_steps(steps, "M2"), times["M2/dpo"], Lengths())
    assert [stage.name for stage in made.stages] == ["M2/prompts", "M2/responses", "M2/judgments"]
    load_all = cluster.replicas * cluster.cost.load
    assert [stage.loading for stage in made.stages] == pytest.approx([load_all, load_all, 0])
    assert made.training >= times["M2/dpo"].seconds
    assert made.seconds == made.writing + made.training
    assert 0 < made.busy < 1


def test_failures_of_a_training_are_what_is_to_be_expected():
    """64 GPUs that fail every 640 hours: one failure in 10 hours, for a restart, a load, and 100 updates."""
    given = Assumptions(mtbf_hours=640, restart=60)
    cluster = lay_out(PAPER, KNOWN["llama-2-70b"], 64, GPUS["h100"], given)
    training = StepTime(Step("M2/dpo", 1, trained=1, updates=3600), 36_000.0, 1.0, "")
    made = simulate_round(cluster, PAPER, [], training, Lengths())
    assert made.training == pytest.approx(36_000 + 60 + cluster.cost.load + 10 * 100)


def test_lengths_are_drawn_from_a_run_or_by_the_default():
    chance = np.random.default_rng(0)
    drawn = Lengths().draw("responses", 1000, 20_000, chance)
    assert np.median(drawn) == pytest.approx(300, rel=0.03)
    assert drawn.max() == 1000
    assert drawn.min() >= 1
    measured = Lengths({"responses": np.array([0.1, 0.2])})
    assert set(measured.draw("responses", 50, 100, chance).tolist()) == {5, 10}
    assert len(set(measured.draw("prompts", 50, 100, chance).tolist())) > 10


def test_lengths_of_a_real_run(finished):
    folder, config, _ = finished
    budgets = {"responses": config.responses.max_tokens, "judgments": config.judge.max_tokens}
    found = lengths_of_run(folder, budgets)
    lines = [json.loads(line) for path in folder.glob("M*/responses.jsonl") for line in path.open()]
    assert sorted(found.measured["responses"]) == pytest.approx(
        sorted(line["num_tokens"] / config.responses.max_tokens for line in lines)
    )
    assert len(found.measured["judgments"]) > 0
    with pytest.raises(RunError, match="M2/responses"):
        lengths_of_run(folder / "M1", budgets)


def test_what_if_rows_follow_what_dominates():
    """More judgments cost, expected scores at once save, and a fourth round costs what the third does."""
    steps = plan_steps(PAPER, load_seed(PAPER.data))
    cluster = lay_out(PAPER, KNOWN["llama-2-70b"], 64, GPUS["h100"], Assumptions())

    def outcome(config):
        planned = plan_steps(config, load_seed(config.data))
        return sum(one.seconds for one in time_steps(cluster, config, planned)) / 3600, ""

    times = time_steps(cluster, PAPER, steps)
    found = alternatives(PAPER, times, outcome, ["judge.samples=7 responses.samples=2"])
    by_words = {one.words: one.hours for one in found}
    assert found[0].words == ("judge.samples=7", "responses.samples=2")
    assert by_words["judge.samples=5",] > 0 > by_words["judge.scoring=expected", "judge.justify=false"]
    assert by_words["iterations=4",] == pytest.approx(
        sum(one.seconds for one in times if one.step.name.startswith("M3/")) / 3600, rel=0.05
    )
    assert dominating(times) == "dpo"
    assert by_words["dpo.batch_size=64",] < 0
    slow_prompts = [StepTime(Step("M2/prompts", 1), 10.0, 1.0, ""), StepTime(Step("M2/dpo", 1), 9.0, 1.0, "")]
    rows = alternatives(PAPER, slow_prompts, outcome)
    assert ("prompts.block=256",) in [one.words for one in rows]
    with pytest.raises(ConfigError, match="changes nothing"):
        alternatives(PAPER, times, outcome, ["judge.samples=3"])


WITHOUT = load("paper-70b", ["evaluation.suites=[]"]).config
DDP = "launcher.kind=accelerate launcher.strategy=ddp"
CLUSTER_KEYS = ["engine.kind=ray engine.replicas=2", "engine.kind=ray engine.block=64", DDP]


@pytest.mark.parametrize("wanted", [Wanted(64, "h100"), Wanted(64, "h100", replicas=4, strategy="fsdp")])
def test_what_if_is_the_difference_of_two_plans(wanted):
    """Keys that decide how the cluster is laid out change it, as they do in a plan of their own."""
    words = [*CLUSTER_KEYS, "responses.max_tokens=1024"]
    found = plan_cluster(WITHOUT, wanted, words)
    for word, told in zip(words, found.alternatives, strict=False):
        there = replace(
            wanted,
            replicas=None if "replicas" in word else wanted.replicas,
            strategy=None if "strategy" in word else wanted.strategy,
        )
        other = plan_cluster(override(WITHOUT, word.split()), there)
        assert told.words == tuple(word.split())
        assert told.hours == pytest.approx(other.hours - found.hours)
        assert told.mends == other.mends
        assert abs(told.hours) > 0.1
    assert [bool(one.mends) for one in found.alternatives] == [
        one.words == tuple(DDP.split()) for one in found.alternatives
    ]
    unfit = next(one for one in found.alternatives if one.mends)
    assert " ".join(unfit.words) == DDP


@pytest.mark.parametrize(
    ("what_if", "part"),
    [
        ("engine.kind=ray engine.replicas=100", "100 replicas"),
        ("engine.kind=vllm engine.tensor_parallel=128", "tensor_parallel=128"),
        ("sft.lora.rank=8", "with adapters"),
    ],
)
def test_what_cannot_be_laid_out_is_refused(what_if, part):
    with pytest.raises(ConfigError, match=part):
        plan_cluster(WITHOUT, Wanted(64, "h100", strategy="fsdp"), [what_if])


def test_a_suggestion_that_cannot_be_is_left_out():
    """Twice the samples would, say, need a replica that no GPU holds."""
    times = [StepTime(Step("M2/dpo", 1), 10.0, 1.0, "")]

    def outcome(config):
        if config.responses.samples > PAPER.responses.samples:
            raise ConfigError("it", "cannot be", "leave it")
        return float(config.iterations), ""

    rows = [one.words for one in alternatives(PAPER, times, outcome)]
    assert rows == [("iterations=4",)]


def test_machines_like_this_one_are_measured_once(tiny, monkeypatch):
    """And with the recipe's own model and engine, so a what-if of another one says nothing."""
    asked = []

    def rates(*_):
        asked.append(1)
        return Rates(100, 10, 50)

    monkeypatch.setattr("srlm.planning.cluster.calibrate", rates)
    config = load("smollm2", [f"model.name={tiny.path}"]).config
    found = plan_cluster(config, Wanted(4), ["responses.max_tokens=64"])
    assert len(asked) == 1
    assert found.alternatives[0].hours < 0
    for words in ("model.name=elsewhere", "engine.kind=scripted"):
        with pytest.raises(ConfigError, match="own model and the engine local"):
            plan_cluster(config, Wanted(4), [words])


def test_a_plan_holds_together():
    found = plan_cluster(PAPER, Wanted(64, "h100"))
    assert found.hours == pytest.approx(sum(one.seconds for one in found.times) / 3600)
    kind, share, limit = found.bottleneck
    assert (kind, limit) == ("dpo", "network")
    assert 0.3 < share < 1
    assert set(found.training) == {"sft", "dpo"}
    assert found.mends == ""
    more = plan_cluster(PAPER, Wanted(128, "h100"))
    assert more.hours <= found.hours
    with pytest.raises(ConfigError, match="--gpu h100"):
        plan_cluster(PAPER, Wanted(4, None, replicas=2))
