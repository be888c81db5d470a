"""A study is done: each seed in a process of its own, which makes its ground and runs arm after arm.

When it dies, the arm at which it was is counted as crashed, and a new process goes on with the next.
"""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srlm.cores import usable_cores
from srlm.errors import SrlmError
from srlm.judging.checkers import load_checker
from srlm.loop import run_loop
from srlm.models import cache_folder
from srlm.process import end_with_parent, listen, message_channel, side_by_side
from srlm.proving.arms import ARMS, Arm
from srlm.proving.ground import Ground, prepare
from srlm.proving.measuring import alarms, measured
from srlm.proving.noise import accuracy
from srlm.proving.study import Study, check
from srlm.recipes import load
from srlm.store.lock import take
from srlm.store.run import open_run

Tell = Callable[[str], None]


def conduct(study: Study, tell: Tell) -> None:
    """Do what is left of a study, as many seeds at a time as there are cores.

    Raises ConfigError or RunLocked before anything is made, where an arm is no valid config, or another
    process works on the folder.
    """
    check(study)
    lock = take(study.folder, "study", "name another folder with --out")
    try:
        study.save()
        side_by_side(
            lambda seed, interrupted: _seed_in_a_process(study, seed, tell, interrupted),
            study.seeds,
            usable_cores(),
        )
    finally:
        lock.release()


def _seed_in_a_process(study: Study, seed: int, tell: Tell, interrupted: threading.Event) -> None:
    """Do the arms of a seed; where its process dies, that arm is counted and the others go on.

    Where the study is interrupted, the process ends and nothing is counted.
    """
    command = [sys.executable, "-P", "-m", "srlm.proving.conducting", str(study.folder), str(seed)]
    log = study.folder / f"seed{seed}" / "stderr.txt"
    while study.left(seed) and not interrupted.is_set():
        at: list[str] = []

        def hear(message: dict[str, Any], at: list[str] = at) -> None:
            at += [message["arm"]] if "arm" in message else []
            tell(f"seed {seed}  {message['says']}")

        before = study.left(seed)
        why = listen(command, log, hear, interrupted, {"OMP_NUM_THREADS": "1"})
        if not why and study.left(seed) == before and not interrupted.is_set():
            why = "its process ended and had done nothing"
        dead = [arm for arm in at[-1:] or before if study.outcome(seed, arm) is None] if why else []
        for arm in dead:  # not one that it died after
            study.keep(seed, arm, {"failure": why})
        if dead:
            tell(f"seed {seed}  {at[-1] if at else 'its ground'} failed: {why}")


def do_seed(study: Study, seed: int, say: Callable[..., None]) -> None:
    """The work of a seed's process: its ground, then the arms that are left."""
    say(says="pretraining M0 ...")
    try:
        ground = prepare(study.ground, seed, cache_folder() / "proving")
    except SrlmError as error:
        for arm in study.left(seed):
            study.keep(seed, arm, {"failure": " ".join(str(error).split())})
        return
    say(
        says=f"M0 is there: coverage {ground.coverage:.0%}"
        + (", which is too little" if ground.failed else "")
    )
    for arm in study.left(seed):
        say(arm=arm, says=f"{arm} ...")
        outcome = _outcome(study, ground, arm)
        study.keep(seed, arm, outcome)
        ended = (
            f"{outcome['rounds'][-1]['sampled']:.2f} points" if "rounds" in outcome else outcome["failure"]
        )
        say(says=f"{arm}: {ended}")


def _outcome(study: Study, ground: Ground, arm: str) -> dict[str, Any]:
    if ground.failed:
        return {"failure": f"M0 failed to pretrain: coverage {ground.coverage:.0%}", "ground": True}
    try:
        return run_arm(study, ground, ARMS[arm], arm)
    except SrlmError as error:
        return {"failure": str(error)}


def run_arm(study: Study, ground: Ground, arm: Arm, name: str) -> dict[str, Any]:
    """The loop with an arm's keys, and what came of it.

    Its `rounds`, N (`samples`), `margin`, `alarms`, and how accurate a program was that ranked (`ranker`).
    """
    loaded = load(ground.recipe, [*study.overrides, *arm.on(ground.folder)])
    home = study.folder / f"seed{ground.seed}"
    others = [home / other for other in study.arms if (home / f"{other}.json").exists() and other != name]
    with open_run(home / name, loaded.config, loaded.origins, others=others) as run:
        outcome = run_loop(loaded.config, run)
    found: dict[str, Any] = {"verdict": outcome.verdict, "rounds": measured(home / name)}
    if checker := loaded.config.pairs.checker:
        found["ranker"] = accuracy(load_checker(checker), ground.folder / "ranked.jsonl")
    found |= {"samples": loaded.config.responses.samples, "margin": loaded.config.pairs.min_margin}
    return found | {"alarms": alarms(home / name)}


def main(folder: str, seed: str) -> None:
    """A seed's process: what it says goes to standard output, a JSON object a line."""
    channel = message_channel()
    end_with_parent()

    def say(**message: Any) -> None:
        print(json.dumps(message), file=channel, flush=True)

    do_seed(Study.read(Path(folder)), int(seed), say)


if __name__ == "__main__":
    main(*sys.argv[1:])
