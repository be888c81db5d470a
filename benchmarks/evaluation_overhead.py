"""What the evaluation itself costs: 805 comparisons and all figures, with an engine that costs nothing."""

import json
import statistics
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

from texts import text

from srlm.config import Config
from srlm.engines.base import Reply
from srlm.evaluation import panel
from srlm.evaluation.panel import Panel
from srlm.evaluation.suites.asking import GivenAnswers
from srlm.store.run import open_run

PROMPTS = 805
RUNS = 5


class Instant:
    """Prefers by the text's own hash, at once; its own time is taken off."""

    digest = "instant"
    seconds = 0.0

    def generate(self, requests):
        started = time.perf_counter()
        replies = []
        for request in requests:
            weight = 0.1 + request.seed % 1000 / 1250
            chances = (0.9 * weight, 0.9 * (1 - weight), 0.1)
            replies.append(Reply(request.id, 0, "", "stop", 0, 0, chances))
        Instant.seconds += time.perf_counter() - started
        yield from replies

    def close(self):
        """Nothing to give back."""


def once(folder: Path) -> float:
    rows = [{"instruction": text(n), "output": text(PROMPTS + n, 100, 400)} for n in range(PROMPTS)]
    baseline = folder / "baseline.json"
    baseline.write_text(json.dumps(rows))
    ours = {row["instruction"]: text(2 * PROMPTS + n, 100, 400) for n, row in enumerate(rows)}
    given = GivenAnswers(baseline, ours)
    suite = {"suite": "alpaca_eval", "baseline": str(baseline)}
    judge = {"model": "judge", "justify": False}
    server = {"judge": {"model": "m"}}
    config = Config.model_validate(
        {"servers": server, "engine": {"kind": "scripted"}, "evaluation": {"judge": judge, "suites": [suite]}}
    )
    Instant.seconds = 0.0
    started = time.perf_counter()
    with open_run(folder / "run", config) as run:
        found = Panel(config, run, {}, None, []).measure(given, "ours")
    seconds = time.perf_counter() - started - Instant.seconds
    if found["alpaca_eval"]["usable"] != PROMPTS:
        raise SystemExit("not every prompt was counted")
    return seconds


def main() -> None:
    panel.open_named = lambda *_: nullcontext(Instant())
    taken = []
    for _ in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            taken.append(once(Path(folder)))
    print(f"{PROMPTS} prompts in both orders, {RUNS} runs, seconds: ", end="")
    print(f"median {statistics.median(taken):.2f}, {min(taken):.2f} to {max(taken):.2f}")


if __name__ == "__main__":
    main()
