"""Every error that srlm raises on purpose, and the one form their messages take.

::

    SrlmError                 what you gave · why it cannot work · what to do
    ├── ConfigError           a recipe or an override
    ├── DataError             a user's JSONL file, line by line
    ├── ModelError            a model reference or a model's folder
    ├── EngineError           an engine that cannot generate
    │   └── Unanswerable      some of its requests have no answer, the others have one
    │       ├── PromptTooLong     they do not fit the model's context
    │       └── PoisonRequest     they end every worker that takes them
    ├── RunError              a run's folder
    │   ├── RunChanged        made by another config or version
    │   └── RunLocked         another process is working on it
    └── TrainingError         the training child process

The command line prints the message without a traceback and leaves with status 2.
"""

import errno
from typing import Any

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says when a disk or a quota is full."""


class SrlmError(Exception):
    """An error with three parts: what was given, why it cannot work, what to do."""

    def __init__(self, given: str, why: str, todo: str) -> None:
        super().__init__(f"{given}\n  Why: {why}\n  What to do: {todo}")
        self.given, self.why, self.todo = given, why, todo

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (self.given, self.why, self.todo)


class ConfigError(SrlmError):
    """A recipe or an override that cannot be used."""


class DataError(SrlmError):
    """A data file with bad lines; the message names each by its number."""


class ModelError(SrlmError):
    """A model reference that leads nowhere, or a model that cannot be used."""


class EngineError(SrlmError):
    """An engine that cannot generate."""


class Unanswerable(EngineError):
    """Requests that have no answer, by their ids; `reason` says why not, in a few words."""

    reason = "no answer"

    def __init__(self, given: str, why: str, todo: str, request_ids: tuple[str, ...] = ()) -> None:
        super().__init__(given, why, todo)
        self.request_ids = request_ids

    def __reduce__(self) -> tuple[type, tuple[Any, ...]]:
        return type(self), (self.given, self.why, self.todo, self.request_ids)


class PromptTooLong(Unanswerable):
    """Conversations that leave no room for an answer in the model's context."""

    reason = "too long for the context"


class PoisonRequest(Unanswerable):
    """Requests that end every worker that takes them."""

    reason = "ended its worker"


class ClusterLost(EngineError):
    """The cluster of an engine is gone as a whole."""


class RunError(SrlmError):
    """A run's folder that cannot be read or written."""


class RunChanged(RunError):
    """A run that was made by another config, version or seed set."""


class RunLocked(RunError):
    """A run on which another process is working."""


class TrainingError(SrlmError):
    """A training process that failed."""


def full_disk(what: str, error: OSError) -> RunError:
    """The error for a full disk, whatever was being written."""
    return RunError(
        what,
        f"the disk is full ({error.strerror})",
        "make room and run the same command again: everything up to the last block or checkpoint is safe",
    )
