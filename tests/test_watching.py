"""The live view, rendered as text: steps, a training under way, signals; and an end."""

import json
import shutil
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from srlm.errors import RunError
from srlm.monitors.signals import Signal, plain
from srlm.store.states import run_states
from srlm.watching import newest_run, sparkline, view, watch

CALM = Signal("win rate", "frozen_judge", "share", 0.6, 0.5, 0.7, 12, "below 0.45", None)
LOUD = Signal("repetition", None, "share", 0.4, 0.3, 0.5, 12, "above 0.1", "answers repeat themselves")
QUIET = Signal("mean score", None, "points", 3.0, None, None, 12, "", None)


@pytest.fixture
def run(tmp_path):
    """A run in its second training."""
    folder = tmp_path / "mine"
    (folder / "M2/dpo").mkdir(parents=True)
    (folder / "run.json").write_text("{}")
    steps = [("M2/responses", True, [24, 24], 24), ("M2/dpo", False, [3, 12], 0)]
    for number, (name, done, progress, records) in enumerate(steps):
        state = {"step": name, "number": number, "done": done, "progress": progress, "seconds": 30.0}
        state |= {"records": records, "counts": {"cut off": 2} if done else {}}
        (folder / f"{name}.step.json").write_text(json.dumps(state))
    log = [{"loss": 0.69 - 0.1 * n, "margin": 0.1 * n} for n in range(3)]
    (folder / "M2/dpo/log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
    (folder / "M2/monitors.json").write_text(json.dumps({"signals": plain([CALM, LOUD, QUIET])}))
    return folder


def text_of(folder):
    console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    console.print(view(folder))
    return console.export_text()


def test_the_view_shows_steps_curves_and_signals(run):
    text = text_of(run)
    assert "mine  1 steps done, at work on M2/dpo, last written" in text
    assert "24 records, 2 cut off" in text
    assert "3/12" in text
    assert "90 s left" in text  # nine steps at ten seconds each
    assert "▁" in text
    assert "0.49" in text
    assert "0.600 [0.500, 0.700]" in text
    assert "0.400 [0.300, 0.500]" in text  # it alarms
    assert "mean score" not in text  # nothing acts on it


def test_the_view_stands_files_that_vanish_or_are_half_written(run, monkeypatch):
    """What the run writes meanwhile: checkpoints that go, files under another name, a line that is cut."""
    with (run / "M2/dpo/log.jsonl").open("a") as log:
        log.write('{"loss": 0.1, "mar')
    (run / "M2/.dpo.step.json.tmp").write_text("{")
    (run / "M2/judgments.step.json").write_text("")
    (run / "M3").mkdir()
    (run / "M3/monitors.json").write_text('{"signals": [{"na')
    stat = Path.stat

    def moved_away(path, **more):
        if path.name == "dpo.step.json":
            raise FileNotFoundError(path)
        return stat(path, **more)

    monkeypatch.setattr(Path, "stat", moved_away)
    text = text_of(run)
    assert "at work on M2/dpo, last written" in text
    assert "0.49" in text  # the last whole line


def test_a_folder_that_vanishes_costs_no_state(run):
    """Checkpoints come and go while states are looked for."""
    stop = threading.Event()

    def come_and_go():
        while not stop.is_set():
            checkpoint = run / "M2/dpo/checkpoint-1/deep"
            checkpoint.mkdir(parents=True)
            shutil.rmtree(checkpoint.parent)

    writer = threading.Thread(target=come_and_go)
    writer.start()
    try:
        assert all(len(run_states(run)) == 2 for _ in range(300))
    finally:
        stop.set()
        writer.join()


def test_watching_ends_with_the_run(run):
    def end():
        time.sleep(0.2)
        (run / "outcome.json").write_text(json.dumps({"verdict": "M2 is trained."}))

    threading.Thread(target=end).start()
    console = Console(record=True, width=120, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    watch(run, console, every=0.05)
    assert "M2 is trained." in console.export_text()


def test_a_sparkline_spans_lowest_to_highest_and_averages_what_does_not_fit():
    assert sparkline([0, 1, 2, 3]) == "▁▃▅█"
    assert sparkline([2, 2]) == "▁▁"
    assert sparkline([0, 2, 4, 6], width=2) == "▁█"


def test_the_newest_run_is_watched(run):
    assert newest_run(run.parent) == run
    with pytest.raises(RunError, match="srlm run smollm2"):
        newest_run(run)
