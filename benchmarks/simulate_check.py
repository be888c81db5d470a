"""The simulation beside measured runs: ``python benchmarks/simulate_check.py MEASURED.json``.

The file says what a replica costs and what was run::

    {"cost": {"load": 12.0, "dispatch": 0.05, "token": 0.0002, "step": 0.03, "row": 0.001, "rows": 256},
     "runs": [{"stage": "M2/responses", "replicas": 2, "seconds": 61.2, "task": 16, "block": 128,
               "in_flight": 2, "head": 0, "loads": false, "speculate": false,
               "requests": [[prompt tokens, [answer tokens ...]] ...]}]}

Seconds and tokens are measured; ``requests`` stand in the order in which they were asked. Printed are
measured and predicted seconds, and the latter scaled by the run of the same stage on fewest replicas: what is
off there is the cost of a replica, what is off beyond it is the scheduler. ``--record FILE`` makes such a
file from threads that sleep instead of working, 1, 2 and 4 of them: it checks the order of events. ``--ray
FILE`` does so from the engine over Ray itself, whose workers sleep, while the stage of responses runs.
"""

import argparse
import json
import os
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from srlm.config import RayEngineSection, ResponsesSection, ScriptedEngineSection
from srlm.engines.base import Engine
from srlm.engines.opening import make_engine
from srlm.models import Model
from srlm.planning.rates import ReplicaCost
from srlm.planning.simulation import Stage, Task, fleet, simulate
from srlm.records import Prompt
from srlm.stages.responses import respond


@dataclass(frozen=True)
class Compared:
    """A run: measured and predicted seconds, and those predicted from the smallest run of the stage."""

    stage: str
    replicas: int
    measured: float
    predicted: float
    scaled: float


