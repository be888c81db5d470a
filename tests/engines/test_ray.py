"""An engine over a real Ray cluster: the same replies, whoever dies."""

import gc
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from fake_server import serving
from srlm.config import (
    JudgeSection,
    LocalEngineSection,
    OpenAIEngineSection,
    RayEngineSection,
    ResponsesSection,
    ScriptedEngineSection,
)
from srlm.engines.base import Engine, Reply, Request
from srlm.engines.opening import make_engine
from srlm.errors import EngineError, PoisonRequest, PromptTooLong
from srlm.judging.rubric import grading_rubric
from srlm.loop import run_loop
from srlm.models import Model
from srlm.records import Prompt, ask
from srlm.stages.judgments import judge
from srlm.stages.responses import respond
from srlm.store.run import open_run

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'srlm[ray]'")

from ray.cluster_utils import Cluster  # noqa: E402

pytestmark = pytest.mark.slow  # a cluster of three machines on two cores takes its time

NOBODY = Model("M0", Path("nowhere"), "0" * 64)
UNLUCKY = Path(__file__).parents[2] / "benchmarks/unlucky"


@pytest.fixture(scope="module")
def three() -> Iterator[Cluster]:
    """Three machines, a core each, where a scripted request takes 20 ms; this process is connected."""
    before = dict(os.environ)
    os.environ |= {
        "PYTHONPATH": str(UNLUCKY),
        "SRLM_SECONDS_A_REQUEST": "0.02",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.add_node(num_cpus=1)
    cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False)
    yield cluster
    ray.shutdown()
    cluster.shutdown()
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="module")
def engine(three) -> Iterator[Engine]:
    """Three replicas for all who need nothing else, for each takes seconds to start."""
    with over(three) as made:
        yield made


@contextmanager
def over(three: Cluster, model: Model | None = NOBODY, **keys: object) -> Iterator[Engine]:
    given = {"engine": ScriptedEngineSection(), "address": three.address, "block": 4, "replicas": 3} | keys
    engine = make_engine(RayEngineSection(**given), model)
    try:
        yield engine
    finally:
        engine.close()


def requests(count: int, text: str = "Name a colour, number") -> list[Request]:
    return [
        Request(id=f"r{n}", conversation=ask(f"{text} {n}."), purpose="response", seed=n, n=2, max_tokens=8)
        for n in range(count)
    ]


def answered(engine: Engine, asked: list[Request]) -> list[Reply]:
    return sorted(engine.generate(asked), key=lambda reply: (reply.request_id, reply.draw))


def alone(asked: list[Request], model: Model = NOBODY) -> list[Reply]:
    return answered(make_engine(ScriptedEngineSection(), model), asked)


def replica_processes() -> list[psutil.Process]:
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if "ray::Replica" in " ".join(one.info["cmdline"] or [])
    ]


def later(seconds: float, work) -> threading.Timer:
    timer = threading.Timer(seconds, work)
    timer.start()
    return timer


def test_a_cluster_answers_as_one_engine_does(engine):
    asked = requests(60)
    assert answered(engine, asked) == alone(asked)
    assert engine.digest == make_engine(ScriptedEngineSection(), NOBODY).digest
    assert engine.capacity == 2 * 3 * 4


def test_the_same_request_twice_in_a_call_is_answered_twice(engine):
    asked = requests(3)
    assert answered(engine, [*asked, asked[0]]) == alone([*asked, asked[0]])


def test_after_a_failure_closing_is_quick_though_a_block_is_late(three):
    with over(three, replicas=2) as engine:
        answered(engine, requests(12))
        replicas = engine._replicas
        slow = replicas.answer(requests(1, "TIMES 400"))  # 8 s
        time.sleep(0.5)
        replicas._loop.call_soon_threadsafe(replicas._fail, EngineError("this", "failed", "mend it"))
        time.sleep(3)  # an idle replica looks for late blocks once a second
        assert isinstance(slow.exception(timeout=1), EngineError)
        began = time.monotonic()
    assert time.monotonic() - began < 10


def test_when_no_machine_is_left_that_could_hold_a_replica_the_wait_has_an_end(three):
    large = three.add_node(num_cpus=2)
    with over(three, cpus=2, replicas=1, start_timeout_s=6) as engine:
        assert answered(engine, requests(8)) == alone(requests(8))
        three.remove_node(large, allow_graceful=False)
        with pytest.raises(EngineError, match=r"could start one within 6 s: (.|\n)* has 1 cores"):
            answered(engine, requests(8, "TIMES 100"))


def test_replicas_end_with_the_engine_and_come_again_when_asked(three):
    asked, before = requests(4), {one.pid for one in replica_processes()}
    with over(three, replicas=1) as engine:
        answered(engine, asked)
        mine = [one for one in replica_processes() if one.pid not in before]
        assert len(mine) == 1
        engine.close()
        assert not psutil.wait_procs(mine, timeout=20)[1]
        assert answered(engine, asked) == alone(asked)


def test_closing_waits_for_what_it_ends(three, caplog):
    with over(three, replicas=2) as engine:
        answered(engine, requests(4))
        engine.close()
    gc.collect()
    assert "was destroyed but it is pending" not in caplog.text


def test_a_killed_worker_loses_nothing(engine):
    asked, killed = requests(150), []

    def kill() -> None:
        victim = replica_processes()[0]
        killed.append(victim.pid)
        victim.kill()

    answered(engine, requests(3))  # all are there
    timer = later(0.4, kill)
    assert answered(engine, asked) == alone(asked)
    timer.join()
    assert killed


