"""Time and memory of a round's writing for 100 to 10,000 prompts: are they linear?

Prompts, responses, judgments and pairs of one round through a real run folder, fsync and all: with an engine
that takes no time (its share is measured apart and taken off), and with a random two-layer model that really
decodes. Each size runs in a process of its own; the slope is that of the logarithms, 1 for linear.

``python benchmarks/growth.py [--engine scripted tiny] [--prompts 100 1000 10000]`` keeps its figures in
docs/performance/growth.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from texts import text
from tiny_model import save_tiny_model

from srlm.chat_format import load_tokenizer
from srlm.config import (
    Config,
    JudgeSection,
    LocalEngineSection,
    ModelSection,
    PromptsSection,
    ResponsesSection,
)
from srlm.engines.scripted import ScriptedEngine
from srlm.judging.rubric import load_rubric
from srlm.memory import peak_memory_gib
from srlm.models import Model, folder_digest, resolve
from srlm.records import Judgment, Pair, Prompt, Response, seed_for
from srlm.seeds import load_seed
from srlm.stages.judgments import judge
from srlm.stages.pairs import make_pairs
from srlm.stages.prompts import write_prompts
from srlm.stages.responses import respond
from srlm.store.run import open_run

KEPT = Path(__file__).parents[1] / "docs" / "performance" / "growth.json"


class Scripted(ScriptedEngine):
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


def tiny_engine(folder: Path):
    """A random two-layer Llama with SmolLM2's tokenizer, on the local engine."""
    from srlm.engines.local import LocalEngine

    # With a flat head almost every token is as likely as any, and choosing one is all the work.
    save_tiny_model(folder, load_tokenizer(resolve(ModelSection()).path), head=4)
    return LocalEngine(LocalEngineSection(device="cpu"), Model("tiny", folder, folder_digest(folder)))


def one_round(folder: Path, kind: str, num_prompts: int) -> dict:
    """Records made, seconds outside the scripted engine, and the most memory of this process."""
    config = Config(
        prompts=PromptsSection(count=num_prompts),
        responses=ResponsesSection(max_tokens=16),
        judge=JudgeSection(max_tokens=16, retries=0),
    )
    seed, writer, rubric = load_seed(config.data), Scripted(), load_rubric("additive")
    engine = writer if kind == "scripted" else tiny_engine(folder / "tiny")
    with open_run(folder / "run", config) as run:
        started = time.perf_counter()  # opening a run, a quarter of a second, happens once
        given = (writer, seed.instructions, [])
        prompts = run.records("M2/prompts", Prompt, write_prompts, config.prompts, *given)
        responses = run.records("M2/responses", Response, respond, config.responses, engine, prompts)
        judgments = run.records("M2/judgments", Judgment, judge, config.judge, engine, rubric, responses)
        pairs = run.records("M2/pairs", Pair, make_pairs, config.pairs, responses, judgments)
    return {
        "engine": kind,
        "prompts": len(prompts),
        "records": len(prompts) + len(responses) + len(judgments) + len(pairs),
        "seconds": time.perf_counter() - started - writer.seconds,
        "gib": peak_memory_gib(),
    }


def measured(kind: str, num_prompts: int) -> dict:
    """One round in a process of its own."""
    command = [sys.executable, __file__, "--alone", "--engine", kind, "--prompts", str(num_prompts)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def slope(runs: list[dict], figure: str) -> float:
    """Least squares of log(figure) on log(prompts)."""
    import numpy as np

    sizes = np.log([run["prompts"] for run in runs])
    return float(np.polyfit(sizes, np.log([run[figure] for run in runs]), 1)[0])


def line(run: dict) -> str:
    each = 1000 * run["seconds"] / run["records"]
    counts = f"{run['prompts']:>10,} {run['records']:>10,}"
    return f"{counts} {run['seconds']:>9.1f} {each:>12.3f} {run['gib']:>6.2f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", nargs="*", default=["scripted", "tiny"])
    parser.add_argument("--prompts", nargs="*", type=int, default=[100, 1_000, 10_000])
    parser.add_argument("--alone", action="store_true", help="one round, here, as a line of JSON")
    asked = parser.parse_args()
    if asked.alone:
        folder = Path(tempfile.mkdtemp())
        print(json.dumps(one_round(folder, asked.engine[0], asked.prompts[0])))
        shutil.rmtree(folder)
        return
    found = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    for kind in asked.engine:
        runs = []
        print("   prompts    records   seconds  ms a record    GiB")
        for size in asked.prompts:
            run = measured(kind, size)
            runs.append(run)
            print(line(run), flush=True)
        slopes = {figure: slope(runs, figure) for figure in ("seconds", "gib")} if len(runs) > 1 else {}
        print(f"{kind}: slope of time {slopes.get('seconds', 0):.2f}, of memory {slopes.get('gib', 0):.2f}")
        found[kind] = {"runs": runs, "slopes": slopes}
        KEPT.parent.mkdir(parents=True, exist_ok=True)
        KEPT.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
