"""How a cluster is asked for, and what a replica takes of it; no cluster is needed."""

import pytest

from srlm.config import LocalEngineSection, RayEngineSection, VllmEngineSection
from srlm.engines.opening import check_engine
from srlm.engines.ray.cluster import reach, share_of
from srlm.errors import ConfigError, EngineError
from srlm.loop import run_loop
from srlm.recipes import load
from srlm.store.run import open_run


def test_servers_are_for_an_engine_that_asks_them():
    with pytest.raises(ConfigError, match="base_urls are servers"):
        load("smollm2", ["engine.kind=ray", "engine.base_urls=http://127.0.0.1:8000/v1"])
    found = load("smollm2", ["engine.kind=ray", "engine.engine.batch_tokens=4096"]).config.engine
    assert found == RayEngineSection(engine=LocalEngineSection(batch_tokens=4096))
    with pytest.raises(
        ConfigError, match=r"engine.engine.batch_token: no such key; did you mean 'engine.engine.b"
    ):
        load("smollm2", ["engine.kind=ray", "engine.engine.batch_token=4096"])


def test_what_a_replica_takes_follows_from_the_machines():
    def node(**resources: float) -> dict:
        return {"Resources": resources}

    cores = [node(CPU=8), node(CPU=8)]
    assert share_of(RayEngineSection(), cores).cpus == 8
    assert share_of(RayEngineSection(), cores).room(cores) == 2
    assert share_of(RayEngineSection(replicas=8), cores).cpus == 2
    login = [node(memory=2**30), *cores]  # with a machine that joined by --num-cpus=0
    assert share_of(RayEngineSection(), login).cpus == 8
    assert share_of(RayEngineSection(replicas=2), login).cpus == 8
    assert share_of(RayEngineSection(replicas=2), login[:1]).cpus == 0.5
    gpus = [node(CPU=16, GPU=8), node(CPU=16, GPU=8)]
    assert (share_of(RayEngineSection(), gpus).cpus, share_of(RayEngineSection(), gpus).gpus) == (1, 1)
    assert share_of(RayEngineSection(), gpus).room(gpus) == 16
    assert share_of(RayEngineSection(gpus=4), gpus).room(gpus) == 4
    assert share_of(RayEngineSection(engine=VllmEngineSection(tensor_parallel=8)), gpus).room(gpus) == 2


def test_a_worker_that_would_write_otherwise_or_cannot_is_refused():
    replica = pytest.importorskip("srlm.engines.ray.replica", reason="Ray is not installed")
    here = replica.alike_versions()
    assert {"srlm", "torch", "transformers"} <= set(here)
    replica.check(replica.Place("10.0.0.7", here, needed=2**30, free=2**30))
    replica.check(replica.Place("10.0.0.7", here | {"vllm": "0.1"}))  # which this process does not use
    with pytest.raises(EngineError, match=r"the worker on 10.0.0.7(.|\n)*torch 1.0 there, "):
        replica.check(replica.Place("10.0.0.7", here | {"torch": "1.0"}))
    with pytest.raises(EngineError, match=r"a replica on 10.0.0.7(.|\n)*take 26.0 GiB, 8.0 GiB are free"):
        replica.check(replica.Place("10.0.0.7", here, needed=26 * 2**30, free=8 * 2**30))


def test_a_run_says_before_any_work_that_its_engine_cannot_begin(tiny, tmp_path):
    pytest.importorskip("ray", reason="Ray is not installed")
    overrides = [f"model.name={tiny.path}", "engine.kind=ray", "engine.engine.kind=scripted"]
    config = load("smollm2", [*overrides, "engine.address=127.0.0.1:1"]).config
    with (
        open_run(tmp_path / "run", config) as run,
        pytest.raises(EngineError, match="no Ray cluster can be reached"),
    ):
        run_loop(config, run)
    assert not list((tmp_path / "run").rglob("*.step.json"))


@pytest.mark.slow
def test_a_cluster_that_is_started_here_says_at_once_that_it_has_no_room():
    pytest.importorskip("ray", reason="Ray is not installed")
    section = RayEngineSection(engine=LocalEngineSection(), address="local", gpus=64)
    with pytest.raises(EngineError, match=r"engine.gpus=64(.|\n)*has room for one: "):
        check_engine(section)


def test_a_machine_that_reaches_no_cluster_is_told_to_join_it():
    pytest.importorskip("ray", reason="Ray is not installed")
    with pytest.raises(EngineError, match=r"ray start --num-cpus=0 --address=HOST:6379"):
        reach("127.0.0.1:1")
