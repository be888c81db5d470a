"""The run browser's pages: what a run has written, to read, search, filter and compare; for its owner alone.

All links are relative, so the pages do not know, and never show, under which address and token they stand.
"""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from srlm.errors import DataError
from srlm.monitors.signals import watched
from srlm.records import Prompt, Record
from srlm.records import Response as Answer
from srlm.web.browser import comparing, querying
from srlm.web.browser.diff import diff
from srlm.web.browser.entries import (
    Depth,
    Entry,
    Read,
    address_of,
    entries,
    figure,
    open_records,
    prompt_address,
    prompt_text,
    with_verdicts,
)
from srlm.web.browser.index import Index, is_damaged
from srlm.web.browser.overview import alarms_by_name, problems, round_rows, under_way
from srlm.web.browser.passages import passage
from srlm.web.browser.querying import FILTERS, LABELS, TITLES, Asked, Options, rows_among, rows_of
from srlm.web.browser.tables import phrases
from srlm.web.rendering import page

IN_LISTS = Depth(text=600, reply=300)
"""Characters of a text and of a judge's reply in lists."""
ON_PAGES = Depth(text=4000, reply=2000)
"""On the page of a prompt; a record's own page has all."""


class NotHereError(LookupError):
    """A record that the run does not have; the argument says what was asked for."""


@dataclass(frozen=True)
class Desk:
    """What a page is made with: the run's folder, the index and a record reader, where its links begin.

    `address`: what the page's address says behind the question mark.
    """

    folder: Path
    connection: sqlite3.Connection
    read: Read
    address: Mapping[str, str]
    frame: Mapping[str, Any]

    @property
    def terms(self) -> list[str]:
        """What was searched when the page was linked to: it is marked."""
        return phrases(self.address.get("q", "")[: querying.LONGEST])

    def page(self, name: str, status: int = 200, **shown: Any) -> Response:
        """A page of a template in the browser's frame."""
        return page(f"browse_{name}", status, figure=figure, **self.frame, **shown)


Show = Callable[[Desk, Mapping[str, str]], Response]
"""Makes a page of what its path names."""


def browse_routes(folder: Path, index: Index, more: Mapping[str, str] | None = None) -> list[Route]:
    """The browser's pages, to be mounted under a path that ends with a slash; `index`: of the same run.

    `more`: pages beside them that every page links to, by their path the title.
    """

    def route(path: str, show: Show, name: str, current: str, depth: int = 0) -> Route:
        def endpoint(request: Request) -> Response:
            up = depth or request.path_params.get("rest", "").count("/")
            frame: dict[str, Any] = {"base": "../" * up or "./", "run": folder.resolve().name}
            frame |= {"current": current, "more": more or {}}
            return _answer(folder, index, show, request, frame)

        return Route(path, endpoint, name=name)

    lists = [route(f"/{kind}", _list_page(kind), f"browse_{kind}", kind) for kind in TITLES]
    records = [
        route(f"/{kind}/{{model}}/{{key:path}}", _record_page(kind), f"browse_{kind}_record", kind, 2)
        for kind in ("responses", "judgments", "pairs", "answers")
    ]
    return [
        route("/", _overview, "browse_overview", "overview"),
        *lists,
        *records,
        route("/prompt/{key:path}", _prompt_page, "browse_prompt", "prompts", 1),
        route("/diff", _changes_page, "browse_changes", "diff"),
        route("/diff/{key:path}", _diff_page, "browse_diff", "diff", 1),
        route("/{rest:path}", _nowhere, "browse_nowhere", "", 0),
    ]


def _answer(folder: Path, index: Index, show: Show, request: Request, frame: dict[str, Any]) -> Response:
    """A page, or one that says why there is none; a damaged index is made anew and asked once more."""
    for is_last in (False, True):
        index.refresh()
        generation = index.generation
        frame |= {"progress": index.progress, "trouble": index.trouble, "titles": TITLES}
        try:
            with index.reading() as connection, open_records(folder) as read:
                frame |= {"problems": problems(connection, index.unread)}
                desk = Desk(folder, connection, read, dict(request.query_params), frame)
                return _shown(desk, show, request.path_params)
        except sqlite3.DatabaseError as error:
            if is_last or not is_damaged(error):
                said = f"the index of this run cannot be read now ({error})"
                return _message(frame | {"problems": []}, 503, "This page", said, "reload it in a moment")
            index.renew(generation)
    raise AssertionError


