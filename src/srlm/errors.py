"""Every error that srlm raises on purpose, and the one form their messages take.

::

    SrlmError                 what you gave · why it cannot work · what to do
    ├── ConfigError           a recipe or an override
    ├── DataError             a user's JSONL file, line by line
    ├── ModelError            a model reference or a model's folder
    │   └── PromptTooLong     a conversation that does not fit the model's context
    ├── EngineError           an engine that cannot generate
    ├── RunError              a run's folder
    │   ├── RunChanged        made by another config or version
    │   └── RunLocked         another process is working on it
    └── TrainingError         the training child process

The command line prints the message without a traceback and leaves with status 2.
"""

import errno

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
"""What the system says when a disk or a quota is full."""


class SrlmError(Exception):
    """An error with three parts: what was given, why it cannot work, what to do."""

    def __init__(self, given: str, why: str, todo: str) -> None:
        super().__init__(f"{given}\n  Why: {why}\n  What to do: {todo}")
        self.given, self.why, self.todo = given, why, todo

    def __reduce__(self) -> tuple[type, tuple[str, str, str]]:
        return type(self), (self.given, self.why, self.todo)


class ConfigError(SrlmError):
    """A recipe or an override that cannot be used."""


class DataError(SrlmError):
    """A data file with bad lines; the message names each by its number."""


class ModelError(SrlmError):
    """A model reference that leads nowhere, or a model that cannot be used."""


class PromptTooLong(ModelError):
    """Conversations that leave no room for an answer in the model's context."""

    def __init__(self, given: str, why: str, todo: str, request_ids: tuple[str, ...] = ()) -> None:
        super().__init__(given, why, todo)
        self.request_ids = request_ids


class EngineError(SrlmError):
    """An engine that cannot generate."""


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
