"""A fault campaign: the records of a round over a Ray cluster of three machines, while things die.

Each run starts a cluster in network namespaces (machines.py), lets a driver write responses and judgments
with an engine that takes 30 ms a request, and brings one misfortune at a random moment. Then: are the record
files those of one machine, byte for byte, each record once; and how much longer did it take? A run whose
misfortune struck nothing, as a machine without a worker, says so and does not count.

``python benchmarks/faults.py [--runs 5]`` runs each of the misfortunes so many times (root, iproute2).
"""

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from machines import ADDRESS, Machine, cluster
from small_round import counted, write_round, written

from srlm.config import Config, JudgeSection, RayEngineSection, ResponsesSection, ScriptedEngineSection
from srlm.models import Model

NUM_PROMPTS = 240
SECONDS = "0.03"
POISON = "Say something about POISON."
THROUGH_THE_STORE = {"RAY_max_direct_call_object_size": "1"}
"""Replies go by the object stores of the workers' machines, where small ones would go with the message."""
FILL = """
import sys, time, numpy, ray
from pathlib import Path
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy as On
ray.init(sys.argv[1], log_to_driver=False)
@ray.remote(num_cpus=0)
class Hoard:
    def fill(self):
        self.kept = [ray.put(numpy.ones(20_000_000 // 8)) for _ in range(8)]
nodes = [node["NodeID"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
hoards = [Hoard.options(scheduling_strategy=On(node, soft=False)).remote() for node in nodes]
ray.get([hoard.fill.remote() for hoard in hoards])
spilled = list(Path("/tmp/ray/session_latest").glob("ray_spilled_objects*/*"))
print(len(nodes), len(spilled), flush=True)
time.sleep(8)
"""


