"""SIGKILL at moments spread over a whole run, then the same command: the same bytes, the same weights.

One run is left alone. Another is killed again and again, each time a little after an event that the
first run's log names, and started again. Record files must be equal byte for byte, weights to 1e-6.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

Event = dict[str, Any]

SMALL = [
    "prompts.count=4", "prompts.block=2", "prompts.max_tokens=48", "prompts.max_attempts=8",
    "responses.block=2", "responses.max_tokens=24", "judge.block=4", "judge.max_tokens=12",
    "judge.samples=2", "evaluation.answers.block=2", "evaluation.answers.max_tokens=16", "sft.save_steps=1",
    "sft.batch_size=2", "sft.epochs=2", "sft.precision=float32", "dpo.precision=float32",
    "dpo.save_steps=1", "dpo.batch_size=1", "dpo.epochs=1", "sft.dropout=0.1", "dpo.dropout=0.1",
]  # fmt: skip
"""Every step of the recipe smollm2, each as short as it can be while it still has several blocks."""


@dataclass(frozen=True)
class Outcome:
    """How the killed run compares with the one that was left alone."""

    kills: list[str]
    record_files: int
    different: list[str]
    weight_difference: float


def small_seed(folder: Path) -> list[str]:
    """Overrides that name a seed set of a few lines, made of the built-in one."""
    from srlm.config import SeedSection
    from srlm.seeds import load_seed

    seed = load_seed(SeedSection())
    sides = [(seed.instructions[:6], "train"), (seed.heldout_instructions[:2], "heldout")]
    lines = [
        {"prompt": x.prompt, "response": x.response, "split": side} for part, side in sides for x in part
    ]
    (folder / "instructions.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lines = [line.model_dump(mode="json") for line in [*seed.ranked[:4], *seed.heldout_ranked[:1]]]
    for answer in (answer for line in lines for answer in line["answers"]):
        answer["justification"] = ""  # the score alone is soon learned, so that there are pairs to train on
    (folder / "ranked.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return [f"data.instructions={folder}/instructions.jsonl", f"data.ranked={folder}/ranked.jsonl"]


def start(folder: Path, name: str, overrides: list[str]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "srlm.cli", "run", "smollm2", *overrides]
    command += ["--runs", str(folder), "--name", name, "--json"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)


def key_of(event: Event) -> str:
    return f"{event['event']} {event['step']} {event.get('done', '')}"


def run_alone(folder: Path, overrides: list[str]) -> list[str]:
    """The keys of all events of a run that nobody stops."""
    with start(folder, "whole", overrides) as child:
        events = [json.loads(line) for line in child.stdout or ()]
    if child.returncode:
        raise SystemExit(f"the run that was left alone failed with status {child.returncode}")
    return [key_of(event) for event in events if "step" in event]


def run_killed(
    folder: Path, overrides: list[str], events: list[str], num_kills: int, wait: float
) -> list[str]:
    """Kill all processes or the main one, in turn, at or soon after each moment; the last run ends itself."""
    chance = random.Random(0)
    place = {key: number for number, key in enumerate(events)}
    moments = [round((number + 0.5) * len(events) / num_kills) for number in range(num_kills)]
    killed = []
    for moment in [*moments, len(events)]:
        with start(folder, "killed", overrides) as child:
            for line in child.stdout or ():
                event = json.loads(line)
                if "step" in event and place.get(key := key_of(event), -1) >= moment:
                    time.sleep(chance.uniform(0, wait))
                    if len(killed) % 2:
                        os.kill(child.pid, signal.SIGKILL)  # a training process must notice by itself
                    else:
                        os.killpg(child.pid, signal.SIGKILL)
                    killed.append(key)
                    break
    return killed


def compare(folder: Path) -> tuple[int, list[str], float]:
    """Record files, those that differ, and the largest difference of any weight."""
    whole, killed = folder / "whole", folder / "killed"
    names = sorted(
        str(path.relative_to(whole)) for path in whole.glob("**/*.jsonl") if path.name != "log.jsonl"
    )
    names += sorted(str(path.relative_to(whole)) for path in whole.glob("**/figures.json"))
    different = [
        n for n in names if not (killed / n).exists() or (whole / n).read_bytes() != (killed / n).read_bytes()
    ]
    largest = 0.0
    for path in whole.glob("M*/model/model.safetensors"):
        one, other = load_file(path), load_file(killed / path.relative_to(whole))
        largest = max(
            largest, *(float((one[name].float() - other[name].float()).abs().max()) for name in one)
        )
    return len(names), different, largest


def kill_and_resume(folder: Path, overrides: list[str], num_kills: int, wait: float) -> Outcome:
    """Run twice, the second time killed `num_kills` times, up to `wait` seconds after an event."""
    overrides = [*small_seed(folder), *overrides]
    events = run_alone(folder, overrides)
    killed = run_killed(folder, overrides, events, num_kills, wait)
    return Outcome(killed, *compare(folder))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("overrides", nargs="*", help="such as model.name=PATH; default: the real model")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        started = time.monotonic()
        found = kill_and_resume(Path(temporary), [*SMALL, *given.overrides], given.kills, 0.4)
        print(f"killed {len(found.kills)} times of {given.kills}, at:", *found.kills, sep="\n  ")
        print(f"{found.record_files} record files, different: {found.different or 'none'}")
        print(f"largest difference of a weight: {found.weight_difference}")
        print(f"{time.monotonic() - started:.0f} s")
    if found.different or found.weight_difference > 1e-6 or len(found.kills) < given.kills:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
