"""Unguessable links: who may do what follows from a secret that lies beside the votes, readable by its owner.

Nothing but the secret is kept: a link is a keyed digest of whom it is for, so it is the same after a restart,
and no link can be read out of the file of votes.
"""

import hashlib
import hmac
import os
import secrets
from base64 import urlsafe_b64encode
from contextlib import suppress
from pathlib import Path

from srlm.errors import RunError

OWNER = "owner"
LENGTH = 32
"""Bytes of a secret."""


class Keys:
    """The keys of everybody who has a link: annotators by number, and the run's owner."""

    def __init__(self, secret: bytes, annotators: int) -> None:
        self._secret, self.annotators = secret, annotators
        self._keys: dict[str, int | str] = {self.of(who): who for who in (*range(1, annotators + 1), OWNER)}

    def of(self, who: int | str) -> str:
        """The key of an annotator's, or of the owner's, link: 192 bits."""
        return self._digest("link", str(who))

    def annotator(self, key: str) -> int | None:
        """Whose key it is, None for nobody's and for the owner's. Every key is compared, in constant time."""
        who = self._who(key)
        return who if isinstance(who, int) else None

    def is_owner(self, key: str) -> bool:
        """Whether it is the owner's key."""
        return self._who(key) == OWNER

    def form(self, annotator: int, what: str) -> str:
        """What a form of a page of this annotator's carries; that of another page or person is refused."""
        return self._digest("form", str(annotator), what)

    def is_form(self, annotator: int, what: str, given: str) -> bool:
        """Whether a form came from this page of this annotator's."""
        return _same(self.form(annotator, what), given)

    def _who(self, key: str) -> int | str | None:
        found = [who for known, who in self._keys.items() if _same(known, key)]
        return found[0] if found else None

    def _digest(self, *parts: str) -> str:
        digest = hmac.digest(self._secret, "\n".join(parts).encode(), hashlib.sha256)
        return urlsafe_b64encode(digest[:24]).decode()


def secret_in(path: Path, *, renew: bool = False) -> bytes:
    """The secret in a file, made where there is none; `renew` makes another, and all links so far end.

    Raises RunError for a file that holds none: links that follow from nothing could be guessed.
    """
    if renew:
        path.unlink(missing_ok=True)
    if not path.exists():
        _keep(secrets.token_bytes(LENGTH), path)
    secret = path.read_bytes()
    if len(secret) != LENGTH:
        raise RunError(
            f"file {path}",
            f"links follow from the {LENGTH} random bytes in it, and it has {len(secret)}",
            "run the command again with --renew-links: everybody gets a new link, and no vote is lost",
        )
    return secret


def _keep(secret: bytes, path: Path) -> None:
    """The file, whole or not there, for its owner's eyes alone; another process's stays if it was first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):
        os.link(temporary, path)
    temporary.unlink()


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