def _shown(desk: Desk, show: Show, path: Mapping[str, str]) -> Response:
    """The page, or a message where the address asks for what cannot be."""
    try:
        return show(desk, path)
    except DataError as error:
        return _message(desk.frame, 400, error.given, error.why, error.todo)
    except NotHereError as error:
        todo = "it may have been made again under another id, or not be read yet: look for it in the lists"
        return _message(desk.frame, 404, str(error), "this run has nothing of this address", todo)


def _message(frame: Mapping[str, Any], status: int, given: str, why: str, todo: str) -> Response:
    return page("browse_message", status, given=given, why=why, todo=todo, figure=figure, **frame)


def _overview(desk: Desk, path: Mapping[str, str]) -> Response:
    unread: list[str] = []
    signals = watched(desk.folder, unread)
    models = comparing.answering(desk.connection)
    return desk.page(
        "overview",
        rows=round_rows(desk.connection, signals),
        under_way=under_way(desk.connection),
        unread=unread,
        models=models,
        couple=comparing.couple(models, {}) if len(models) > 1 else None,
        orders=comparing.ORDERS,
    )


def _list_page(kind: str) -> Show:
    def show(desk: Desk, path: Mapping[str, str]) -> Response:
        has = querying.options(desk.connection, kind, alarms_by_name(desk.folder))
        asked = querying.asked(has, desk.address)
        found = querying.find(desk.connection, has, asked)
        depth = Depth(IN_LISTS.text, IN_LISTS.reply, asked.terms)
        return desk.page(
            "list",
            kind=kind,
            asked=asked,
            found=found,
            first=(found.page - 1) * querying.A_PAGE + 1,
            fields=_fields(has, asked),
            chips=_chips(has, asked),
            orders=querying.order_names(kind),
            entries=entries(desk.connection, desk.read, found.rows, depth),
        )

    return show


def _fields(has: Options, asked: Asked) -> list[dict[str, Any]]:
    """The fields of a list's form, each with its label, its choices where it has some, and its value."""
    return [
        {
            "name": name,
            "label": _label(name, has.kind),
            "value": asked.given.get(name, ""),
            "choices": has.choices.get(name),
            "whole": name.startswith("length_"),
        }
        for name in FILTERS[has.kind]
        if name not in {"q", "in"} and has.choices.get(name) != {}
    ]


def _chips(has: Options, asked: Asked) -> list[tuple[str, str]]:
    """The filters that are set, in words, and the list's address without each."""
    return [
        (f"{_label(name, has.kind)}: {querying.shown_value(name, value, has)}", asked.address(without=name))
        for name, value in asked.given.items()
    ]


def _label(name: str, kind: str) -> str:
    if name == "round" and kind == "answers":
        return "Model"
    is_chosen = kind == "pairs" and name.startswith(("score", "length"))
    return f"{LABELS[name]} (chosen)" if is_chosen else LABELS[name]


def _record_page(kind: str) -> Show:
    """All of one record; of responses and answers with all that was said of them."""
    make = with_verdicts if kind in {"responses", "answers"} else entries

    def show(desk: Desk, path: Mapping[str, str]) -> Response:
        rows = [
            row
            for row in rows_among(desk.connection, "key", [path["key"]])
            if row["kind"] == kind and row["model"] == path["model"]
        ]
        if not rows:
            raise NotHereError(f"{TITLES[kind]}: {path['model']}/{path['key']}"[:200])
        shown = make(desk.connection, desk.read, rows, Depth(None, None, desk.terms))
        return desk.page("record", title=shown[0].title, entries=shown)

    return show


