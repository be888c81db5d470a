"""An annotator's pages: how it works, a ballot, all ballots, the end. What they show names no model.

An address holds the annotator's key and a ballot's place in their own order, so two links can be open in one
browser. A form carries a key of its own page. Everything works without JavaScript.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from srlm.people.asking import REASONS, SKIPPED, WITHDRAWN, Vote
from srlm.people.ballots import Ballot, ballots, said, shown
from srlm.people.votes import BallotBox
from srlm.web.guard import read_form
from srlm.web.links import Keys
from srlm.web.rendering import page

LONGEST_NOTE = 2000
"""Characters of a note."""
LONG = 4000
"""Characters from which an answer is shown in a box that scrolls."""

COMPARING = (
    ("1", "A clearly better"),
    ("2", "A slightly better"),
    ("3", "Equally good"),
    ("4", "B slightly better"),
    ("5", "B clearly better"),
    ("both_bad", "Both are bad"),
    ("cannot_judge", "I cannot judge"),
)
"""Values and words of a ballot with two answers, A the left one."""
RATING = (*((str(grade), str(grade)) for grade in range(6)), ("cannot_judge", "I cannot judge"))


@dataclass(frozen=True)
class Desk:
    """One annotator at work: their ballots in order, and what they have said so far, by item."""

    key: str
    annotator: int
    ballots: list[Ballot]
    said: dict[str, Vote]

    @property
    def done(self) -> int:
        return len(self.said) - len(self.skipped)

    @cached_property
    def skipped(self) -> list[int]:
        """The places of the ballots that were skipped."""
        return [one.position for one in self.ballots if (vote := self.vote(one)) and vote.choice == SKIPPED]

    @property
    def last(self) -> int | None:
        """The place of the ballot that was voted on or skipped last."""
        latest = next(reversed(self.said), None)
        return next((one.position for one in self.ballots if one.item.id == latest), None)

    def vote(self, ballot: Ballot) -> Vote | None:
        """What was said on a ballot."""
        return self.said.get(ballot.item.id)

    def has_voted(self, ballot: Ballot) -> bool:
        """Whether they said something on a ballot that counts."""
        return bool(self.vote(ballot)) and ballot.position not in self.skipped

    def after(self, position: int) -> str:
        """Where to go from a ballot: the next open one, then one that was skipped, then the end."""
        onward = [*self.ballots[position:], *self.ballots[:position]]
        still_open = [one.position for one in onward if not self.vote(one)]
        skipped = [place for place in self.skipped if place != position]
        for place in (*still_open, *sorted(skipped, key=lambda place: (place <= position, place))):
            return self.place(place)
        return f"/a/{self.key}/end"

    def place(self, position: int) -> str:
        """A ballot's address."""
        return f"/a/{self.key}/ballot/{position}"


