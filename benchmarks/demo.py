"""``make demo`` from a clean clone: wall time with a warm download cache, and the largest process."""

import json
import resource
import subprocess
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        clone = Path(temporary) / "srlm"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        subprocess.run([clone / "scripts/setup"], check=True)
        started = time.monotonic()
        subprocess.run(["make", "demo"], cwd=clone, check=True)
        minutes = (time.monotonic() - started) / 60
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
        run = clone / "runs/smollm2"
        pairs = {name: len((run / name / "pairs.jsonl").read_text().splitlines()) for name in ("M2", "M3")}
        trainings = [json.loads(path.read_text()) for path in sorted(run.glob("M*/*/summary.json"))]
        memory = [json.loads((run / "outcome.json").read_text()), *trainings]
        print("GiB at most: main process and trainings", [item["peak_memory_gib"] for item in memory])
        print(f"make demo: {minutes:.1f} minutes after set-up, largest process {peak:.1f} GiB, pairs {pairs}")
        for name in ("M0", "M1", "M2", "M3"):
            figures = json.loads((run / name / "evaluation/figures.json").read_text())
            judge = figures["judge"]
            right, similar = judge["pairwise"]["half"], judge["similar_length"]["pairwise"]["half"]
            print(name, judge["pairs"], "right", right, "at similar length", similar)
            print("  unreadable", judge["unreadable"], figures["answers"], "loss", figures["heldout_loss"])


if __name__ == "__main__":
    main()
