"""What Ray costs: microseconds a request beside the engine alone, and a driver's memory over a million.

``python benchmarks/ray_overhead.py [--records 1000000]``; scripted text, so all that is timed is the way
there and back. Replicas run on this machine, on the same cores as the driver.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import psutil

from srlm.config import Config, RayEngineSection, ResponsesSection, ScriptedEngineSection
from srlm.engines.base import Engine, Request
from srlm.engines.opening import make_engine
from srlm.models import Model
from srlm.records import Prompt, Response, ask
from srlm.stages.responses import respond
from srlm.store.jsonl import BlockWriter, Records
from srlm.store.run import open_run

NOBODY = Model("M1", Path("nowhere"), "0" * 64)
REQUESTS = 4000


def requests() -> list[Request]:
    return [
        Request(id=f"r{n}", conversation=ask(f"Name {n}."), purpose="response", seed=n, max_tokens=64)
        for n in range(REQUESTS)
    ]


def over_ray(block: int) -> Engine:
    section = RayEngineSection(engine=ScriptedEngineSection(), address="local", replicas=2, block=block)
    return make_engine(section, NOBODY)


def microseconds(engine: Engine) -> float:
    """Of a request: the median of five."""
    found = []
    for _ in range(6):
        began = time.perf_counter()
        list(engine.generate(requests()))
        found.append((time.perf_counter() - began) / REQUESTS * 1e6)
    return statistics.median(found[1:])


def prompts(folder: Path, num: int) -> Records[Prompt]:
    """A file of prompts."""
    writer = BlockWriter(folder / "prompts.jsonl", 0)
    for start in range(0, num, 10_000):
        some = range(start, min(start + 10_000, num))
        writer.append(Prompt.of(f"Name something number {n}.", (), n) for n in some)
    writer.close()
    return Records(folder / "prompts.jsonl", Prompt, writer.digest, num)


class Watch:
    """The driver's memory on the way."""

    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def begin(self, step: str, done: int, total: int) -> None: ...
    def end(self, step: str, state: dict, skipped: bool) -> None: ...

    def advance(self, step: str, done: int, total: int, note: str = "") -> None:
        if done * 10 // total > len(self.seen):
            self.seen.append((done * 4, psutil.Process().memory_info().rss / 2**20))
            print(f"  {self.seen[-1][0]:>9,} records: {self.seen[-1][1]:.0f} MiB", flush=True)


def driver_memory(num_records: int) -> list[tuple[int, float]]:
    """(records, MiB) of a driver that writes so many responses over Ray."""
    watch, section = Watch(), ResponsesSection(samples=4, block=256, max_tokens=16)
    with tempfile.TemporaryDirectory() as made:
        asked = prompts(Path(made), num_records // 4)
        engine = over_ray(64)
        began = time.perf_counter()
        with open_run(Path(made) / "run", Config(responses=section), None, watch) as run:
            run.records("M2/responses", Response, respond, section, engine, asked)
        engine.close()
        print(f"  {num_records / (time.perf_counter() - began):,.0f} records a second")
    return watch.seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    asked = parser.parse_args()
    alone = microseconds(make_engine(ScriptedEngineSection(), NOBODY))
    print(f"alone: {alone:.0f} µs a request")
    for block in (1, 16, 64):
        engine = over_ray(block)
        print(f"over Ray, blocks of {block}: {microseconds(engine):.0f} µs a request")
        engine.close()
    driver_memory(asked.records)


if __name__ == "__main__":
    main()