def test_a_machine_that_vanishes_loses_nothing(three):
    asked = requests(200)
    extra = three.add_node(num_cpus=1)
    with over(three, replicas=4) as engine:
        answered(engine, requests(3))
        timer = later(0.4, lambda: three.remove_node(extra, allow_graceful=False))
        assert answered(engine, asked) == alone(asked)
        timer.join()


def test_a_slow_machine_does_not_hold_up_the_rest(three):
    slow = three.add_node(num_cpus=1, env_vars={"SRLM_SLOW": "1"})
    try:
        with over(three, replicas=4) as engine:
            answered(engine, requests(40))  # all have begun
            began = time.monotonic()
            assert answered(engine, requests(120)) == alone(requests(120))
            # 120 requests by three machines take 0.8 s; four by the slow one 1.6, and it may take many.
            assert time.monotonic() - began < 6
    finally:
        three.remove_node(slow)


def test_a_request_that_ends_every_worker_is_set_aside_and_named(engine):
    asked = requests(30)
    poison = Request(id="bad", conversation=ask("POISON, please."), purpose="response", seed=1, max_tokens=8)
    with pytest.raises(PoisonRequest, match="request bad") as error:
        answered(engine, [*asked[:10], poison, *asked[10:]])
    assert error.value.request_ids == ("bad",)
    assert answered(engine, asked) == alone(asked)


def test_where_every_request_ends_its_worker_it_is_not_the_requests(three):
    with over(three) as engine, pytest.raises(EngineError, match="it is not the requests"):
        answered(engine, requests(8, "POISON"))


def test_stages_keep_a_cluster_busy_and_write_what_one_machine_writes(engine):
    section = ResponsesSection(block=2, samples=2)
    prompts = [Prompt.of(f"Say something about {n}.", (), n) for n in range(30)]
    rubric = grading_rubric("additive")

    def written(by: Engine) -> list[str]:
        blocks = list(respond(section, by, prompts))
        responses = [one for block in blocks for one in block.records]
        assert [block.done for block in blocks] == list(range(2, 31, 2))
        judged = judge(JudgeSection(block=3), by, rubric, responses)
        return [
            one.model_dump_json() for one in [*responses, *(one for block in judged for one in block.records)]
        ]

    assert written(engine) == written(make_engine(ScriptedEngineSection(), NOBODY))


def test_a_prompt_that_is_poison_costs_only_itself(engine):
    prompts = [Prompt.of(text, (), n) for n, text in enumerate(["One.", "POISON.", "Three."])]
    (block,) = respond(ResponsesSection(samples=2), engine, prompts)
    assert [one.prompt for one in block.records] == ["One.", "One.", "Three.", "Three."]
    assert block.counts["no answer: ended its worker"] == 1


def test_a_local_engine_writes_the_same_greedily_and_refuses_what_is_too_long(three, tiny):
    local = LocalEngineSection(device="cpu", dtype="float32")
    asked = [
        Request(
            id=f"r{n}",
            conversation=ask("word " * n + "?"),
            purpose="response",
            seed=n,
            max_tokens=6,
            temperature=0,
        )
        for n in range(9)
    ]
    long = [
        Request(id=name, conversation=ask("word " * 9000), purpose="response", seed=0, max_tokens=6)
        for name in "ab"
    ]
    one = make_engine(local, tiny)
    with over(three, tiny, engine=local, replicas=2, cpus=0.4) as engine:  # the shared one holds a little
        with pytest.raises(PromptTooLong) as error:
            answered(engine, [*asked[:5], *long, *asked[5:]])
        assert set(error.value.request_ids) == {"a", "b"}
        assert answered(engine, asked) == answered(one, asked)
    one.close()


def test_several_servers_share_the_work(three):
    with serving() as first, serving() as second:
        section = OpenAIEngineSection(base_url=first.url, model="fake", max_retries=0)
        first.delay = second.delay = 0.1  # or the replica that is there first would do it all
        keys = {"engine": section, "base_urls": (first.url, second.url), "replicas": None, "block": 2}
        with over(three, None, **keys) as engine:
            answered(engine, requests(80))
            spent = engine.spent()
        assert min(len(first.bodies), len(second.bodies)) > 20
        assert spent["requests"] == 160 == len(first.bodies) + len(second.bodies)


def test_a_model_that_a_worker_does_not_see_is_named(three):
    said = r"model folder nowhere(.|\n)*has no such folder"
    with over(three, engine=LocalEngineSection(), cpus=0.4) as engine, pytest.raises(EngineError, match=said):
        answered(engine, requests(2))


def test_gpus_that_no_machine_has_are_said_with_what_there_is(three):
    said = r"engine.gpus=1(.|\n)*1 cores and 0 GPUs(.|\n)*engine.gpus=0"
    keys = {"gpus": 1, "cpus": 1, "start_timeout_s": 2}
    with over(three, **keys) as engine, pytest.raises(EngineError, match=said):
        answered(engine, requests(2))


def test_the_loop_over_a_cluster_writes_what_it_writes_alone(three, finished, tmp_path):
    folder, config, _ = finished
    over_ray = RayEngineSection(engine=config.engine, address=three.address, replicas=2, block=2)
    again = config.model_copy(update={"engine": over_ray})
    with open_run(tmp_path / "run", again) as run:
        run_loop(again, run)

    def records(run: Path) -> dict[str, bytes]:
        return {str(path.relative_to(run)): path.read_bytes() for path in run.glob("M*/*s.jsonl")}

    assert len(records(folder)) == 8  # prompts, responses, judgments and pairs of M2 and M3
    assert records(tmp_path / "run") == records(folder)
