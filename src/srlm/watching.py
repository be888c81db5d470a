"""A running run, live in a terminal: steps, trainings, what is watched (`srlm status NAME --watch`)."""

import json
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from srlm.console import summary
from srlm.errors import RunError
from srlm.monitors.signals import Signal, watched
from srlm.store.jsonl import read_log
from srlm.store.states import run_states

EVERY = 1.0
"""Seconds between two looks."""
BARS = "▁▂▃▄▅▆▇█"
STEPS_SHOWN = 12


def watch(folder: Path, console: Console, every: float = EVERY) -> None:
    """Show a run until it has ended, or Ctrl-C; raises RunError when there is none."""
    with (
        suppress(KeyboardInterrupt),
        Live(view(folder), console=console, screen=console.is_terminal, auto_refresh=False) as live,
    ):
        while not (folder / "outcome.json").exists():
            time.sleep(every)
            live.update(view(folder), refresh=True)
        live.update(view(folder))
    if console.is_terminal:  # the screen of Live is gone
        console.print(view(folder))


def newest_run(runs: Path) -> Path:
    """The run that was opened last; raises RunError when there is none."""
    found = [path.parent for path in runs.glob("*/run.json")]
    if not found:
        raise RunError(f"--watch in {runs}", "there is no run yet", "start one: srlm run smollm2")
    return max(found, key=lambda folder: (folder / "run.json").stat().st_mtime)


def view(folder: Path) -> RenderableType:
    """A run as it is now."""
    states = run_states(folder)
    parts: list[RenderableType] = [_headline(folder, states), _steps(states)]
    if states and (curves := _training(folder, states[-1])):
        parts += [Text(), curves]
    if signals := watched(folder):
        parts += [Text(), _signals(signals)]
    return Group(*parts)


def sparkline(values: Sequence[float], width: int = 60) -> str:
    """Values as a row of bars, the highest full; means of neighbours where they are more than `width`.

    >>> sparkline([0, 1, 2, 3])
    '▁▃▅█'
    """
    step = max(1, -(-len(values) // width))
    means = [sum(part) / len(part) for part in (values[n : n + step] for n in range(0, len(values), step))]
    low, high = min(means), max(means)
    return "".join(BARS[int((value - low) / ((high - low) or 1) * (len(BARS) - 1))] for value in means)


def _headline(folder: Path, states: list[dict[str, Any]]) -> Text:
    outcome = folder / "outcome.json"
    if outcome.exists():
        said = "ended"
        with suppress(OSError, ValueError, LookupError, TypeError):  # a copy that is not whole
            said = json.loads(outcome.read_text("utf-8"))["verdict"]
    else:
        done = sum(state["done"] for state in states)
        said = f"{done} steps done, at work on {states[-1]['step']}" if states else "nothing has begun"
        said += f", last written {time.time() - _last_written(folder, states):.0f} s ago"
    return Text.assemble((f"{folder.resolve().name}  ", "bold"), said, "\n")


def _last_written(folder: Path, states: list[dict[str, Any]]) -> float:
    """When the run, or the step that it is at work on, was written last, in seconds of the clock.

    A file may be moved away while it is looked at.
    """
    paths = [folder / "run.json"]
    if states:
        step = states[-1]["step"]
        paths += [folder / f"{step}.step.json", folder / f"{step}.jsonl", folder / step / "log.jsonl"]
    times = [0.0]
    for path in paths:
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)


def _steps(states: list[dict[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    if hidden := states[:-STEPS_SHOWN]:
        table.add_row("[green]✓", f"{len(hidden)} earlier steps", "", "", f"{_time(hidden)}", "")
    for state in states[-STEPS_SHOWN:]:
        done, total = state["progress"]
        whole = state["done"]
        bar = ProgressBar(total=total or 1, completed=(total or 1) if whole else done, width=20)
        count = f"{done}/{total}" if total else ""
        table.add_row(
            "[green]✓" if whole else "[yellow]…",
            state["step"],
            bar,
            count,
            _time([state]),
            Text(_left(state) if not whole else summary(state), "dim", overflow="ellipsis", no_wrap=True),
        )
    return table


def _training(folder: Path, state: dict[str, Any]) -> Table | None:
    """The curves of the training that is under way."""
    if state["done"]:
        return None
    lines: list[dict[str, Any]] = []
    with suppress(FileNotFoundError):
        lines, _ = read_log(folder / state["step"] / "log.jsonl")
    if not lines:
        return None
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    for key in ("loss", "margin", "accuracy", "chosen_logprob", "rejected_logprob", "tokens_per_second"):
        if values := [line[key] for line in lines if key in line]:
            table.add_row(key.replace("_", " "), sparkline(values), f"{values[-1]:.3g}")
    return table


def _signals(found: dict[str, list[Signal]]) -> Table:
    """The signals that a gate acts on, and all that alarm."""
    shown = {item.name: item for items in found.values() for item in items if item.gate or item.alarm}
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for title in ("signal", *found):
        table.add_column(title)
    table.add_column("limit", style="dim")
    for name, any_ in shown.items():
        cells = [_cell(next((item for item in items if item.name == name), None)) for items in found.values()]
        table.add_row(name, *cells, f"{any_.limit} {any_.unit}".strip())
    return table


def _cell(item: Signal | None) -> Text:
    if item is None or item.value is None:
        return Text("–", "dim")
    return Text(item.text, "bold red" if item.alarm else "")


def _time(states: list[dict[str, Any]]) -> str:
    seconds = sum(state["seconds"] for state in states)
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"


def _left(state: dict[str, Any]) -> str:
    done, total = state["progress"]
    if not done or not total:
        return ""
    return f"{_time([{'seconds': (total - done) * state['seconds'] / done}])} left"
