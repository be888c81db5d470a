"""Time of ``srlm --help``, as a user waits for it: median of ten whole processes."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

SRLM = Path(sys.executable).with_name("srlm")


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    seconds([str(SRLM), "--help"])  # the first reads the files from disk
    helped = [seconds([str(SRLM), "--help"]) for _ in range(10)]
    bare = [seconds([sys.executable, "-c", "pass"]) for _ in range(10)]
    print(
        f"srlm --help: median {statistics.median(helped):.3f} s, max {max(helped):.3f} s "
        f"(an empty Python program: {statistics.median(bare):.3f} s; wanted: under 0.5 s)"
    )


if __name__ == "__main__":
    main()
