"""The server: which pages there are, who is let in, on which address it listens."""

import ipaddress
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.resources import files

import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from srlm.errors import ConfigError
from srlm.web.guard import Headers, Limit
from srlm.web.links import Keys
from srlm.web.rendering import page

WORDS = {
    403: "This was not accepted.",
    404: "There is no such page. A link may have been cut off when it was copied, or replaced by a new one.",
    429: "Too many requests. Wait a few seconds.",
}


def app_of(routes: Sequence[BaseRoute], keys: Keys, host: str = "127.0.0.1") -> ASGIApp:
    """The pages behind everything that guards them; on a `host` of this machine for its names alone."""
    static = Mount("/static", StaticFiles(directory=str(files("srlm").joinpath("web/static"))))
    names = ["127.0.0.1", "localhost", "[::1]", f"[{host}]" if ":" in host else host]
    app = Starlette(
        routes=[*routes, static],
        middleware=[
            Middleware(
                TrustedHostMiddleware,
                allowed_hosts=names if is_loopback(host) else ["*"],
                www_redirect=False,
            ),
            Middleware(Rates, keys=keys),
        ],
        exception_handlers={HTTPException: _told, 500: _failed},
    )
    return Headers(app)  # around all of it: a page that says that something failed has them, too


class Rates:
    """Bounds requests by link; those that belong to nobody by the address they come from."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys
        self._known, self._unknown = Limit(rate=20, burst=100), Limit(rate=5, burst=50)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or refuse it."""
        if scope["type"] != "http" or scope["path"].startswith("/static/") or self._admits(scope):
            return await self._app(scope, receive, send)
        answer = page("fault", 429, words=WORDS[429])
        answer.headers["retry-after"] = "5"
        return await answer(scope, receive, send)

    def _admits(self, scope: Scope) -> bool:
        key = [*scope["path"].split("/"), "", ""][2]
        who = "owner" if self._keys.is_owner(key) else self._keys.annotator(key)
        if who is not None:
            return self._known.admits(who)
        return self._unknown.admits((scope.get("client") or ("",))[0])


class OwnersOnly:
    """Lets nobody but the owner through to the pages below /browse/KEY/."""

    def __init__(self, app: ASGIApp, keys: Keys) -> None:
        self._app, self._keys = app, keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on, or say that there is no such page."""
        if scope["type"] == "http" and not self._keys.is_owner(scope["path_params"].get("key", "")):
            raise HTTPException(404)
        await self._app(scope, receive, send)


def listen(host: str, port: int, *, exposed: bool) -> socket.socket:
    """A socket that is bound; `exposed`: other machines may reach it.

    Raises ConfigError for an address that they could reach without that, and for one that is in use.
    """
    if not exposed and not is_loopback(host):
        raise ConfigError(
            f"--host {host}",
            "other machines could reach it: whoever gets hold of a link can vote in its name or read the "
            "run, and the connection is not encrypted, so whoever is on the way can read links and votes",
            "leave it out (and forward the port: ssh -L), or add --expose where you trust the network",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"--host {host} --port {port}",
            f"the server cannot listen there ({error.strerror})",
            "is it running already? Name another --port (0: any that is free)",
        ) from error
    return listening


def is_loopback(host: str) -> bool:
    """Whether an address is reached from this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def address_of(listening: socket.socket, host: str) -> str:
    """Where a browser finds the server."""
    name = socket.gethostname() if host in {"0.0.0.0", "::"} else host  # noqa: S104 it is not bound here
    return f"http://{f'[{name}]' if ':' in name else name}:{listening.getsockname()[1]}"


def serve(app: ASGIApp, listening: socket.socket, ready: Callable[[], None]) -> None:
    """Serve until Ctrl-C or SIGTERM, and come back; `ready` is called when connections are taken."""
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        limit_concurrency=500,
    )  # no log of requests: an address is a key
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # uvicorn hands it on when it has closed
    listening.listen(512)
    ready()
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


async def _told(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    detail = str(getattr(error, "detail", ""))
    words = detail if status in {400, 403, 413, 415} else WORDS.get(status, "This did not work.")
    return page("fault", status, words=words or WORDS.get(status, "This did not work."))


async def _failed(request: Request, error: Exception) -> Response:
    return page(
        "fault", 500, words="Something went wrong here. What you have sent before is safe; try again."
    )