def _prompt_page(desk: Desk, path: Mapping[str, str]) -> Response:
    """A prompt with its demonstrations, and the responses or answers to it, as they were judged."""
    rows = rows_among(desk.connection, "prompt", [path["key"]])
    if not rows:
        raise NotHereError(f"Prompt: {path['key']}"[:200])
    depth = Depth(ON_PAGES.text, ON_PAGES.reply, desk.terms)
    written = [row for row in rows if row["kind"] in {"prompts", "seeds"}]
    answers = [row for row in rows if row["kind"] in {"responses", "answers"}]
    records = [record for row in [*written, *answers] if (record := desk.read(row))]
    groups = [
        (model, [row for row in answers if row["model"] == model])
        for model in dict.fromkeys(row["model"] for row in answers)
    ]
    return desk.page(
        "prompt",
        text=passage(prompt_text(records[0]), desk.terms) if records else None,
        written=entries(desk.connection, desk.read, written, depth),
        demonstrations=_demonstrations(desk, records),
        groups=[(model, with_verdicts(desk.connection, desk.read, group, depth)) for model, group in groups],
        pairs=entries(desk.connection, desk.read, [row for row in rows if row["kind"] == "pairs"], depth),
        key=path["key"],
        diff_address=comparing.diff_address(path["key"]),
        models=[model for model, group in groups if group[0]["kind"] == "answers"],
    )


def _demonstrations(desk: Desk, records: list[Record]) -> list[tuple[str, Entry | None]]:
    """The ids of a prompt's demonstrations, each with what is known of it."""
    prompts = [item for item in records if isinstance(item, Prompt)]
    ids = list(dict.fromkeys(key for item in prompts for key in item.demonstrations))
    rows = [row for row in rows_among(desk.connection, "key", ids) if row["kind"] in {"prompts", "seeds"}]
    shown = entries(desk.connection, desk.read, rows, Depth(200, 200))
    known = {row["key"]: entry for row, entry in zip(rows, shown, strict=True)}
    return [(key, known.get(key)) for key in ids]


def _changes_page(desk: Desk, path: Mapping[str, str]) -> Response:
    """What changed in the answers to held-out prompts from one model to another."""
    models = comparing.answering(desk.connection)
    asked = comparing.couple(models, desk.address)
    found = comparing.changes(desk.connection, asked)
    rows = rows_of(desk.connection, [change.ids[0] for change in found.changes])
    prompts = [prompt_text(record) if (record := desk.read(row)) else "" for row in rows]
    return desk.page(
        "changes",
        models=models,
        couple=asked,
        found=found,
        first=(found.page - 1) * querying.A_PAGE + 1,
        orders=comparing.ORDERS,
        rows=[(change, passage(text, (), 120)) for change, text in zip(found.changes, prompts, strict=True)],
    )


def _diff_page(desk: Desk, path: Mapping[str, str]) -> Response:
    """Two models' answers to one held-out prompt, word by word."""
    models = comparing.answering(desk.connection)
    asked = comparing.couple(models, desk.address)
    rows = {
        row["model"]: row
        for row in rows_among(desk.connection, "prompt", [path["key"]])
        if row["kind"] == "answers" and row["draw"] == asked.draw
    }
    couple = [rows[name] for name in (asked.one, asked.other) if name in rows]
    records = [desk.read(row) for row in couple]
    texts = [record.text for record in records if isinstance(record, Answer)]
    if len(texts) < 2:
        raise NotHereError(f"Answers of {asked.one} and {asked.other} to prompt {path['key']}"[:200])
    return desk.page(
        "diff",
        address=comparing.diff_address(path["key"]),
        models=models,
        couple=asked,
        rows=[(row, address_of(row)) for row in couple],
        prompt=passage(prompt_text(records[0])),
        prompt_address=prompt_address(path["key"]),
        diff=diff(*texts),
        empty=[not text for text in texts],
        views=comparing.VIEWS,
    )


def _nowhere(desk: Desk, path: Mapping[str, str]) -> Response:
    raise NotHereError(path["rest"][:200])
