"""A run served: its study to annotators, its records to its owner."""

import secrets
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path

from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount

from srlm.people.votes import BallotBox
from srlm.store.states import run_states
from srlm.web.annotating import Annotating
from srlm.web.browser.browsing import browse_routes
from srlm.web.browser.index import Index, open_index
from srlm.web.links import LENGTH, OWNER, Keys, secret_in
from srlm.web.server import OwnersOnly, address_of, app_of, listen, serve
from srlm.web.studying import PEOPLE, study_route


@dataclass(frozen=True)
class Links:
    """Who gets which link: the annotators of a study in order, and the run's owner."""

    box: BallotBox | None
    people: list[str]
    owner: str


Ready = Callable[[Links], None]
"""Is told the links when they can be opened."""


@dataclass(frozen=True)
class Where:
    """The address to listen on; `exposed`: other machines may reach it."""

    host: str
    port: int
    exposed: bool


def serve_run(
    folder: Path,
    where: Where,
    ready: Ready,
    study: Callable[[], BallotBox] | None = None,
    *,
    annotators: int = 0,
    renew: bool = False,
) -> None:
    """Serve a run, and a study of it where there is one, until Ctrl-C.

    The study is opened when the address is known to be free, for its models may have to answer first. Raises
    RunError where there is no run and ConfigError where it cannot listen.
    """
    run_states(folder)
    with ExitStack() as stack:
        listening = stack.enter_context(closing(listen(where.host, where.port, exposed=where.exposed)))
        box = stack.enter_context(closing(study())) if study else None
        index = stack.enter_context(closing(open_index(folder)))
        keys = Keys(_secret(folder, box, renew=renew), annotators)
        address = address_of(listening, where.host)
        people = [f"{address}/a/{keys.of(number)}/" for number in range(1, annotators + 1)]
        links = Links(box, people, f"{address}/browse/{keys.of(OWNER)}/")
        serve(app_of(routes_of(folder, index, box, keys), keys, where.host), listening, lambda: ready(links))


def _secret(folder: Path, box: BallotBox | None, *, renew: bool) -> bytes:
    """The secret of a study; of the run browser, where nothing can be written, one for this time alone."""
    if box:
        return secret_in(box.path.with_suffix(".key"), renew=renew)
    try:
        return secret_in(folder / "human/browser.key", renew=renew)
    except OSError:
        return secrets.token_bytes(LENGTH)


def routes_of(folder: Path, index: Index, box: BallotBox | None, keys: Keys) -> list[BaseRoute]:
    """The pages of a run: those of its study, and those that are its owner's alone."""
    if box is None:
        return [_owners(browse_routes(folder, index), keys)]
    owners = [study_route(folder, box, keys.annotators), *browse_routes(folder, index, PEOPLE)]
    return [*Annotating(box, keys).routes(), _owners(owners, keys)]


def _owners(routes: Sequence[BaseRoute], keys: Keys) -> Mount:
    return Mount("/browse/{key}", routes=routes, middleware=[Middleware(OwnersOnly, keys=keys)])