class Annotating:
    """The pages of one study."""

    def __init__(self, box: BallotBox, keys: Keys) -> None:
        self._box, self._keys = box, keys
        self._ballots = cache(partial(ballots, box.items, seed=box.study.seed))

    def routes(self) -> list[Route]:
        """What is served below /a/KEY."""
        return [
            Route("/a/{key}/", self.welcome),
            Route("/a/{key}/ballots", self.overview),
            Route("/a/{key}/next", self.onward),
            Route("/a/{key}/end", self.end),
            Route("/a/{key}/undo", self.undo, methods=["POST"]),
            Route("/a/{key}/ballot/{position}", self.ballot),
            Route("/a/{key}/ballot/{position}", self.vote, methods=["POST"]),
        ]

    def welcome(self, request: Request) -> HTMLResponse:
        """How it works."""
        return page("welcome", desk=self._desk(request), kind=self._box.study.kind)

    def overview(self, request: Request) -> HTMLResponse:
        """Every ballot, and what became of it."""
        return page("ballots", desk=self._desk(request))

    def onward(self, request: Request) -> Response:
        """To the next open ballot."""
        return _go(self._desk(request).after(0))

    def end(self, request: Request) -> HTMLResponse:
        """Thanks, and what was skipped."""
        desk = self._desk(request)
        return page("end", desk=desk, undo=self._undo_form(desk))

    def ballot(self, request: Request) -> HTMLResponse:
        """A prompt, its answers, and the form to judge them."""
        desk = self._desk(request)
        return self._page(desk, _find(desk, request))

    async def vote(self, request: Request) -> Response:
        """Keep a vote, a skip, or that a vote is withdrawn; on to the next ballot."""
        form = await read_form(request)
        return await run_in_threadpool(self._vote, request, form)

    async def undo(self, request: Request) -> Response:
        """Withdraw the latest vote and go back to its ballot."""
        form = await read_form(request)
        return await run_in_threadpool(self._undo, request, form)

    def _vote(self, request: Request, form: Mapping[str, list[str]]) -> Response:
        desk = self._desk(request)
        ballot = _find(desk, request)
        position = ballot.position
        self._check(desk, f"ballot {position}", form)
        todo, note = _one(form, "todo"), _one(form, "note").strip().replace("\r\n", "\n")
        looks_back = todo == SKIPPED and desk.has_voted(ballot)
        if todo in {SKIPPED, WITHDRAWN} and not looks_back:
            self._box.cast(desk.annotator, ballot.item, todo)
        if todo in {SKIPPED, WITHDRAWN}:
            return _go(desk.place(position) if todo == WITHDRAWN else self._desk(request).after(position))
        reasons = tuple(reason for reason in REASONS if reason in form.get("reason", []))
        fault, choice = "", said(ballot, _one(form, "choice"))
        if choice is None:
            fault = "Nothing is chosen yet. Choose one of the lines, or skip this one."
        elif len(note) > LONGEST_NOTE:
            fault = f"The note has {len(note):,} characters; {LONGEST_NOTE:,} are kept at most. Shorten it."
        if fault or choice is None:
            entered = Vote(ballot.item.id, desk.annotator, choice or "", reasons, note)
            return self._page(desk, ballot, entered, fault)
        self._box.cast(desk.annotator, ballot.item, choice, reasons, note)
        return _go(self._desk(request).after(position))

    def _undo(self, request: Request, form: Mapping[str, list[str]]) -> Response:
        """Withdraw what the form was about, if it is still the latest word: a second press undoes no more."""
        desk, position = self._desk(request), _one(form, "position")
        self._check(desk, f"undo {position}", form)
        if not position.isdecimal():
            raise HTTPException(404)
        if str(desk.last) == position:
            self._box.cast(desk.annotator, desk.ballots[int(position) - 1].item, WITHDRAWN)
        return _go(desk.place(int(position)))

    def _undo_form(self, desk: Desk) -> str:
        return self._keys.form(desk.annotator, f"undo {desk.last}")

    def _page(self, desk: Desk, ballot: Ballot, entered: Vote | None = None, fault: str = "") -> HTMLResponse:
        vote = entered or desk.vote(ballot)
        return page(
            "ballot",
            status=400 if fault else 200,
            desk=desk,
            ballot=ballot,
            answers=[answer.text for answer in ballot.answers],
            comparing=len(ballot.answers) == 2,
            choices=COMPARING if len(ballot.answers) == 2 else RATING,
            chosen=shown(ballot, vote.choice) if vote else "",
            vote=vote,
            fault=fault,
            reasons=REASONS,
            criteria=self._box.study.criteria,
            form=self._keys.form(desk.annotator, f"ballot {ballot.position}"),
            undo=self._undo_form(desk),
            longest_note=LONGEST_NOTE,
            long=LONG,
        )

    def _desk(self, request: Request) -> Desk:
        """Whoever the address belongs to; raises HTTPException where that is nobody."""
        key = request.path_params["key"]
        annotator = self._keys.annotator(key)
        if annotator is None:
            raise HTTPException(404)
        return Desk(key, annotator, self._ballots(annotator), self._box.said_by(annotator))

    def _check(self, desk: Desk, what: str, form: Mapping[str, list[str]]) -> None:
        if not self._keys.is_form(desk.annotator, what, _one(form, "form")):
            raise HTTPException(403, "This form is not from your own page, or from before the links changed.")


def _find(desk: Desk, request: Request) -> Ballot:
    position = request.path_params["position"]
    if not re.fullmatch(r"[1-9][0-9]{0,5}", position) or int(position) > len(desk.ballots):
        raise HTTPException(404)
    return desk.ballots[int(position) - 1]


def _one(form: Mapping[str, list[str]], name: str) -> str:
    return next(iter(form.get(name, [])), "")


def _go(address: str) -> RedirectResponse:
    return RedirectResponse(address, status_code=303)  # so that reload and back send no vote again
