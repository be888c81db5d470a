"""A cluster that is not there, that wants a token, or that is lost in the middle: what the driver says.

Driver and cluster are processes of their own: the way in which Ray ends a process is part of the test.
"""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'srlm[ray]'")

pytestmark = pytest.mark.slow

UNLUCKY = Path(__file__).parents[2] / "benchmarks/unlucky"
HOLD = """
import sys
from ray.cluster_utils import Cluster
cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
cluster.add_node(num_cpus=1)
print(cluster.address, flush=True)
sys.stdin.read()
"""
DRIVE = """
import sys
from pathlib import Path
from srlm.config import RayEngineSection, ScriptedEngineSection
from srlm.engines.base import Request
from srlm.engines.opening import open_engine
from srlm.models import Model
from srlm.records import ask
section = RayEngineSection(engine=ScriptedEngineSection(), address=sys.argv[1], replicas=2, block=4)
asked = [
    Request(id=f"r{n}", conversation=ask(f"Name {n}."), purpose="response", seed=n, max_tokens=8)
    for n in range(1000)
]
with open_engine(section, Model("M0", Path("nowhere"), "0" * 64)) as engine:
    list(engine.generate(asked[:8]))
    print("at work", flush=True)
    list(engine.generate(asked))
"""


@dataclass(frozen=True)
class Held:
    """A cluster that a process holds: where, what its drivers need, and its own processes."""

    address: str
    env: dict[str, str]
    processes: list[psutil.Process]


@contextmanager
def held() -> Iterator[Held]:
    """A cluster of two machines that wants a token and takes 0.3 s a scripted request."""
    env = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join([str(UNLUCKY), os.environ.get("PYTHONPATH", "")]),
        "SRLM_SECONDS_A_REQUEST": "0.3",
    }
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD],
        env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    processes: list[psutil.Process] = []
    try:
        address = holder.stdout.readline().strip()
        processes = psutil.Process(holder.pid).children(recursive=True)
        yield Held(address, env, processes)
    finally:
        for one in [*processes, holder]:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        holder.wait()


def drive(address: str, env: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DRIVE, address],
        env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_cluster_that_is_not_there():
    said = drive("127.0.0.1:1", dict(os.environ)).communicate(timeout=90)[1]
    assert "EngineError: engine.address=127.0.0.1:1" in said
    assert "no Ray cluster can be reached there" in said


def test_a_cluster_that_wants_a_token_says_where_it_goes():
    with held() as cluster:
        said = drive(cluster.address, cluster.env | {"RAY_AUTH_MODE": "disabled"}).communicate(timeout=90)[1]
    assert f"EngineError: the Ray cluster {cluster.address}" in said
    assert "RAY_AUTH_MODE=token" in said


@pytest.mark.parametrize("lost", ["gcs_server", ""], ids=["its head", "all of it"])
def test_a_cluster_that_is_lost_in_the_middle_ends_the_run_with_the_way_on(lost):
    with held() as cluster:
        driver = drive(cluster.address, cluster.env)
        assert driver.stdout.readline() == "at work\n"
        for one in cluster.processes:
            if lost in one.name():
                one.kill()
        began = time.monotonic()
        said = driver.communicate(timeout=120)[1]
    assert time.monotonic() - began < 60
    assert driver.returncode == 1
    assert "ClusterLost: the Ray cluster" in said
    assert "run the same command again" in said
