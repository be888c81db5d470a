"""A fault campaign: the records of a round over a Ray cluster of three machines, while things die.

Each run starts a cluster in network namespaces (machines.py), lets a driver write responses and judgments
with an engine that takes 30 ms a request, and brings one misfortune at a random moment. Then: are the record
files those of one machine, byte for byte, each record once; and how much longer did it take?

``python benchmarks/faults.py [--runs 5]`` runs each of the misfortunes so many times (root, iproute2).
"""

import argparse
import hashlib
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from machines import ADDRESS, Machine, cluster

from srlm.config import Config, JudgeSection, RayEngineSection, ResponsesSection, ScriptedEngineSection
from srlm.engines.opening import open_engine
from srlm.judging.rubric import load_rubric
from srlm.models import Model
from srlm.records import Judgment, Prompt, Response
from srlm.stages.judgments import judge
from srlm.stages.responses import respond
from srlm.store.blocks import Items
from srlm.store.run import open_run

NUM_PROMPTS = 240
SECONDS = "0.03"
POISON = "Say something about POISON."


class Prompts(Items[Prompt]):
    digest = "prompts"


def write(folder: Path, address: str, poison: bool) -> None:
    """The driver: responses to all prompts and judgments of these, in a run's folder."""
    texts = [f"Say something about {number}." for number in range(NUM_PROMPTS)]
    if poison:
        texts.insert(NUM_PROMPTS // 2, POISON)
    prompts = Prompts([Prompt.of(text, (), number) for number, text in enumerate(texts)])
    inner = ScriptedEngineSection()
    section = (
        RayEngineSection(engine=inner, address=address, replicas=3, cpus=1, block=8) if address else inner
    )
    config = Config(
        engine=section,
        responses=ResponsesSection(samples=2, block=16),
        judge=JudgeSection(samples=2, block=32),
    )
    model = Model("M1", Path("nowhere"), "0" * 64)
    with open_run(folder, config) as run, open_engine(config.engine, model) as engine:
        responses = run.records("M2/responses", Response, respond, config.responses, engine, prompts)
        rubric = load_rubric("additive")
        run.records("M2/judgments", Judgment, judge, config.judge, engine, rubric, responses)


def written(folder: Path) -> dict[str, str]:
    """SHA-256 of the record files."""
    return {
        path.stem: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted((folder / "M2").glob("*.jsonl"))
    }


def twice(folder: Path) -> int:
    """Records that are there more than once."""
    ids = [json.loads(line)["id"] for path in (folder / "M2").glob("*.jsonl") for line in path.open()]
    return len(ids) - len(set(ids))


def start(folder: Path, *, poison: bool = False) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--driver", str(folder), *(["--poison"] if poison else [])]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def kill_worker(machines: list[Machine], driver: subprocess.Popen[str], folder: Path) -> None:
    for pid in [pid for machine in machines for pid in machine.workers()][:1]:
        os.kill(pid, signal.SIGKILL)


def remove_machine(machines: list[Machine], driver: subprocess.Popen[str], folder: Path) -> None:
    machines[0].kill()


def kill_driver(machines: list[Machine], driver: subprocess.Popen[str], folder: Path) -> None:
    driver.kill()


def cut_network(machines: list[Machine], driver: subprocess.Popen[str], folder: Path) -> None:
    machines[0].cut(10)


def fill_store(machines: list[Machine], driver: subprocess.Popen[str], folder: Path) -> None:
    code = f"import ray, numpy, time; ray.init({ADDRESS!r}, log_to_driver=False);"
    code += "kept = [ray.put(numpy.ones(20_000_000 // 8)) for _ in range(8)]; time.sleep(8)"
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, timeout=60)


def nothing(machines: list[Machine], driver: subprocess.Popen[str], folder: Path) -> None:
    """Left alone; a slow machine or a poison request is bad luck enough."""


MISFORTUNES: dict[str, Callable[[list[Machine], subprocess.Popen[str], Path], None]] = {
    "none": nothing,
    "worker killed": kill_worker,
    "machine lost": remove_machine,
    "driver killed": kill_driver,
    "object store full": fill_store,
    "network cut for 10 s": cut_network,
    "a machine 20 times slower": nothing,
    "poison request": nothing,
}


def campaign(misfortune: str, seed: int) -> dict:
    """One run with one misfortune: seconds, drivers needed, what differs from one machine."""
    chance, poison = random.Random(seed), misfortune == "poison request"
    slow = 1 if "slower" in misfortune else 0
    with (
        tempfile.TemporaryDirectory() as made,
        cluster(3, slow=slow, SRLM_SECONDS_A_REQUEST=SECONDS) as machines,
    ):
        folder, plain = Path(made, "run"), Path(made, "plain")
        began = time.monotonic()
        driver = start(folder, poison=poison)
        while driver.poll() is None and not (folder / "M2/responses.jsonl").exists():
            time.sleep(0.1)
        begun = time.monotonic() - began
        timer = threading.Timer(chance.uniform(0, 8), MISFORTUNES[misfortune], (machines, driver, folder))
        timer.start()
        drivers = 1
        said = driver.communicate(timeout=300)[1]
        while driver.returncode and drivers < 5:
            drivers += 1
            driver = start(folder, poison=poison)
            said = driver.communicate(timeout=300)[1]
        seconds = time.monotonic() - began - begun
        timer.join()
        write(plain, "", False)
        found, wanted = written(folder), written(plain)
        return {
            "misfortune": misfortune, "seconds": round(seconds, 1), "drivers": drivers,
            "different": sorted(name for name in wanted if found.get(name) != wanted[name]),
            "twice": twice(folder), "named": poison and "request" in said and "ended its worker" in said,
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
    for misfortune in asked.only:
        mine = [one for one in found if one["misfortune"] == misfortune]
        bad = sum(bool(one["different"] or one["twice"] or one["status"]) for one in mine)
        seconds = statistics.median(one["seconds"] for one in mine)
        print(f"| {misfortune} | {len(mine)} | {bad} | {seconds:.1f} |")
    return None


if __name__ == "__main__":
    main()
