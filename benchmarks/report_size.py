"""Time and size of the report of a run with many prompts: a finished run, its rounds repeated to that many.

``python benchmarks/report_size.py RUN [10000]``
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from itertools import count, cycle, islice
from pathlib import Path

FILES = {"prompts": 1, "responses": 4, "judgments": 4, "pairs": 1}
IDS = ("id", "prompt_id", "response_id", "chosen_id", "rejected_id")


def inflate(folder: Path, prompts: int) -> None:
    """Repeat every round's records, each copy under ids of its own, and say so in the states of its steps."""
    for made in sorted(folder.glob("M*/responses.jsonl")):
        for name, times in FILES.items():
            path = made.with_name(f"{name}.jsonl")
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            per_copy = len(lines)
            with path.open("w") as out:
                for number, line in zip(count(), islice(cycle(lines), prompts * times), strict=False):
                    copy = number // per_copy
                    renamed = {key: f"{line[key]}-{copy}" for key in IDS if key in line}
                    out.write(json.dumps(line | renamed) + "\n")
            state = made.with_name(f"{name}.step.json")
            state.write_text(json.dumps(json.loads(state.read_text()) | {"records": prompts * times}))


def main() -> None:
    run, prompts = Path(sys.argv[1]), int([*sys.argv[2:], "10000"][0])
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "run"
        shutil.copytree(run, folder, symlinks=True)
        inflate(folder, prompts)
        started = time.perf_counter()
        subprocess.run([sys.executable, "-m", "srlm.cli", "report", str(folder)], check=True)
        seconds = time.perf_counter() - started
        for path in sorted((folder / "report").glob("report.*")):
            print(f"{path.name}: {path.stat().st_size / 2**20:.2f} MiB")
        print(f"{prompts:,} prompts a round: {seconds:.1f} s")


if __name__ == "__main__":
    main()
