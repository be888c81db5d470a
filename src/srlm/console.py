"""What a run shows while it works: a live table in a terminal, plain lines elsewhere, or JSON lines."""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

State = dict[str, Any]
MINUTE = 60.0


class Live:
    """Progress bars, one a step."""

    def __init__(self, console: Console) -> None:
        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("[dim]{task.fields[note]}"),
            console=console,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> "Live":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def begin(self, step: str, done: int, total: int) -> None:
        self._task = self._bars.add_task(step, completed=done, total=total or None, note="")

    def advance(self, step: str, done: int, total: int, note: str = "") -> None:
        if self._task is not None:
            self._bars.update(self._task, completed=done, total=total, note=note)

    def end(self, step: str, state: State, skipped: bool) -> None:
        total = state["progress"][1] or 1
        if skipped:
            self._bars.add_task(step, completed=total, total=total, note="done before")
        elif self._task is not None:
            done = self._bars.tasks[self._task].total or 1
            self._bars.update(self._task, completed=done, total=done, note=summary(state))


class Lines:
    """One line a finished step, for logs; and of a long one, a minute apart, how far it is."""

    def __init__(self, say: Callable[[str], None] | None = None) -> None:
        self._say = say or partial(print, flush=True)
        self._said = 0.0

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None: ...

    def begin(self, step: str, done: int, total: int) -> None:
        self._said = time.monotonic()

    def advance(self, step: str, done: int, total: int, note: str = "") -> None:
        if time.monotonic() - self._said >= MINUTE:
            self._said = time.monotonic()
            self._say(f"{step}: {done} of {total}, {note}".rstrip(", "))

    def end(self, step: str, state: State, skipped: bool) -> None:
        took = "done before" if skipped else f"{state['seconds']:.0f} s"
        self._say(f"{step}: {took} {summary(state)}".rstrip())


class JsonLines:
    """One JSON object an event, for machines."""

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(self, *_: object) -> None: ...

    def begin(self, step: str, done: int, total: int) -> None:
        self._emit("begin", step, done=done, total=total)

    def advance(self, step: str, done: int, total: int, note: str = "") -> None:
        self._emit("advance", step, done=done, total=total, note=note)

    def end(self, step: str, state: State, skipped: bool) -> None:
        figures = {key: state[key] for key in ("records", "counts", "seconds")}
        self._emit("end", step, skipped=skipped, **figures)

    def _emit(self, event: str, step: str, **values: Any) -> None:
        print(json.dumps({"time": round(time.time(), 3), "event": event, "step": step} | values), flush=True)


def watcher(console: Console, *, json_lines: bool) -> Live | Lines | JsonLines:
    """Who shows the run: JSON lines when asked, bars in a terminal, else plain lines."""
    if json_lines:
        return JsonLines()
    return Live(console) if console.is_terminal else Lines()


def summary(state: State) -> str:
    """What a step's counts say, in a few words."""
    counts = {
        key: number for key, number in state["counts"].items() if key not in {"tokens", "attempts", "replies"}
    }
    parts = [f"{state['records']} records"] if state["records"] else []
    return ", ".join(parts + [f"{number} {key}" for key, number in sorted(counts.items())])
