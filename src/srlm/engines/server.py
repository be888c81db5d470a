"""One JSON question to a server: asked again only where that may succeed, never sooner than it says.

429, 408, 425, 5xx, cut connections, timeouts and answers that cannot be read pass by; each time the wait
doubles. `Retry-After` holds back every question to the server, not only the one that got it. Everything
else (400, 401, 403, 404 ..., an account without money) stays as it is, and is `Refused` at once.
"""

import ipaddress
import json
import os
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from srlm import __version__
from srlm.config import OpenAIEngineSection
from srlm.errors import EngineError

FIRST_WAIT, LAST_WAIT = 1.0, 60.0
"""Seconds before the first repetition, and the most that doubling leads to."""
LONGEST_WAIT = 3600.0
"""A server that wants more seconds than this to pass ends the run, which goes on when it is started again."""
LARGEST = 64 * 2**20
"""Bytes of an answer that are read."""

T = TypeVar("T")
Json = dict[str, Any]


class Passing(Exception):
    """A failure that may pass: why, and the seconds that the server wants to be left alone."""

    def __init__(self, why: str, after: float = 0.0) -> None:
        super().__init__(why)
        self.after = after


class Refused(Exception):
    """The server's no, which will stay a no: HTTP status (0: none came), its code, what it said."""

    def __init__(self, status: int, code: str, said: str) -> None:
        super().__init__(said)
        self.status, self.code, self.said = status, code, said


class Stopped(Exception):
    """Another question failed for good, so this one is not asked any more."""


