"""Figures for experiment trackers: any that transformers knows (tensorboard, wandb, mlflow, trackio ...).

A training reports by the Trainer itself; figures of a round, which no Trainer sees, go to the same ones here.
"""

import atexit
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from srlm.errors import ConfigError


class Tracker:
    """Streams the figures of rounds; opened at the first ones, closed by `close` or at the process's end."""

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        self._names, self._folder = names, folder
        self._callbacks: list[Any] = []

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """One figure each, at a step such as the number of a round; raises ConfigError as `trackers` does."""
        if not self._names:
            return
        if not self._callbacks:
            self._callbacks = trackers(self._names)
            keep_in(self._folder, self._callbacks)
            self._tell("on_train_begin", step)
            atexit.register(self.close)
        self._tell("on_log", step, logs=dict(values))

    def close(self) -> None:
        """Write what a tracker still holds in memory."""
        self._tell("on_train_end", 0)
        self._callbacks = []

    def _tell(self, event: str, step: int, **more: Any) -> None:
        """Call the trackers as a Trainer would."""
        if not self._callbacks:
            return
        from transformers import TrainingArguments
        from transformers.trainer_callback import TrainerControl, TrainerState

        arguments = TrainingArguments(output_dir=str(self._folder), report_to="none", use_cpu=True)
        state = TrainerState(global_step=step, is_world_process_zero=True, is_local_process_zero=True)
        for callback in self._callbacks:
            getattr(callback, event)(arguments, state, TrainerControl(), **more)


def trackers(names: Sequence[str]) -> list[Any]:
    """The callbacks of some trackers; raises ConfigError for one that is unknown or not installed."""
    if not names:
        return []
    from transformers.integrations import INTEGRATION_TO_CALLBACK, get_available_reporting_integrations

    there = get_available_reporting_integrations()
    for name in names:
        if name not in INTEGRATION_TO_CALLBACK or name not in there:
            known = ", ".join(sorted(INTEGRATION_TO_CALLBACK))
            raise ConfigError(
                f"report_to={name}",
                f"transformers knows the trackers {known}; of these are installed here: "
                + (", ".join(sorted(there)) or "none"),
                "install the tracker's package, or leave it out of `report_to`",
            )
    return [INTEGRATION_TO_CALLBACK[name]() for name in names]


def keep_in(folder: Path, callbacks: Iterable[Any]) -> None:
    """Let TensorBoard write to a folder of the run; by default its files would go with the checkpoints."""
    for callback in callbacks:
        if getattr(callback, "logging_dir", folder) is None:  # not set by TENSORBOARD_LOGGING_DIR
            callback.logging_dir = str(folder)
