"""What stands before every page: security headers, bounds on a request's size and rate."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",  # an address is a key; no-referrer would hide a form's origin, too
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "x-robots-tag": "noindex",
}
LARGEST = 64 * 1024
"""Bytes of a form at most."""
FORM = "application/x-www-form-urlencoded"


class Headers:
    """Adds the headers to every answer; pages are not kept by browsers, static files are for an hour."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        kept = "max-age=3600" if scope["path"].startswith("/static/") else "no-store"
        more = [
            (name.encode(), value.encode()) for name, value in (HEADERS | {"cache-control": kept}).items()
        ]

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *more]
            await send(message)

        return await self._app(scope, receive, answer)


@dataclass
class _Bucket:
    """What is left of somebody's requests, and when that was so."""

    left: float
    at: float


class Limit:
    """At most `burst` requests at once and `rate` a second after that, by whom they come from."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[object, _Bucket] = OrderedDict()

    def admits(self, who: object) -> bool:
        """Whether one more request of theirs is within the limit; it is counted if so."""
        now = self._clock()
        bucket = self._buckets.setdefault(who, _Bucket(self._burst, now))
        self._buckets.move_to_end(who)
        while len(self._buckets) > 10_000:  # whoever was not seen for longest has all of theirs again
            self._buckets.popitem(last=False)
        bucket.left = min(self._burst, bucket.left + (now - bucket.at) * self._rate)
        bucket.at = now
        if bucket.left < 1:
            return False
        bucket.left -= 1
        return True


async def read_form(request: Request) -> dict[str, list[str]]:
    """The fields of a form; raises HTTPException for another site's, for what is none, and a large one."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != FORM:
        raise HTTPException(415, "This page takes only its own form.")
    if _from_elsewhere(request):
        raise HTTPException(403, "This form came from another site.")
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > LARGEST:
            raise HTTPException(413, f"A form has at most {LARGEST // 1024} KiB.")
    try:
        return parse_qs(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=50)
    except ValueError as error:  # a UnicodeDecodeError is one
        raise HTTPException(400, "This form cannot be read.") from error


def _from_elsewhere(request: Request) -> bool:
    """Whether a browser says that another site sent the form; a program that is no browser says nothing."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in {"same-origin", "none"}
    origin = request.headers.get("origin")
    return origin is not None and origin.partition("://")[2] != request.headers.get("host")
