"""Who works on a run that is kept on an object store: one driver, for as long as it says that it lives.

Only one can create the object that names the driver. A driver that is dead is taken over from by writing over
it, which several may do at once: the last to write has it, and the others find that out a moment later.
"""

import json
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from typing import Any

import psutil

from srlm.errors import RunLocked
from srlm.store.objects import Objects

LOCK = ".lock"
LEASE = 900.0
"""Seconds after which a driver that no longer says that it lives is taken for dead."""
HEARTBEAT = 60.0
"""Seconds between two words of a driver that lives."""
SETTLE = 2.0
"""Seconds after which all who saw the same dead driver have written over it."""


class Lease:
    """The right to be the only driver of the run in `store`."""

    def __init__(self, store: Objects) -> None:
        self._store = store
        self._me = {"host": socket.gethostname(), "pid": os.getpid(), "key": uuid.uuid4().hex}
        self._said = 0.0
        self._claimed = False
        self._lost: dict[str, Any] | None = None  # who took over
        self._ended = threading.Event()
        self._turn = threading.Lock()

    def claim(self) -> None:
        """Be the only driver, and say so from now on; raises RunLocked where another one is alive."""
        try:
            self._say(only_new=True)
        except FileExistsError:
            self._take_over()
        threading.Thread(target=self._keep_saying, name="heartbeat", daemon=True).start()

    def check(self) -> None:
        """Raises RunLocked where another one has taken over."""
        with self._turn:
            # By the clock on the wall, which goes on while the machine sleeps, as others do.
            if self._lost is not None or not 0 <= time.time() - self._said < HEARTBEAT:
                self._renew()

    def release(self) -> None:
        """Let others have it, if it is still ours; what fails is no error, for the lease runs out."""
        self._ended.set()
        with self._turn, suppress(Exception):
            if self._claimed and self._owner().get("key") == self._me["key"]:
                self._store.remove(LOCK)

    def _take_over(self) -> None:
        owner = self._owner()
        if not _is_dead(owner):
            raise self._locked(owner)
        self._say()
        time.sleep(SETTLE)
        self._renew()

    def _keep_saying(self) -> None:
        """A step may take hours between two blocks, so a thread says that this driver lives."""
        while not self._ended.wait(HEARTBEAT):
            with self._turn:
                if self._ended.is_set() or self._lost is not None:
                    return
                with suppress(Exception):  # the store is away; if it stays so, whoever copies to it says so
                    self._renew()

    def _renew(self) -> None:
        owner = self._lost or self._owner()
        if owner.get("key") != self._me["key"]:
            self._lost = owner
            raise self._locked(owner)
        self._say()

    def _say(self, *, only_new: bool = False) -> None:
        now = time.time()
        self._store.put(LOCK, json.dumps(self._me | {"at": now}).encode(), only_new=only_new)
        self._said, self._claimed = now, True

    def _owner(self) -> dict[str, Any]:
        """Who has it, or nothing where nobody does."""
        try:
            return self._store.read_json(LOCK)
        except (FileNotFoundError, ValueError):
            return {}

    def _locked(self, owner: dict[str, Any]) -> RunLocked:
        return RunLocked(
            f"run {self._store.url}",
            f"a driver on {owner.get('host', 'some machine')} (process {owner.get('pid', '?')}) works on it",
            f"wait for it; one that was killed is taken for dead {LEASE / 60:g} minutes after its last word",
        )


def _is_dead(owner: dict[str, Any]) -> bool:
    """Whether a driver has ended, or has not said for long that it lives.

    The latter on this machine, too: a container that starts again has the name and the numbers of the last.
    """
    if owner.get("host") == socket.gethostname() and not psutil.pid_exists(int(owner["pid"])):
        return True
    return time.time() - float(owner.get("at", 0)) > LEASE
