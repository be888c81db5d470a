"""A run's folder and the three kinds of steps in it: records, models, results.

A step is done once, when the digest of everything that it was given is the same: its config
section, the digests of its inputs, the seed. `NAME.step.json` beside its output holds that digest
and how far it is; `"done": true` is written last. Records are committed block by block, so a
killed run repeats at most the block it was in.
"""

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel

from srlm import __version__
from srlm.config import Config, decisive, flatten, sections_of
from srlm.errors import FULL, RunChanged, full_disk
from srlm.models import Model, folder_digest
from srlm.records import Record
from srlm.store.blocks import Block, Resume
from srlm.store.borrowing import borrowed
from srlm.store.files import write_atomically
from srlm.store.jsonl import BlockWriter, Records, read_records
from srlm.store.lock import take
from srlm.store.machine import describe_machine
from srlm.store.mirror import Mirror
from srlm.store.redo import State, forget, states_from, suite_of
from srlm.store.states import states

R = TypeVar("R", bound=Record)


class Progress(Protocol):
    """Who watches a run: a terminal, a log, nobody."""

    def begin(self, step: str, done: int, total: int) -> None: ...
    def advance(self, step: str, done: int, total: int, note: str = "") -> None: ...
    def end(self, step: str, state: State, skipped: bool) -> None: ...


class Quiet:
    """Watches in silence."""

    def begin(self, step: str, done: int, total: int) -> None: ...
    def advance(self, step: str, done: int, total: int, note: str = "") -> None: ...
    def end(self, step: str, state: State, skipped: bool) -> None: ...


