"""A run served: its study to annotators, its records to its owner."""

from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Mount

from srlm.people.votes import BallotBox
from srlm.store.run import run_states
from srlm.web.annotating import Annotating
from srlm.web.browser.browsing import browse_routes
from srlm.web.browser.index import Index, open_index
from srlm.web.links import OWNER, Keys, secret_in
from srlm.web.server import OwnersOnly, address_of, app_of, is_loopback, listen, serve
from srlm.web.studying import PEOPLE, study_route

Ready = Callable[[list[str], str], None]
"""Is told the annotators' links and the owner's."""


def serve_run(
    folder: Path,
    box: BallotBox | None,
    annotators: int,
    where: tuple[str, int, bool],
    ready: Ready,
    *,
    renew: bool,
) -> None:
    """Serve a run, and a study of it where there is one, until Ctrl-C; `where`: host, port, exposed.

    Raises RunError where there is no run and ConfigError where it cannot listen.
    """
    run_states(folder)  # raises RunError where there is no run
    host, port, exposed = where
    with closing(listen(host, port, exposed=exposed)) as listening, closing(open_index(folder)) as index:
        name = box.path.stem if box else "browser"
        keys = Keys(secret_in(folder / "human" / f"{name}.key", renew=renew), annotators)
        app = app_of(routes_of(folder, index, box, keys), keys, local=is_loopback(host))
        address = address_of(listening, host)
        people = [f"{address}/a/{keys.of(number)}/" for number in range(1, annotators + 1)]
        serve(app, listening, lambda: ready(people, f"{address}/browse/{keys.of(OWNER)}/"))


def routes_of(folder: Path, index: Index, box: BallotBox | None, keys: Keys) -> list[BaseRoute]:
    """The pages of a run: those of its study, and those that are its owner's alone."""
    if box is None:
        return [_owners(browse_routes(folder, index), keys)]
    owners = [study_route(folder, box, keys.annotators), *browse_routes(folder, index, PEOPLE)]
    return [*Annotating(box, keys).routes(), _owners(owners, keys)]


def _owners(routes: Sequence[BaseRoute], keys: Keys) -> Mount:
    return Mount("/browse/{key}", routes=routes, middleware=[Middleware(OwnersOnly, keys=keys)])