def stage_of(run: dict) -> Stage:
    """A recorded run's requests as tasks."""
    requests, tasks = run["requests"], []
    for start in range(0, len(requests), run["block"]):
        block = requests[start : start + run["block"]]
        for first in range(0, len(block), run["task"]):
            taken = block[first : first + run["task"]]
            lengths = tuple(length for _, answers in taken for length in answers)
            tasks.append(Task(start // run["block"], sum(prompt for prompt, _ in taken), lengths))
    return Stage(run["stage"], tuple(tasks), run["head"], run["in_flight"])


def compare(recorded: dict) -> list[Compared]:
    """Every run beside its prediction, by stage and number of replicas."""
    cost = ReplicaCost(**recorded["cost"])
    runs = sorted(recorded["runs"], key=lambda run: (run["stage"], run["replicas"]))
    smallest: dict[str, float] = {}
    found = []
    for run in runs:
        replicas = fleet(cost, run["replicas"], speculate=run["speculate"])
        predicted = simulate(stage_of(run), replicas, loads=run["loads"]).seconds
        factor = smallest.setdefault(run["stage"], run["seconds"] / predicted)
        found.append(Compared(run["stage"], run["replicas"], run["seconds"], predicted, predicted * factor))
    return found


def record(seconds_a_step: float = 0.002) -> dict:
    """Runs of 1, 2 and 4 threads that sleep as long as a replica would work."""
    chance = random.Random(0)
    cost = ReplicaCost(load=0.0, dispatch=0.0, token=0.0, step=seconds_a_step, row=0.0, rows=64)
    requests = [[10, [chance.randint(2, 30) for _ in range(2)]] for _ in range(96)]
    shape = {"task": 4, "block": 16, "head": 0, "loads": False, "speculate": False, "requests": requests}
    runs = []
    for in_flight in (1, 2):
        for replicas in (1, 2, 4):
            run = {"stage": f"{in_flight} in flight", "replicas": replicas, "in_flight": in_flight, **shape}
            runs.append({**run, "seconds": _slept(stage_of(run), cost, replicas)})
    return {"cost": asdict(cost), "runs": runs}


def _slept(stage: Stage, cost: ReplicaCost, replicas: int) -> float:
    """Seconds until all tasks were slept through, no more blocks open than the stage allows."""
    blocks = [[task for task in stage.tasks if task.block == n] for n in range(stage.tasks[-1].block + 1)]
    done = [threading.Event() for _ in blocks]
    with ThreadPoolExecutor(replicas) as pool:
        started = time.perf_counter()
        for number, block in enumerate(blocks):
            if number >= stage.in_flight:
                done[number - stage.in_flight].wait()
            left = [len(block)]
            for task in block:
                future = pool.submit(time.sleep, task.seconds(cost))
                future.add_done_callback(lambda _, number=number, left=left: _count(left, done, number))
    return time.perf_counter() - started


def record_ray(seconds: float = 0.05) -> dict:
    """Runs of 1, 2 and 4 workers of Ray, which sleep 1 to 9 times so long for a request, after each is up."""
    os.environ["SRLM_SECONDS_A_REQUEST"] = str(seconds)
    os.environ["PYTHONPATH"] = str(Path(__file__).with_name("unlucky"))
    chance = random.Random(0)
    times = [chance.randint(1, 9) for _ in range(192)]
    prompts = [Prompt.of(f"Answer {number}, TIMES {long}.", (), number) for number, long in enumerate(times)]
    shape = {"task": 4, "block": 16, "head": 0, "loads": False, "speculate": False}
    runs = []
    for replicas in (1, 2, 4):
        section = RayEngineSection(
            engine=ScriptedEngineSection(), address="local", replicas=replicas, block=shape["task"]
        )
        engine = make_engine(section, Model("M1", Path("nowhere"), "0" * 64))
        _wake(engine, replicas, seconds)
        began = time.perf_counter()
        for _ in respond(ResponsesSection(samples=2, block=shape["block"]), engine, prompts):
            pass
        taken = time.perf_counter() - began
        open_blocks = -(-engine.capacity // shape["block"])  # type: ignore[attr-defined]
        engine.close()
        asked = [[0, [long]] for long in times]
        run = {"stage": "responses over Ray", "replicas": replicas, "in_flight": open_blocks, **shape}
        runs.append({**run, "requests": asked, "seconds": taken})
    cost = ReplicaCost(load=0.0, dispatch=0.0, token=0.0, step=seconds, row=0.0, rows=1)
    return {"cost": asdict(cost), "runs": runs}


def _wake(engine: Engine, replicas: int, seconds: float) -> None:
    """Ask until all replicas answer: until it takes as long as when they share the work."""
    prompts = [Prompt.of(f"Wake up, {number}.", (), number) for number in range(32 * replicas)]
    taken = float("inf")
    while taken > 1.3 * 32 * seconds:
        began = time.perf_counter()
        for _ in respond(ResponsesSection(samples=2, block=len(prompts)), engine, prompts):
            pass
        taken = time.perf_counter() - began


_LOCK = threading.Lock()


def _count(left: list[int], done: list[threading.Event], number: int) -> None:
    """One task less; a block counts as done when it and all before it are."""
    with _LOCK:
        left[0] -= 1
        if not left[0]:
            done[number].set()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("measured", nargs="?", type=Path, help="a JSON file of measured runs")
    parser.add_argument("--record", type=Path, metavar="FILE", help="sleep, and keep what was measured")
    parser.add_argument("--ray", type=Path, metavar="FILE", help="the same with workers of Ray")
    asked = parser.parse_args()
    if asked.record:
        asked.record.write_text(json.dumps(record()) + "\n")
    if asked.ray:
        asked.ray.write_text(json.dumps(record_ray()) + "\n")
    path = asked.ray or asked.record or asked.measured
    if path is None:
        parser.error("name a JSON file of measured runs, or --record FILE, or --ray FILE")
    print(
        f"{'stage':<20}{'replicas':>9}{'measured':>11}{'predicted':>11}{'ratio':>8}{'scaled':>11}{'ratio':>8}"
    )
    for one in compare(json.loads(path.read_text())):
        ratios = one.predicted / one.measured, one.scaled / one.measured
        first = (
            f"{one.stage:<20}{one.replicas:>9}{one.measured:>11.2f}{one.predicted:>11.2f}{ratios[0]:>8.2f}"
        )
        print(f"{first}{one.scaled:>11.2f}{ratios[1]:>8.2f}")


if __name__ == "__main__":
    main()
