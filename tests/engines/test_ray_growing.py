"""A cluster that starts with a head alone, and gets its machines from Ray's autoscaler as they are asked for.

Head and driver are processes of their own, as in test_ray_out_of_reach.py.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'srlm[ray]'")

from ray._private import services

pytestmark = pytest.mark.slow

UNLUCKY = Path(__file__).parents[2] / "benchmarks/unlucky"
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
HEAD = "fffffffffffffffffffffffffffffffffffffffffffffffffff00000"
DRIVE = """
import json, sys, time
from pathlib import Path
import ray
from srlm.config import RayEngineSection, ScriptedEngineSection
from srlm.engines.base import Request
from srlm.engines.opening import open_engine
from srlm.models import Model
from srlm.records import ask
NOBODY = Model("M0", Path("nowhere"), "0" * 64)
asked = [
    Request(id=f"r{n}", conversation=ask(f"Name {n}."), purpose="response", seed=n, max_tokens=8)
    for n in range(48)
]
def workers():
    return sum(1 for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU"))
def over(replicas):
    section = RayEngineSection(
        engine=ScriptedEngineSection(), address=sys.argv[1], cpus=1, replicas=replicas, block=4
    )
    with open_engine(section, NOBODY) as engine:
        replies = {reply.request_id for reply in engine.generate(asked)}
        return [len(replies), workers()]
ray.init(sys.argv[1], log_to_driver=False)
said = {"at first": workers(), "two": over(2)}
end = time.monotonic() + 60
while workers() and time.monotonic() < end:
    time.sleep(0.2)
print(json.dumps(said | {"idle": workers(), "one": over(1)}))
"""


@pytest.fixture
def cluster(tmp_path) -> Iterator[tuple[str, dict[str, str]]]:
    """The address of a head without cores that may have three workers, and its drivers' environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"{services.get_node_ip_address()}:{free.getsockname()[1]}"
    told = tmp_path / "autoscaler.json"
    told.write_text(json.dumps(autoscaling(address)))
    env = os.environ | {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": secrets.token_hex(32),
        "RAY_USAGE_STATS_ENABLED": "0",
        "PYTHONPATH": os.pathsep.join([str(UNLUCKY), os.environ.get("PYTHONPATH", "")]),
        "SRLM_SECONDS_A_REQUEST": "0.2",
    }
    with (tmp_path / "head.log").open("w") as log:
        head = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), "start", "--head", "--block",
             "--num-cpus=0", "--include-dashboard=false",
             f"--port={address.rpartition(':')[2]}", f"--autoscaling-config={told}"],
            env=env | {
                "RAY_FAKE_CLUSTER": "1",
                "AUTOSCALER_UPDATE_INTERVAL_S": "1",
                "RAY_enable_autoscaler_v2": "1",
                "RAY_CLOUD_INSTANCE_ID": HEAD,
                "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD,
            },
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield address, env
    finally:
        for one in [*psutil.Process(head.pid).children(recursive=True), head]:
            try:
                one.kill()
            except psutil.NoSuchProcess:
                continue
        head.wait()


def autoscaling(address: str) -> dict[str, object]:
    """What Ray's autoscaler is told: up to three workers of one core, which go after 3 s without work."""
    nothing = ("setup", "initialization", "head_setup", "worker_setup", "head_start_ray", "worker_start_ray")
    return {
        "cluster_name": "growing",
        "max_workers": 3,
        "upscaling_speed": 100.0,
        "idle_timeout_minutes": 0.05,
        "provider": {
            "type": "external",
            "module": PROVIDER,
            "gcs_address": address,
            "head_node_id": HEAD,
            "launch_multiple": True,
        },
        "auth": {},
        "head_node_type": "ray.head.default",
        "available_node_types": {
            "ray.head.default": {"resources": {}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": {"CPU": 1}, "node_config": {}, "min_workers": 0, "max_workers": 3},
        },
        "file_mounts": {},
        "cluster_synced_files": [],
        "file_mounts_sync_continuously": False,
        "rsync_exclude": [],
        "rsync_filter": [],
    } | {f"{name}_commands": [] for name in nothing}


def test_what_replicas_ask_for_makes_a_cluster_grow_and_it_shrinks_when_they_end(cluster):
    address, env = cluster
    driver = subprocess.run(
        [sys.executable, "-c", DRIVE, address],
        env=env, capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert driver.returncode == 0, driver.stderr[-2000:]
    assert json.loads(driver.stdout) == {"at first": 0, "two": [48, 2], "idle": 0, "one": [48, 1]}