class Run:
    """One run's folder, open for writing. Make one with `open_run`."""

    def __init__(
        self,
        folder: Path,
        config: Config,
        progress: Progress,
        mirror: Mirror | None = None,
        *,
        others: Sequence[Path] = (),
    ) -> None:
        self.folder, self.config, self.progress = folder, config, progress
        self._mirror, self._others = mirror, others

    def records(
        self,
        step: str,
        kind: type[R],
        stage: Callable[..., Iterator[Block[R]]],
        section: BaseModel,
        *inputs: object,
    ) -> Records[R]:
        """The records of a stage: read when done, continued when begun, else made.

        Calls ``stage(section, *inputs, seed=..., resume=...)`` and commits each block that it yields.
        """
        path = self.folder / f"{step}.jsonl"
        state = self._begin(step, section, inputs)
        if not state["done"]:
            self._stream(step, path, kind, state, stage=stage, section=section, inputs=inputs)
        else:
            self.progress.end(step, state, skipped=True)
        return Records(path, kind, state["digest"], state["records"])

    def model(self, step: str, train: Callable[..., Path], section: BaseModel, *inputs: object) -> Model:
        """The model that a training step leaves in ``M?/model``.

        Calls ``train(section, *inputs, folder, target, seed, report, report_to, launcher)``, the last six
        by name; it resumes by itself from the folder's checkpoints and leaves the model in the target.
        """
        target = self.folder / Path(step).parent / "model"
        state = self._begin(step, section, inputs)
        if not state["done"] or not target.exists():
            seconds = _clock(state["seconds"])
            self.progress.begin(step, *state["progress"])

            def report(done: int, total: int, note: str) -> None:
                state.update(progress=[done, total], seconds=seconds())
                with _room(step):
                    self._save(step, state)
                self.progress.advance(step, done, total, note)

            train(
                section,
                *inputs,
                folder=self.folder / step,
                target=target,
                seed=self.config.seed,
                report=report,
                report_to=self.config.report_to,
                launcher=self.config.launcher,
            )
            self._finish(step, state, folder_digest(target), seconds())
        self.progress.end(step, state, skipped=state["skipped"])
        name, trust = step.split("/", maxsplit=1)[0], self.config.model.trust_remote_code
        return Model(name, target, state["digest"], trust)

    def result(
        self,
        step: str,
        measure: Callable[..., dict[str, Any]],
        *inputs: object,
        section: BaseModel | None = None,
        follows: bool = False,
    ) -> dict[str, Any]:
        """The figures that ``measure(*inputs)`` returns, kept as JSON; `section` decides over them, too.

        `follows`: other inputs, such as a suite that was added, are no error; the figures are made anew.
        """
        path = self.folder / f"{step}.json"
        state = self._begin(step, section, inputs, follows=follows)
        if not state["done"]:
            seconds = _clock(state["seconds"])
            self.progress.begin(step, 0, 0)
            text = json.dumps(measure(*inputs), indent=1, ensure_ascii=False)
            with _room(step):
                write_atomically(path, text + "\n")
            self._finish(step, state, _sha(text), seconds())
        self.progress.end(step, state, skipped=state["skipped"])
        values: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return values

    def counts(self, step: str) -> dict[str, int]:
        """What a stage counted beside its records."""
        counts: dict[str, int] = self._state(step)["counts"]
        return counts

    def _stream(
        self,
        step: str,
        path: Path,
        kind: type[R],
        state: State,
        *,
        stage: Callable[..., Iterator[Block[R]]],
        section: BaseModel,
        inputs: tuple[object, ...],
    ) -> None:
        writer = BlockWriter(path, state["bytes"])
        counts: Counter[str] = Counter(state["counts"])
        seconds = _clock(state["seconds"])
        self.progress.begin(step, *state["progress"])
        resume: Resume[R] = Resume(state["blocks"], read_records(path, kind))
        try:
            for block in stage(section, *inputs, seed=self.config.seed, resume=resume):
                with _room(step):
                    state["records"] += writer.append(block.records)
                    counts.update(block.counts)
                    counts.update(_spent(inputs))
                    state.update(blocks=state["blocks"] + 1, bytes=writer.bytes, counts=dict(counts))
                    state.update(progress=[block.done, block.total], seconds=seconds())
                    self._save(step, state)
                self.progress.advance(step, block.done, block.total)
        finally:
            writer.close()
            if spent := _spent(inputs):  # on a block that failed half-way
                counts.update(spent)
                with _room(step):
                    self._save(step, state | {"counts": dict(counts)})
        self._finish(step, state, writer.digest, seconds())
        self.progress.end(step, state, skipped=False)

    def mark_best(self, name: str) -> None:
        """Let ``best`` in the run's folder lead to a model's folder; it may lead elsewhere later."""
        link = self.folder / "best"
        link.unlink(missing_ok=True)
        link.symlink_to(name)

    def _begin(
        self, step: str, section: BaseModel | None, inputs: tuple[object, ...], *, follows: bool = False
    ) -> State:
        given = _given(self.config, section, inputs)
        state = self._state(step) or self._borrow(step, given)
        if state and state["given"] != given:
            if follows:
                state["done"] = False
            elif _has_begun(state):
                raise _changed(self.folder, step, state["given"], given)
            state = state | {"given": given}
        if not state:
            state = {"step": step, "number": len(list(states(self.folder))), "done": False, "skipped": False}
            state |= {"given": given, "blocks": 0, "records": 0, "bytes": 0, "counts": {}, "progress": [0, 0]}
            state |= {"seconds": 0.0, "digest": None, "began": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
            with _room(step):
                self._save(step, state)
        return state | {"skipped": state["done"]}

    def _borrow(self, step: str, given: dict[str, Any]) -> State:
        """The state of a step that another run has done alike, in this one's order; empty where none has."""
        state = borrowed(step, given, self.folder, self._others) if self._others else {}
        if state:
            state = state | {"number": len(list(states(self.folder)))}
            with _room(step):
                self._save(step, state)
        return state

    def _finish(self, step: str, state: State, digest: str, seconds: float) -> None:
        state.update(done=True, digest=digest, seconds=seconds, ended=time.strftime("%Y-%m-%dT%H:%M:%S%z"))
        with _room(step):
            self._save(step, state)

    def _state(self, step: str) -> State:
        path = self.folder / f"{step}.step.json"
        state: State = json.loads(path.read_text("utf-8")) if path.exists() else {}
        return state

    def _save(self, step: str, state: State) -> None:
        kept = {key: value for key, value in state.items() if key != "skipped"}
        write_atomically(self.folder / f"{step}.step.json", json.dumps(kept, indent=1) + "\n")
        if self._mirror:
            self._mirror.sync()


@contextmanager
def open_run(
    folder: Path,
    config: Config,
    origins: dict[str, str] | None = None,
    progress: Progress | None = None,
    *,
    redo: str | None = None,
    store: str = "",
    others: Sequence[Path] = (),
) -> Iterator[Run]:
    """A run that this process alone may write, new or continued; kept at the address `store`, too.

    Steps that one of `others`, folders of runs, has done with the very same inputs are taken over.

    `redo` forgets a step and all that rest on it. Raises RunLocked when another process
    holds the run, RunChanged when a config key or the version differs from what finished steps used.
    """
    lock = take(folder, "run", "name another run with --name (another folder with --out)")
    mirror = Mirror(store, folder) if store else None
    try:
        if mirror:
            mirror.claim()
            mirror.fetch()
        again = states_from(states(folder), redo) if redo else []
        _refuse_changes(folder, config, [state for state in states(folder) if state not in again])
        forget(folder, again)
        with _room("run.json"):
            saved = {"config": config.model_dump(mode="json"), "origins": origins or {}}
            write_atomically(folder / "config.json", json.dumps(saved, indent=1) + "\n")
            write_atomically(folder / "run.json", json.dumps(_made_with(folder), indent=1) + "\n")
        if mirror:
            mirror.sync()  # what was there before it had a store
        yield Run(folder, config, progress or Quiet(), mirror, others=others)
        if mirror:
            mirror.sync()
    finally:
        if mirror:
            mirror.release()
        lock.release()


def _made_with(folder: Path) -> dict[str, Any]:
    """This machine and these versions; under `earlier`, others that have worked on the run."""
    now, path = describe_machine(), folder / "run.json"
    before = json.loads(path.read_text("utf-8")) if path.exists() else dict(now)
    earlier = before.pop("earlier", [])
    return now | {"earlier": earlier if before == now else [*earlier, before]}


def _clock(before: float) -> Callable[[], float]:
    """Seconds spent on a step so far, in this process and in earlier ones."""
    started = time.monotonic()
    return lambda: before + time.monotonic() - started


def _given(config: Config, section: BaseModel | None, inputs: tuple[object, ...]) -> dict[str, Any]:
    given: dict[str, Any] = {"seed": config.seed}
    for name, value in sections_of(config).items():
        if value is section:
            given[name] = decisive(value)
    given["inputs"] = [str(getattr(value, "digest", None) or _sha(repr(value))) for value in inputs]
    return given


def _spent(inputs: tuple[object, ...]) -> Counter[str]:
    """What engines that count it (a server's) used since they were last asked: requests, tokens, cost."""
    total: Counter[str] = Counter()
    for value in inputs:
        if callable(spent := getattr(value, "spent", None)):
            total.update(spent())
    return total


def _has_begun(state: State) -> bool:
    """Whether a step has made anything that other values would not have made."""
    return bool(state["done"] or state["blocks"] or state["step"].endswith(("/sft", "/dpo")))


def _refuse_changes(folder: Path, config: Config, begun: list[State]) -> None:
    """Compare with what the begun steps were given, before any work starts."""
    path = folder / "run.json"
    if not path.exists() or not begun:
        return
    made_by = json.loads(path.read_text("utf-8"))["srlm"]
    if made_by != __version__:
        raise RunChanged(
            f"run {folder}",
            f"it was made by srlm {made_by} and this is {__version__}",
            f"install srlm {made_by} to continue it, or start another run with --name",
        )
    now: dict[str, Any] = {"seed": config.seed}
    now |= {name: decisive(value) for name, value in sections_of(config).items()}
    for state in filter(_has_begun, begun):
        # A suite that is no longer asked for leaves its figures as they are.
        given = {key: value for key, value in state["given"].items() if key in now}
        if any(now[key] != value for key, value in given.items()):
            raise _changed(folder, state["step"], given, {key: now[key] for key in given})


def _changed(folder: Path, step: str, before: dict[str, Any], after: dict[str, Any]) -> RunChanged:
    old, new = flatten(before), flatten(after)
    keys = [key for key in sorted(old | new) if old.get(key) != new.get(key)]
    what = [
        "an input (the seed data, the model or an earlier step)"
        if key == "inputs"
        else f"{key}: {old.get(key)!r} then, {new.get(key)!r} now"
        for key in keys
    ]
    return RunChanged(
        f"run {folder}, step {step}",
        "it was made with other values: " + "; ".join(what),
        "set them back, start another run with --name, or remake this step and all that rest on it "
        f"with --redo {step}"
        + ("; or give the suite another `name`" if suite_of(step).startswith("suite") else ""),
    )


@contextmanager
def _room(step: str) -> Iterator[None]:
    """Turn a full disk into an error that says what is safe."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL:
            raise
        raise full_disk(f"step {step}", error) from error


def _sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
