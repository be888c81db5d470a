"""What the owner sees of a study: how far each annotator is, and what the votes say so far."""

from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from srlm.people.asking import SKIPPED
from srlm.people.figures import study_figures
from srlm.people.tables import figures_text
from srlm.people.votes import BallotBox
from srlm.web.browser.querying import TITLES
from srlm.web.rendering import page

PEOPLE = {"people": "People"}
"""The page's path and title, among those of the run browser."""


def study_route(folder: Path, box: BallotBox, annotators: int) -> Route:
    """The page of a study, to be mounted beside the run browser's."""
    frame: dict[str, Any] = {
        "base": "./",
        "run": folder.resolve().name,
        "current": "people",
        "titles": TITLES,
    }
    frame |= {"more": PEOPLE, "progress": None, "trouble": "", "problems": []}

    def show(request: Request) -> Response:
        table = ""
        if "figures" in request.query_params:  # takes seconds, and not every look is for them
            found = study_figures(folder, box)
            table = figures_text(found["figures"], found["judges"])
        return page(
            "study",
            name=box.path.stem,
            study=box.study,
            num=len(box.items),
            annotators=[_at_work(box, number) for number in range(1, annotators + 1)],
            table=table,
            **frame,
        )

    return Route("/people", show)


def _at_work(box: BallotBox, annotator: int) -> dict[str, object]:
    """How far an annotator is: `votes`, `skipped`, and when the last was cast."""
    said = box.said_by(annotator).values()
    skipped = sum(vote.choice == SKIPPED for vote in said)
    last = max((vote.at for vote in said), default="")[:16].replace("T", " ")
    return {"number": annotator, "votes": len(said) - skipped, "skipped": skipped, "last": last}