def write(folder: Path, address: str, poison: bool) -> None:
    """The driver: responses to all prompts and judgments of these, in a run's folder."""
    texts = [f"Say something about {number}." for number in range(NUM_PROMPTS)]
    if poison:
        texts.insert(NUM_PROMPTS // 2, POISON)
    inner = ScriptedEngineSection()
    section = (
        RayEngineSection(engine=inner, address=address, replicas=3, cpus=1, block=8) if address else inner
    )
    config = Config(
        engine=section,
        responses=ResponsesSection(samples=2, block=16),
        judge=JudgeSection(samples=2, block=32),
    )
    write_round(folder, config, Model("M1", Path("nowhere"), "0" * 64), texts)


def start(folder: Path, *, poison: bool = False) -> "subprocess.Popen[str]":
    command = [sys.executable, __file__, "--driver", str(folder), *(["--poison"] if poison else [])]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


# Each misfortune returns what it struck, nothing where it struck nothing.


def kill_worker(machines: list[Machine], driver: "subprocess.Popen[str]") -> str:
    workers = [pid for machine in machines for pid in machine.workers()]
    for pid in workers[:1]:
        os.kill(pid, signal.SIGKILL)
    return f"worker {workers[0]}" if workers and driver.poll() is None else ""


def remove_machine(machines: list[Machine], driver: "subprocess.Popen[str]") -> str:
    held = machines[0].workers() if driver.poll() is None else []
    machines[0].kill()
    return f"a machine with worker {held[0]}" if held else ""


def kill_driver(machines: list[Machine], driver: "subprocess.Popen[str]") -> str:
    at_work = driver.poll() is None
    driver.kill()
    return f"driver {driver.pid}" if at_work else ""


def cut_network(machines: list[Machine], driver: "subprocess.Popen[str]") -> str:
    held = machines[0].workers() if driver.poll() is None else []
    machines[0].cut(10)
    return f"a machine with worker {held[0]}" if held else ""


def fill_stores(machines: list[Machine], driver: "subprocess.Popen[str]") -> str:
    at_work = driver.poll() is None
    command = [sys.executable, "-c", FILL, ADDRESS]
    said = subprocess.run(command, capture_output=True, text=True, check=True, timeout=90).stdout
    num_machines, num_spilled = said.split()
    full = at_work and int(num_spilled) > 0
    return f"stores of {num_machines} machines, {num_spilled} objects spilled to disk" if full else ""


def slow_machine(machines: list[Machine], driver: "subprocess.Popen[str]") -> str:
    held = machines[-1].workers() if driver.poll() is None else []
    return f"a slow machine with worker {held[0]}" if held else ""


def poison(machines: list[Machine], driver: "subprocess.Popen[str]") -> str:
    return "a request"  # whether it was named is looked at in the end


def nothing(machines: list[Machine], driver: "subprocess.Popen[str]") -> str:
    return "nothing"


MISFORTUNES: dict[str, Callable[[list[Machine], "subprocess.Popen[str]"], str]] = {
    "none": nothing,
    "worker killed": kill_worker,
    "machine lost": remove_machine,
    "driver killed": kill_driver,
    "object stores full": fill_stores,
    "network cut for 10 s": cut_network,
    "a machine 20 times slower": slow_machine,
    "poison request": poison,
}


def campaign(misfortune: str, seed: int) -> dict:
    """One run with one misfortune: what it struck, seconds, drivers needed, what differs from one machine."""
    chance, poisoned = random.Random(f"{misfortune} {seed}"), misfortune == "poison request"
    env = {"SRLM_SECONDS_A_REQUEST": SECONDS}
    env |= THROUGH_THE_STORE if misfortune == "object stores full" else {}
    with (
        tempfile.TemporaryDirectory() as made,
        cluster(3, slow=int("slower" in misfortune), **env) as machines,
        ThreadPoolExecutor() as pool,
    ):
        folder, plain = Path(made, "run"), Path(made, "plain")
        driver = start(folder, poison=poisoned)
        while driver.poll() is None and not (folder / "M2/responses.jsonl").exists():
            time.sleep(0.1)
        begun = time.monotonic()
        moment = chance.uniform(0, 8)
        struck = pool.submit(lambda: (time.sleep(moment), MISFORTUNES[misfortune](machines, driver))[1])
        drivers = 1
        said = driver.communicate(timeout=300)[1]
        while driver.returncode and drivers < 5:
            drivers += 1
            driver = start(folder, poison=poisoned)
            said = driver.communicate(timeout=300)[1]
        seconds = time.monotonic() - begun
        hit = struck.result()
        if poisoned and not ("request" in said and "ended its worker" in said):
            hit = ""
        write(plain, "", False)
        found, wanted = written(folder), written(plain)
        return {
            "misfortune": misfortune, "struck": hit, "after": round(moment, 1), "seconds": round(seconds, 1),
            "drivers": drivers,
            "different": sorted(name for name in wanted if found.get(name) != wanted[name]),
            "records": counted(folder)[0], "twice": counted(folder)[1],
            "status": driver.returncode, "said": said.strip().splitlines()[-1:] if driver.returncode else [],
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", nargs="*", default=list(MISFORTUNES))
    parser.add_argument("--driver", type=Path)
    parser.add_argument("--poison", action="store_true")
    asked = parser.parse_args()
    if asked.driver:
        return write(asked.driver, ADDRESS, asked.poison)
    found: list[dict] = []
    for misfortune in asked.only:
        for seed in range(asked.runs):
            found.append(campaign(misfortune, seed))
            print(json.dumps(found[-1]), flush=True)
    plain = statistics.median([one["seconds"] for one in found if one["misfortune"] == "none"] or [0.0])
    print("| misfortune | runs | struck | wrong | seconds, median | seconds lost, median (most) |")
    for misfortune in asked.only:
        mine = [one for one in found if one["misfortune"] == misfortune]
        struck = [one for one in mine if one["struck"]]
        bad = sum(bool(one["different"] or one["twice"] or one["status"]) for one in mine)
        seconds = [one["seconds"] for one in struck] or [0.0]
        middle = statistics.median(seconds)
        lost = f"{middle - plain:.1f} ({max(seconds) - plain:.1f})"
        print(f"| {misfortune} | {len(mine)} | {len(struck)} | {bad} | {middle:.1f} | {lost} |")
    return None


if __name__ == "__main__":
    main()
