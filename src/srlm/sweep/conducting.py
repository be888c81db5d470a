"""A sweep is done: ordinary runs, each in a process of its own, that take over what they share.

One that dies is counted with its reason, and the others go on.
"""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from srlm.console import Lines
from srlm.errors import ConfigError, SrlmError
from srlm.loop import run_loop
from srlm.process import end_with_parent, listen, message_channel, side_by_side
from srlm.store.lock import take
from srlm.store.outcome import forget_outcome, save_outcome
from srlm.store.run import open_run
from srlm.sweep.folder import Sweep

Tell = Callable[[str], None]


def check_at_once(sweep: Sweep, at_once: int) -> None:
    """Raise ConfigError where several runs at a time would be in each other's way.

    Runs on one machine would share its memory and cores. On a cluster that stands by itself each takes its
    own replicas; without `replicas` the first would take all, and the second would wait until it gives up.
    """
    if at_once == 1:
        return
    for setting in sweep.settings:
        engine = setting.config.engine
        if engine.kind != "ray":
            why = "both would take the memory and the cores of this machine"
            todo = "leave --at-once out, or set engine.kind=ray with engine.address and engine.replicas"
        elif engine.address == "local" or not (engine.address or "RAY_ADDRESS" in os.environ):
            why = "the cluster would be that which one of them starts, and would end with it"
            todo = "start one with `ray start --head`, and set engine.address"
        elif not engine.replicas:
            why = "the first would take the whole cluster, and the next would wait for it and give up"
            todo = "set engine.replicas to each run's share of the machines"
        else:
            continue
        raise ConfigError(f"--at-once {at_once} with {setting.label}", why, todo)


def conduct(sweep: Sweep, tell: Tell, at_once: int = 1) -> None:
    """Do what is left of a sweep, so many runs at a time.

    Raises ConfigError or RunLocked before anything is made, where the folder is another sweep's, or another
    process works on it.
    """
    check_at_once(sweep, at_once)
    lock = take(sweep.folder, "sweep", "name another folder with --out")
    try:
        sweep.save()
        side_by_side(
            lambda one, interrupted: _run_in_a_process(sweep, one[0].label, one[1], tell, interrupted),
            [(setting, seed) for setting, seed in sweep.runs if sweep.outcome(setting.label, seed) is None],
            at_once,
        )
    finally:
        lock.release()


def do_run(sweep: Sweep, label: str, seed: int, say: Callable[..., None]) -> None:
    """The work of a run's process: an ordinary run, and how it ended beside its folder."""
    setting = next(one for one in sweep.settings if one.label == label)
    config = setting.config.model_copy(update={"seed": seed})
    origins = {**setting.origins, "seed": "sweep"}
    home = sweep.home(label, seed)
    others = [sweep.home(one.label, seed) for one in sweep.settings if one.label != label]
    try:
        with open_run(home, config, origins, Lines(lambda line: say(says=line)), others=others) as run:
            forget_outcome(home)
            ended = run_loop(config, run)
            kept = save_outcome(home, verdict=ended.verdict, action=ended.action, best=ended.best)
    except SrlmError as error:
        kept = {"failure": " ".join(str(error).split())}
    sweep.keep(label, seed, kept)
    say(says=kept.get("verdict") or f"failed: {kept['failure']}")


def _run_in_a_process(sweep: Sweep, label: str, seed: int, tell: Tell, interrupted: threading.Event) -> None:
    """Do a run; where its process dies, that is how it ended. Interrupted, it ends and nothing is counted."""
    if interrupted.is_set():
        return
    command = [sys.executable, "-P", "-m", "srlm.sweep.conducting", str(sweep.folder), label, str(seed)]
    tell(f"{label}  seed {seed}  ...")
    why = listen(
        command,
        sweep.folder / label / f"seed{seed}.stderr.txt",
        lambda message: tell(f"{label}  seed {seed}  {message['says']}"),
        interrupted,
    )
    if why and sweep.outcome(label, seed) is None:  # it may have died after its work was done
        sweep.keep(label, seed, {"failure": why})
        tell(f"{label}  seed {seed}  failed: {why}")


def main(folder: str, label: str, seed: str) -> None:
    """A run's process: what it says goes to standard output, a JSON object a line."""
    channel = message_channel()
    end_with_parent()

    def say(**message: Any) -> None:
        print(json.dumps(message), file=channel, flush=True)

    do_run(Sweep.read(Path(folder)), label, int(seed), say)


if __name__ == "__main__":
    main(*sys.argv[1:])
