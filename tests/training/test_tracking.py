"""Figures reach a real tracker: TensorBoard's own files are read back."""

import struct

import pytest
from tensorboardX.proto.event_pb2 import Event
from test_training import DPO, PAIRS, in_process, job_of

from srlm.errors import ConfigError
from srlm.training.tracking import Tracker, trackers


def scalars(folder):
    """{(tag, step): value} of the event files of a folder: length, checksum, event, checksum."""
    found = {}
    for path in sorted(folder.glob("**/*tfevents*")):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = Event.FromString(data[12 : 12 + length])
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found[value.tag, event.step] = value.simple_value
            data = data[16 + length :]
    return found


def test_figures_of_rounds_reach_tensorboard(tmp_path):
    tracker = Tracker(("tensorboard",), tmp_path / "signals")
    tracker.log(1, {"signals/ties": 0.25})
    tracker.log(2, {"signals/ties": 0.5})
    tracker.close()
    found = scalars(tmp_path / "signals")
    values = {step: value for (tag, step), value in found.items() if tag.endswith("signals/ties")}
    assert values == {1: 0.25, 2: 0.5}


def test_a_training_reports_to_tensorboard_inside_the_run(tiny, tmp_path):
    job = job_of(tiny, tmp_path / "run/M2/dpo", DPO).model_copy(update={"report_to": ("tensorboard",)})
    in_process(job)
    found = scalars(tmp_path / "run/tracking/M2-dpo")
    losses = [step for tag, step in found if tag == "train/loss"]
    assert losses == list(range(1, len(PAIRS) // 3 + 1))
    assert ("train/margin", 1) in found


def test_without_trackers_nothing_is_written(tmp_path):
    Tracker((), tmp_path / "signals").log(1, {"a": 1.0})
    assert not (tmp_path / "signals").exists()


def test_an_unknown_tracker_is_named_with_those_that_are_there():
    with pytest.raises(ConfigError, match=r"report_to=tensorbord(.|\n)*installed here: .*tensorboard"):
        trackers(["tensorbord"])
