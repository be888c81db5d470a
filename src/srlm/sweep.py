"""A sweep: recipes with every combination of some values, on every seed, as runs that share what they can.

Each run is done by a process of its own; one that dies is counted with its reason, and the others go on. The
folder of a sweep:

    sweep.json   dpo.beta=0.1/seed0/ (a run)   dpo.beta=0.1/seed0.json (how it ended, or why not)
"""

import hashlib
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from srlm.config import RESOURCES, Config, flatten
from srlm.errors import ConfigError, RunLocked, SrlmError
from srlm.loop import run_loop
from srlm.process import end_with_parent, listen, message_channel, side_by_side
from srlm.recipes import load
from srlm.store.files import write_atomically
from srlm.store.outcome import forget_outcome, save_outcome
from srlm.store.redo import State
from srlm.store.run import open_run

Tell = Callable[[str], None]
LONGEST = 120
"""Characters of a folder's name."""
MAY_CHANGE = ("seed", "report_to", "launcher", "engine")
"""What is no part of a sweep's settings; of an engine only who answers is."""
WHO = ("kind", "model", "base_url")


@dataclass(frozen=True)
class Setting:
    """One combination: its folder's name, the swept values as they were given, and the config with them."""

    label: str
    values: Mapping[str, str]
    config: Config
    origins: Mapping[str, str]

    def saved(self) -> dict[str, Any]:
        """As plain JSON."""
        config = self.config.model_dump(mode="json")
        return {"label": self.label, "values": self.values, "config": config, "origins": self.origins}


