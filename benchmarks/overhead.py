"""What the loop itself costs: stages, records and files with an engine that takes no time.

Prompts, responses, judgments and pairs of one round through a real run folder, fsync and all. The
engine's own share, measured apart, is taken off.
"""

import shutil
import sys
import tempfile
import time
from pathlib import Path

import psutil
from texts import text

from srlm.config import Config, PromptsSection
from srlm.engines.scripted import ScriptedEngine
from srlm.judging.rubric import load_rubric
from srlm.records import Judgment, Pair, Prompt, Response, seed_for
from srlm.seeds import load_seed
from srlm.stages.judgments import judge
from srlm.stages.pairs import make_pairs
from srlm.stages.prompts import write_prompts
from srlm.stages.responses import respond
from srlm.store.run import open_run


class Engine(ScriptedEngine):
    """Scripted text, and how long making it took."""

    def __init__(self) -> None:
        super().__init__(self._say)
        self.seconds = 0.0

    def _say(self, request, draw) -> str:
        started = time.perf_counter()
        if request.purpose == "judgment":
            said = f"It answers.\nScore: {seed_for(request.seed, draw) % 6}"
        else:
            said = f"T {text(seed_for(request.seed, draw))}"
        self.seconds += time.perf_counter() - started
        return said


def one_round(folder: Path, num_records: int) -> tuple[int, float]:
    """Records made, and seconds outside the engine."""
    config = Config(prompts=PromptsSection(count=round(num_records / 10)))
    seed, engine, rubric = load_seed(config.data), Engine(), load_rubric("additive")
    with open_run(folder, config) as run:
        started = time.perf_counter()  # opening a run, a quarter of a second, happens once
        prompts = run.records(
            "M2/prompts", Prompt, write_prompts, config.prompts, engine, seed.instructions, []
        )
        responses = run.records("M2/responses", Response, respond, config.responses, engine, prompts)
        judgments = run.records("M2/judgments", Judgment, judge, config.judge, engine, rubric, responses)
        pairs = run.records("M2/pairs", Pair, make_pairs, config.pairs, responses, judgments)
    made = len(prompts) + len(responses) + len(judgments) + len(pairs)
    return made, time.perf_counter() - started - engine.seconds


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or [1_000, 10_000, 100_000, 1_000_000]
    print("   records   ms a record   process MiB")
    for size in sizes:
        folder = Path(tempfile.mkdtemp())
        made, seconds = one_round(folder, size)
        memory = psutil.Process().memory_info().rss / 2**20
        print(f"{made:>10,} {1000 * seconds / made:>13.3f} {memory:>13.0f}", flush=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