class Server:
    """Asks the server of a section; from as many threads as you like, `concurrency` at a time.

    `sleep` and `now` are the clock by which it waits. `counts` says what was asked and repeated.
    """

    def __init__(
        self,
        section: OpenAIEngineSection,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.lock = threading.Lock()
        self._section, self._sleep, self._now = section, sleep, now
        self._slots = threading.BoundedSemaphore(section.concurrency)
        self._client: httpx2.Client | None = None
        self._key = ""
        self._closed_until = 0.0

    def ask(self, path: str, body: Json, read: Callable[[Json], T], stopping: threading.Event) -> T:
        """What `read` makes of the answer; it raises Passing for one that is not whole.

        Raises Refused, EngineError when `max_retries` repetitions were not enough, and Stopped.
        """
        self._open()
        last = Passing("it was never asked")
        for attempt in range(self._section.max_retries + 1):
            if attempt:
                self._wait(attempt, last)
            try:
                return read(self._answer(path, body, stopping, repeated=attempt > 0))
            except Passing as error:
                last = error
                self._hold_back(error.after)
        raise EngineError(
            self.name,
            f"{self._section.max_retries + 1} attempts at one request failed, the last so: {last}",
            "look at the server's log or status page, then run the same command again: it goes on after the "
            "last block. engine.timeout_s, engine.max_retries and engine.concurrency may change meanwhile",
        )

    @property
    def name(self) -> str:
        """The server and its model, for errors."""
        return f"server {self._section.base_url}, model {self._section.model}"

    def short(self, text: object, length: int = 300) -> str:
        """One line of what a server said, without the key should it repeat it."""
        line = " ".join(str(text).split())
        line = line.replace(self._key, "***") if self._key else line
        return line if len(line) <= length else f"{line[:length]}..."

    def close(self) -> None:
        """Close the connections."""
        with self.lock:
            client, self._client = self._client, None
        if client:
            client.close()

    def _answer(self, path: str, body: Json, stopping: threading.Event, *, repeated: bool) -> Json:
        with self._slots:
            while not stopping.is_set() and (left := self._closed_until - self._now()) > 0:
                self._sleep(left)
            if stopping.is_set():
                raise Stopped
            with self.lock:
                self.counts["requests"] += 1
                self.counts["requests repeated"] += repeated
            response, content = self._send(path, body)
        return self._read(response, content)

    def _send(self, path: str, body: Json) -> tuple[httpx2.Response, bytes]:
        timeout, content = self._section.timeout_s, bytearray()
        until = time.monotonic() + timeout
        late = Passing(f"no whole answer within {timeout:g} s (engine.timeout_s)")
        try:
            with self._open().stream("POST", path, content=json.dumps(body)) as response:
                for part in response.iter_bytes():
                    content += part
                    if time.monotonic() > until:
                        raise late
                    if len(content) > LARGEST:
                        raise Refused(0, "", f"its answer is longer than {LARGEST:,} bytes")
        except httpx2.TimeoutException as error:
            raise late from error
        except httpx2.RequestError as error:
            why = self.short(f"{type(error).__name__}: {error}")
            if "CERTIFICATE" in why:
                raise Refused(0, "", why) from error
            raise Passing(f"the connection failed ({why})") from error
        return response, bytes(content)

    def _read(self, response: httpx2.Response, content: bytes) -> Json:
        """The answer's JSON object; a hosted router reports its upstream's failures with status 200."""
        value = _parsed(content)
        error = value.get("error") if isinstance(value, dict) and not value.get("choices") else None
        if response.status_code != httpx2.codes.OK or error:
            raise self._failure(response, value, content)
        if isinstance(value, dict):
            return value
        kind = response.headers.get("content-type", "without a type")
        seen = self.short(content[:400].decode("utf-8", "replace"), 80)
        if "json" not in kind:
            raise Refused(200, "", f"its answer is no JSON ({kind}): {seen!r}")
        raise Passing(f"its answer is not whole JSON: {seen!r}")

    def _failure(self, response: httpx2.Response, value: Any, content: bytes) -> Passing | Refused:
        code, said = _complaint(value) if isinstance(value, dict) else ("", "")
        said = self.short(said or content[:2000].decode("utf-8", "replace") or "nothing")
        status = response.status_code
        if status == httpx2.codes.OK:
            status = int(code.split()[0]) if re.match(r"[45]\d\d\b", code) else 502
        if response.is_redirect:
            said = f"it lies elsewhere now: {self.short(response.headers.get('location', ''), 100)}"
        passes = status in {408, 425, 429} or (status >= 500 and status not in {501, 505})
        if not passes or "insufficient_quota" in code:
            return Refused(status, code, said)
        return Passing(f"HTTP {status}: {said}", retry_after(response.headers))

    def _wait(self, attempt: int, error: Passing) -> None:
        doubled: float = FIRST_WAIT * 2 ** (attempt - 1)
        jitter = random.uniform(0.8, 1.2)  # noqa: S311  so that questions that failed together spread
        self._sleep(min(doubled, LAST_WAIT) * jitter)

    def _hold_back(self, seconds: float) -> None:
        if seconds > LONGEST_WAIT:
            raise EngineError(
                self.name,
                f"it asks to be left alone for {seconds / 3600:.1f} hours (Retry-After)",
                "run the same command again after that: it goes on after the last block",
            )
        with self.lock:
            self._closed_until = max(self._closed_until, self._now() + seconds if seconds else 0.0)

    def _open(self) -> httpx2.Client:
        with self.lock:
            if self._client is None:
                self._key = _key_of(self._section)
                headers = {"Content-Type": "application/json", "User-Agent": f"srlm/{__version__}"}
                if self._key:
                    headers["Authorization"] = f"Bearer {self._key}"
                timeout = self._section.timeout_s
                self._client = httpx2.Client(
                    base_url=self._section.base_url,
                    headers=headers,
                    timeout=httpx2.Timeout(timeout, connect=min(timeout, 20.0)),
                    limits=httpx2.Limits(max_keepalive_connections=self._section.concurrency),
                    trust_env=not _is_here(self._section.base_url),  # no proxy to this very machine
                )
            return self._client


def retry_after(headers: httpx2.Headers) -> float:
    """The seconds of a Retry-After header, given so or as a date; 0 without one that can be read.

    A date is compared with the server's own (`Date`), so that clocks need not agree.
    """
    text = headers.get("retry-after", "").strip()
    if re.fullmatch(r"\d{1,9}(\.\d+)?", text):
        return float(text)
    when = _date(text)
    if when is None:
        return 0.0
    now = _date(headers.get("date", "")) or datetime.now(UTC)
    return max((when - now).total_seconds(), 0.0)


def _date(text: str) -> datetime | None:
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError):
        return None
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _parsed(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _complaint(value: Json) -> tuple[str, str]:
    """Code and words of an error, in any of the forms in which servers give them."""
    error = value.get("error") or value
    if not isinstance(error, dict):
        return "", str(error)
    said = error.get("message") or error.get("detail") or error.get("error") or ""
    return f"{error.get('code', '')} {error.get('type', '')}".strip(), str(said)


def _is_here(address: str) -> bool:
    host = httpx2.URL(address).host
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _key_of(section: OpenAIEngineSection) -> str:
    """The key from the environment, empty without one; raises EngineError when it cannot be sent."""
    name = section.api_key_env
    key = os.environ.get(name, "").strip() if name else ""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise EngineError(
            f"the key in environment variable {name}",
            "it holds characters that no key has, such as spaces or line ends",
            f"set {name} to the key alone",
        )
    if key and section.base_url.startswith("http:") and not _is_here(section.base_url):
        raise EngineError(
            f"engine.base_url={section.base_url} and the key in {name}",
            "the key would cross the network where everybody can read it",
            "use https or a tunnel to 127.0.0.1, or set engine.api_key_env= to send no key",
        )
    return key