@dataclass(frozen=True)
class Sweep:
    """The folder of a sweep, the words that asked for it, its settings and seeds."""

    folder: Path
    recipe: str
    words: tuple[str, ...]
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]

    @property
    def runs(self) -> list[tuple[Setting, int]]:
        """Every run, seed by seed, so that those that share steps follow each other."""
        return [(setting, seed) for seed in self.seeds for setting in self.settings]

    @property
    def failures(self) -> list[str]:
        """The runs that have failed, in words."""
        found = ((setting.label, seed, self.outcome(setting.label, seed)) for setting, seed in self.runs)
        return [
            f"{label}, seed {seed}: {outcome['failure']} (tried again when {label}/seed{seed}.json is gone)"
            for label, seed, outcome in found
            if outcome and "failure" in outcome
        ]

    @property
    def done(self) -> list[Path]:
        """The folders of the runs that have ended well, setting by setting."""
        return [
            self.home(setting.label, seed)
            for setting in self.settings
            for seed in self.seeds
            if "verdict" in (self.outcome(setting.label, seed) or {})
        ]

    def home(self, label: str, seed: int) -> Path:
        """The folder of a run."""
        return self.folder / label / f"seed{seed}"

    def outcome(self, label: str, seed: int) -> dict[str, Any] | None:
        """How a run ended, or `{"failure": why}`; None where it is not done."""
        path = self._outcome_path(label, seed)
        found: dict[str, Any] | None = json.loads(path.read_text("utf-8")) if path.exists() else None
        return found

    def keep(self, label: str, seed: int, outcome: Mapping[str, Any]) -> None:
        """Write down how a run ended."""
        write_atomically(self._outcome_path(label, seed), json.dumps(outcome, indent=1) + "\n")

    def save(self) -> None:
        """Write down what is asked for; raises ConfigError where the folder holds another sweep."""
        path = self.folder / "sweep.json"
        settings = [setting.saved() for setting in self.settings]
        if path.exists():
            before = json.loads(path.read_text("utf-8"))["settings"]
            if changes := _changes(_alike(before), _alike(settings)):
                raise ConfigError(
                    f"sweep {self.folder}",
                    "it was begun with other settings, and figures of two sweeps do not belong in one table: "
                    + "; ".join(changes),
                    "name another folder with --out, or give the words in its sweep.json",
                )
        asked = {"recipe": self.recipe, "words": self.words, "seeds": self.seeds, "settings": settings}
        write_atomically(path, json.dumps(asked, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Sweep":
        """The sweep in a folder."""
        saved = json.loads((folder / "sweep.json").read_text("utf-8"))
        settings = tuple(
            Setting(one["label"], one["values"], Config.model_validate(one["config"]), one["origins"])
            for one in saved["settings"]
        )
        return cls(folder, saved["recipe"], tuple(saved["words"]), settings, tuple(saved["seeds"]))

    def _outcome_path(self, label: str, seed: int) -> Path:
        return self.folder / label / f"seed{seed}.json"


def sweep_of(folder: Path, recipe: str, words: Sequence[str], seeds: int) -> Sweep:
    """The sweep over every recipe with every combination of the values that words list.

    ``smollm2,mine.yaml`` are two recipes, ``dpo.beta=0.1,0.3`` two values. Raises ConfigError where a config
    is not valid, two are the same, or a word sets the seed.
    """
    if any(word.partition("=")[0] == "seed" for word in words):
        raise ConfigError(
            "seed=... in a sweep",
            "a sweep does every setting on the same seeds, 0, 1, 2 ...",
            "leave it out and say how many with --seeds",
        )
    recipes = choices(recipe)
    settings = [
        _setting(one, len(recipes) > 1, combination)
        for one in recipes
        for combination in product(*(_readings(word) for word in words))
    ]
    _check_apart(settings)
    return Sweep(folder, recipe, tuple(words), tuple(settings), tuple(range(seeds)))


def choices(text: str) -> list[str]:
    """The parts of a value between its commas, but for those inside brackets or quotes.

    >>> choices("0.1,[a,b],'x,y'")
    ['0.1', '[a,b]', "'x,y'"]
    """
    parts, depth, quote = [""], 0, ""
    for char in text:
        if quote:
            quote = "" if char == quote else quote
        elif char in "\"'" and (depth or not parts[-1].strip()):
            quote = char
        elif char in "[{":
            depth += 1
        elif char in "]}":
            depth -= 1
        elif char == "," and not depth:
            parts.append("")
            continue
        parts[-1] += char
    return list(dict.fromkeys(parts))


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
    sweep.folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(sweep.folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise RunLocked(
            f"sweep {sweep.folder}",
            "another process is working on it",
            "wait for it, or name another folder with --out",
        ) from error
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
        with open_run(home, config, origins, _Told(say), others=others) as run:
            forget_outcome(home)
            ended = run_loop(config, run)
            kept = save_outcome(home, verdict=ended.verdict, action=ended.action, best=ended.best)
    except SrlmError as error:
        kept = {"failure": " ".join(str(error).split())}
    sweep.keep(label, seed, kept)
    say(says=kept.get("verdict") or f"failed: {kept['failure']}")


class _Told:
    """Tells of every step that was made."""

    def __init__(self, say: Callable[..., None]) -> None:
        self._say = say

    def begin(self, step: str, done: int, total: int) -> None: ...
    def advance(self, step: str, done: int, total: int, note: str = "") -> None: ...

    def end(self, step: str, state: State, skipped: bool) -> None:
        if not skipped:
            self._say(says=f"{step} is done ({state['seconds']:.0f} s)")


def _run_in_a_process(sweep: Sweep, label: str, seed: int, tell: Tell, interrupted: threading.Event) -> None:
    """Do a run; where its process dies, that is how it ended. Interrupted, it ends and nothing is counted."""
    if interrupted.is_set():
        return
    command = [sys.executable, "-P", "-m", "srlm.sweep", str(sweep.folder), label, str(seed)]
    tell(f"{label}  seed {seed}  ...")
    why = listen(
        command,
        sweep.folder / label / f"seed{seed}.stderr.txt",
        lambda message: tell(f"{label}  seed {seed}  {message['says']}"),
        interrupted,
    )
    if why:
        sweep.keep(label, seed, {"failure": why})
        tell(f"{label}  seed {seed}  failed: {why}")


def _readings(word: str) -> list[tuple[str, str, bool]]:
    """A word as ``key=``, one of its values, and whether it has several; raises ConfigError.

    What is no ``key=value`` stays as it is: the recipe's reader says what is wrong with it.
    """
    key, equals, text = word.partition("=")
    found = choices(text) if equals else [""]
    if len(found) > 1 and not all(one.strip() for one in found):
        raise ConfigError(
            f"{word!r}",
            "a value between its commas is empty",
            f"leave the comma out, or write null for no value, as in {key}=null,...",
        )
    return [(f"{key}{equals}", one.strip(), len(found) > 1) for one in found]


def _setting(recipe: str, named: bool, combination: Sequence[tuple[str, str, bool]]) -> Setting:
    """A recipe with some values; its label says the recipe where it is `named`, or there is nothing else."""
    loaded = load(recipe, [f"{key}{value}" for key, value, _ in combination])
    values = {key.removesuffix("="): value for key, value, swept in combination if swept}
    parts = [f"{key}={value}" for key, value in values.items()]
    if named or not parts:
        parts.insert(0, Path(recipe).stem)
    return Setting(_file_name(",".join(parts)), values, loaded.config, loaded.origins)


def _check_apart(settings: Sequence[Setting]) -> None:
    """Raise ConfigError where two settings have one name, or are the same values."""
    alike: dict[str, str] = {}
    labels: set[str] = set()
    for one in settings:
        before = alike.setdefault(one.config.model_dump_json(), one.label)
        if before != one.label:
            raise ConfigError(
                f"{before} and {one.label}",
                "they are the same values in other words, and one run would count as two",
                "leave one of them out",
            )
        if one.label in labels:
            raise ConfigError(
                f"two settings called {one.label}",
                "they would be done in one folder",
                "rename one of the recipe files, or leave one of them out",
            )
        labels.add(one.label)


def _file_name(text: str) -> str:
    """A text as the name of a folder on any system; where letters are lost, with a digest that parts it."""
    safe = re.sub(r"[^\w.=,+-]", "_", text)[:LONGEST]
    return safe if safe == text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:6]}"


def _alike(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What all settings have alike, by key, and which keys are swept; recipes may differ in any."""
    first, *others = map(_fixed, settings)
    return {key: value for key, value in first.items() if all(one.get(key) == value for one in others)}


def _fixed(setting: Mapping[str, Any]) -> dict[str, Any]:
    """What is not swept in a setting, by key."""
    config, swept = setting["config"], setting["values"]
    engine = config["engine"].get("engine") or config["engine"]  # over a cluster it is the one inside
    values = flatten({key: value for key, value in config.items() if key not in MAY_CHANGE})
    values |= {f"engine.{key}": engine.get(key) for key in WHO}
    kinds = [key.removesuffix("kind") for key in swept if key.endswith(".kind")]  # another kind, other keys
    mine = (*(f"{key}." for key in swept), *kinds)
    kept = {
        key: value
        for key, value in values.items()
        if key not in swept and not key.startswith(mine) and key.rpartition(".")[2] not in RESOURCES
    }
    return kept | {"what is swept": sorted(swept)}


def _changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [
        f"{key}: {before[key]!r} then, {now[key]!r} now"
        for key in sorted({*before} & {*now})
        if before[key] != now[key]
    ]


def main(folder: str, label: str, seed: str) -> None:
    """A run's process: what it says goes to standard output, a JSON object a line."""
    channel = message_channel()
    end_with_parent()

    def say(**message: Any) -> None:
        print(json.dumps(message), file=channel, flush=True)

    do_run(Sweep.read(Path(folder)), label, int(seed), say)


if __name__ == "__main__":
    main(*sys.argv[1:])
