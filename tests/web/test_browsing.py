"""The run browser: a list shows what the record files say, and nothing that was written does anything."""

import json
import re
import shutil
import threading
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import parse_qs, quote, urlencode, urljoin, urlsplit

import pytest
import uvicorn
from axe_playwright_python.sync_playwright import Axe
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import sync_playwright
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

import srlm.web
from srlm.records import Judgment, Pair, Response
from srlm.web.browser.browsing import browse_routes
from srlm.web.browser.index import open_index
from srlm.web.browser.querying import FILTERS, ORDERS
from srlm.web.guard import Headers
from web.browsed import BASE, browse, make_run, read_lines, write_step
from web.live import CHROMIUM

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "\"><svg onload=alert(1)>' autofocus onfocus='alert(1)",
    "</textarea></title></style></pre><iframe src=https://example.org></iframe>",
    "![picture](https://example.org/a.png) [link](javascript:alert(1))",
    "{{ 7 * 7 }}{% include 'x' %}",
    "&lt;b&gt; &amp;amp; \u202e\u0000\u2066",
)
ALARMED = {"ties": ["M2"], "KL": ["M2", "M3"]}


class Page(HTMLParser):
    """The elements of a page: names with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data):
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def links(self) -> list[str]:
        """Where links and forms lead."""
        found = [attributes["href"] for attributes in self.all("a")]
        return found + [attributes["action"] for attributes in self.all("form")]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def client(run):
    index = open_index(run)
    with browse(run, index) as opened:
        yield opened
    index.close()


@pytest.fixture(scope="module")
def records(run):
    """Every record by kind as plain data, with what later steps say of it."""
    return {kind: gathered(run, kind) for kind in FILTERS}


def gathered(run: Path, kind: str) -> list[dict]:
    """The records of a kind in order of making, with the fields that lists filter and sort by."""
    found = []
    for model in ("M0", "M1", "M2", "M3"):
        if kind == "answers":
            said = {}
            for word in ("own", "frozen") if model != "M0" else ():
                if (run / model / f"watch/{word}.jsonl").exists():
                    said |= by_response(run, f"{model}/watch/{word}")
            found += [texts_of(line, model, said) for line in read_lines(run, f"{model}/evaluation/answers")]
        elif kind == "judgments":
            for step, word in (("judgments", "round"), ("watch/own", "own"), ("watch/frozen", "frozen")):
                if (run / model / f"{step}.jsonl").exists():
                    found += [judged(line, model, word) for line in read_lines(run, f"{model}/{step}")]
        elif model in {"M2", "M3"}:
            found += of_round(run, model, kind)
    return found


def of_round(run: Path, model: str, kind: str) -> list[dict]:
    said = by_response(run, f"{model}/judgments")
    lines = read_lines(run, f"{model}/{kind}")
    if kind == "responses":
        pairs = read_lines(run, f"{model}/pairs")
        roles = {line["chosen_id"]: "chosen" for line in pairs}
        roles |= {line["rejected_id"]: "rejected" for line in pairs}
        return [texts_of(line, model, said) | {"role": roles.get(line["id"], "none")} for line in lines]
    if kind == "pairs":
        return [
            {
                "id": line["id"],
                "model": model,
                "text": f"{line['chosen']}\n{line['rejected']}",
                "prompt": line["prompt"],
                "length": len(line["chosen"]),
                "score": line["chosen_score"],
                "gap": line["chosen_score"] - line["rejected_score"],
            }
            for line in lines
        ]
    means = {}
    for line in read_lines(run, f"{model}/judgments"):
        means.setdefault(line["prompt_id"], []).append(line["score"])
    found = []
    for line in lines:
        known = [score for score in means[line["id"]] if score is not None]
        text = {"id": line["id"], "model": model, "text": line["text"], "length": len(line["text"])}
        found.append(text | {"score": sum(known) / len(known) if known else None})
    return found


def by_response(run: Path, step: str) -> dict[str, dict]:
    return {line["response_id"]: line for line in read_lines(run, step)}


def texts_of(line: dict, model: str, said: dict[str, dict]) -> dict:
    judgment = said.get(line["id"], {})
    return {
        "id": line["id"],
        "model": model,
        "text": line["text"],
        "prompt": line["prompt"],
        "length": len(line["text"]),
        **{name: judgment.get(name) for name in ("score", "variance", "flagged")},
        "reasons": judgment.get("reasons", []),
    }


def judged(line: dict, model: str, word: str) -> dict:
    fields = {name: line[name] for name in ("id", "score", "variance", "flagged", "reasons")}
    text = "\n".join(line["replies"])
    return fields | {"model": model, "text": text, "length": sum(map(len, line["replies"])), "word": word}


def words(text: str) -> str:
    """A text as words between single spaces, without case and accents, each Chinese letter a word."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    spaced = re.sub(r"([\u4e00-\u9fff])", r" \1 ", plain.lower())
    return " ".join(["", *re.findall(r"[^\W_]+", spaced), ""])


def listed(client, kind: str, **asked) -> list[str]:
    """The ids that all pages of a list show, in order; asserts that the number that is told is theirs."""
    address, found = f"{kind}?{urlencode(asked)}", []
    while address:
        assert len(found) < 1000
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        page = Page(answer.text)
        found += re.findall(r"<h3><a [^>]*>[^<]*<span class=\"hidden\">, ([^<]+)</span>", answer.text)
        following = [attributes["href"] for attributes in page.all("a") if attributes.get("rel") == "next"]
        address = following[0] if following else ""
    (number,) = re.findall(r"<h2>([\d,]+) (?:found|in this run)", answer.text)
    assert int(number.replace(",", "")) == len(found)
    return found


CASES = [
    ("prompts", {}, lambda line: True),
    ("responses", {}, lambda line: True),
    ("judgments", {}, lambda line: True),
    ("pairs", {}, lambda line: True),
    ("answers", {}, lambda line: True),
    ("responses", {"round": "M3"}, lambda line: line["model"] == "M3"),
    ("answers", {"round": "M0"}, lambda line: line["model"] == "M0"),
    ("responses", {"score_from": "2.5"}, lambda line: (line["score"] or -1) >= 2.5),
    ("responses", {"score_to": "2"}, lambda line: line["score"] is not None and line["score"] <= 2),
    ("prompts", {"score_from": "2", "score_to": "3"}, lambda line: 2 <= (line["score"] or -1) <= 3),
    ("pairs", {"score_from": "4"}, lambda line: line["score"] >= 4),
    ("answers", {"score_from": "3"}, lambda line: (line["score"] or -1) >= 3),
    ("responses", {"length_from": "100"}, lambda line: line["length"] >= 100),
    ("responses", {"length_to": "0"}, lambda line: line["length"] == 0),
    ("judgments", {"length_from": "150", "length_to": "170"}, lambda line: 150 <= line["length"] <= 170),
    ("pairs", {"length_to": "80"}, lambda line: line["length"] <= 80),
    ("responses", {"reason": "no score"}, lambda line: "no score" in line["reasons"]),
    ("judgments", {"reason": "out of range"}, lambda line: "out of range" in line["reasons"]),
    ("answers", {"reason": "truncated"}, lambda line: "truncated" in line["reasons"]),
    ("responses", {"flagged": "yes"}, lambda line: line["flagged"] is True),
    ("judgments", {"flagged": "no"}, lambda line: line["flagged"] is False),
    ("answers", {"flagged": "no"}, lambda line: line["flagged"] is False),
    ("responses", {"role": "chosen"}, lambda line: line["role"] == "chosen"),
    ("responses", {"role": "rejected"}, lambda line: line["role"] == "rejected"),
    ("responses", {"role": "none"}, lambda line: line["role"] == "none"),
    ("responses", {"alarm": "ties"}, lambda line: line["model"] in ALARMED["ties"]),
    ("answers", {"alarm": "KL"}, lambda line: line["model"] in ALARMED["KL"]),
    ("judgments", {"word": "round"}, lambda line: line["word"] == "round"),
    ("judgments", {"word": "own"}, lambda line: line["word"] == "own"),
    ("judgments", {"word": "frozen", "round": "M3"}, lambda line: line["word"] + line["model"] == "frozenM3"),
    ("responses", {"q": "river"}, lambda line: " river " in words(line["text"])),
    (
        "prompts",
        {"q": "MOON salt"},
        lambda line: all(f" {w} " in words(line["text"]) for w in ("moon", "salt")),
    ),
    ("responses", {"q": '"river stone"'}, lambda line: " river stone " in words(line["text"])),
    (
        "judgments",
        {"q": '"salt river" glass'},
        lambda line: " salt river " in words(line["text"]) and " glass " in words(line["text"]),
    ),
    ("pairs", {"q": '"north glass"'}, lambda line: " north glass " in words(line["text"])),
    ("responses", {"q": "CAFE"}, lambda line: " cafe " in words(line["text"])),
    ("responses", {"q": "don't"}, lambda line: " don t " in words(line["text"])),
    (
        "responses",
        {"q": "x_y 7"},
        lambda line: " x y " in words(line["text"]) and " 7 " in words(line["text"]),
    ),
    ("answers", {"q": "月亮"}, lambda line: "月亮" in line["text"]),
    ("responses", {"q": "亮很"}, lambda line: "亮很" in line["text"]),
    ("responses", {"q": "nothing of the kind"}, lambda line: False),
    ("responses", {"q": "wheel", "in": "prompt"}, lambda line: " wheel " in words(line["prompt"])),
    ("pairs", {"q": '"salt glass"', "in": "prompt"}, lambda line: " salt glass " in words(line["prompt"])),
    ("answers", {"q": "salt", "in": "prompt"}, lambda line: " salt " in words(line["prompt"])),
    (
        "responses",
        {
            "q": "river",
            "round": "M2",
            "score_from": "1",
            "length_to": "200",
            "flagged": "no",
            "role": "none",
            "alarm": "KL",
        },
        lambda line: (
            " river " in words(line["text"])
            and line["model"] == "M2"
            and (line["score"] or -1) >= 1
            and line["length"] <= 200
            and line["flagged"] is False
            and line["role"] == "none"
        ),
    ),
]


@pytest.mark.parametrize(
    ("kind", "asked", "wanted"), CASES, ids=[f"{kind} {asked}" for kind, asked, _ in CASES]
)
def test_a_filter_leaves_what_the_record_files_say(client, records, kind, asked, wanted):
    expected = [line["id"] for line in records[kind] if wanted(line)]
    assert listed(client, kind, **asked) == expected
    if asked and "nothing" not in asked.get("q", ""):
        assert 0 < len(expected) < len(records[kind])


def test_every_filter_of_every_kind_was_tried():
    tried = {(kind, name) for kind, asked, _ in CASES for name in asked}
    missing = {(kind, name) for kind, names in FILTERS.items() for name in names} - tried
    assert not {name for _, name in missing} - {name for _, name in tried}
    assert {name for names in FILTERS.values() for name in names} == {name for _, name in tried}


@pytest.mark.parametrize(
    ("kind", "order"), [(kind, order) for kind, orders in ORDERS.items() for order in orders]
)
def test_an_order_is_that_of_the_record_files(client, records, kind, order):
    field, falls = {
        "made": (None, False),
        "score": ("score", True),
        "low_score": ("score", False),
        "longest": ("length", True),
        "shortest": ("length", False),
        "variance": ("variance", True),
        "gap": ("gap", True),
        "narrow_gap": ("gap", False),
    }[order]
    lines = records[kind]
    if field:
        sign = -1 if falls else 1
        lines = sorted(lines, key=lambda line: (line[field] is None, sign * (line[field] or 0)))
    assert listed(client, kind, sort=order) == [line["id"] for line in lines]


def test_pages_of_fifty_keep_the_filters(client, records):
    page = Page(client.get("responses?q=river&sort=longest&page=1").text)
    (following,) = {each["href"] for each in page.all("a") if each.get("rel") == "next"}
    assert parse_qs(urlsplit(following).query) == {"q": ["river"], "sort": ["longest"], "page": ["2"]}
    assert len(page.all("article")) == 50
    second = Page(client.get(following).text)
    earlier = {each["href"] for each in second.all("a") if each.get("rel") == "prev"}
    assert earlier == {"./responses?q=river&sort=longest"}
    last = Page(client.get("responses?page=999999").text)
    assert "Page 4 of 4" in last.text


def test_filters_are_seen_and_can_be_removed_one_by_one(client):
    asked = {"q": "river", "in": "prompt", "round": "M2", "score_from": "1", "sort": "longest"}
    page = Page(client.get(f"responses?{urlencode(asked)}").text)
    fields = {each["name"]: each for each in page.all("input")}
    assert (fields["q"]["value"], fields["score_from"]["value"]) == ("river", "1")
    chosen = {each["value"] for each in page.all("option") if "selected" in each}
    assert chosen == {"M2", "prompt", "longest"}
    removing = [parse_qs(urlsplit(each).query) for each in page.links() if each.startswith("responses?")]
    without = [asked.keys() - left.keys() for left in removing]
    assert {"round"} in without
    assert {"score_from"} in without
    assert {"q", "in"} in without
    assert "Round: M2" in page.text
    assert "Search in: its prompt" in page.text


def test_what_was_searched_is_marked_there_and_on_the_records_own_page(client):
    page = client.get("responses?q=RIVER").text
    assert "<mark>river</mark>" in page
    (address, *_) = re.findall(r"<h3><a href=\"([^\"]+)\"", page)
    assert "<mark>river</mark>" in client.get(address).text


@pytest.mark.parametrize(
    "query",
    [
        '"',
        '""',
        '"river',
        'river"',
        "AND",
        "OR NOT NEAR",
        "river AND NOT stone",
        "NEAR(river stone, 2)",
        "words:river",
        "river*",
        "^river",
        "-river",
        "+river",
        "(river",
        "{words} : river",
        "river''; DROP TABLE record; --",
        "\\",
        "%_",
        "a\0b",
        "\ud7ff\ufffe",
        "🌙",
        "﷽",
        "x" * 299,
    ],
)
def test_a_search_is_data_whatever_stands_in_it(client, query):
    answer = client.get(f"responses?{urlencode({'q': query})}")
    has_words = any(letter.isalnum() for letter in query)
    assert answer.status_code == (200 if has_words else 400)
    page = Page(answer.text)
    assert query.strip() in (page.all("input")[0]["value"] if has_words else page.text)


def test_operators_of_fts5_are_words(client, records):
    both = [line["id"] for line in records["responses"] if " river " in words(line["text"])]
    assert listed(client, "responses", q="river*") == both
    assert listed(client, "responses", q="words:river") == []
    assert listed(client, "responses", q="river AND stone") == []


@given(st.text(max_size=40))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_search_has_an_answer(client, query):
    for kind in ("responses", "prompts"):
        assert client.get(f"{kind}?{urlencode({'q': query}, errors='replace')}").status_code in {200, 400}


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("responses?score_from=x", "it is no number"),
        ("responses?score_from=nan", "it is no number"),
        ("responses?score_to=1e999", "it is no number"),
        ("responses?score_from=3&score_to=2", "nothing lies between them"),
        ("pairs?length_from=-1", "it is no number of characters"),
        ("pairs?length_from=9&length_to=8", "nothing lies between them"),
        ("responses?length_to=1.5", "it is no number of characters"),
        ("responses?length_to=99999999999999999999", "it is no number of characters"),
        ("responses?round=M9", "take one of these: M2, M3"),
        ("responses?role=best", "take one of these: chosen, rejected, none"),
        ("responses?flagged=maybe", "take one of these: yes, no"),
        ("responses?reason=tired", "take one of these: no score, out of range, truncated"),
        ("responses?alarm=quiet", "take one of these: ties, KL"),
        ("prompts?role=chosen", "there is no such filter here"),
        ("responses?sort=gap", "there is no such order here"),
        ("responses?page=0", "it is no number of a page"),
        ("responses?page=x", "it is no number of a page"),
        ("responses?page=²", "it is no number of a page"),
        ("responses?q=%22%22+--", "neither a letter nor a digit"),
        ("responses?q=" + "a+" * 30, "it has more than 24 words"),
        ("responses?q=" + "a" * 301, "it has more than 300 characters"),
        ("diff?one=M7", "take one of M0, M1, M2, M3"),
        ("diff?sort=none", "take one of made, gain"),
        ("diff?draw=x", "it is no number"),
        ("diff?seite=2", "there is no such choice here"),
        ("diff/held1?view=odd", "take one of sides, merged"),
    ],
)
def test_what_an_address_cannot_mean_is_told_with_a_way_out(client, address, said):
    answer = client.get(address)
    assert answer.status_code == 400
    assert said in Page(answer.text).text
    assert "What to do" in answer.text


@pytest.mark.parametrize(
    "address",
    [
        "prompt/none",
        "responses/M2/none",
        "responses/M9/M2p0r0",
        "pairs/M3/x",
        "answers/M2/M2p0r0",
        "diff/M2p0",
        "diff/none?one=M1&other=M2",
        "diff/held0?draw=4",
        "nowhere",
        "a/b/c",
        "prompt/..%2f..%2frun.json",
        "responses/M2/%00",
    ],
)
def test_what_is_not_there_is_told(client, address):
    answer = client.get(address)
    assert answer.status_code == 404
    page = Page(answer.text)
    assert page.all("h1")
    style = [each["href"] for each in page.all("link")]
    assert all(link.startswith("/static/") for link in style)
    top = urljoin(f"http://testserver{BASE}{address}", page.all("a")[1]["href"])
    assert top == f"http://testserver{BASE}"


def walk(client, limit: int = 400) -> dict[str, Page]:
    """The pages that the overview leads to, by address; asserts that each is there and inside the browser."""
    pages: dict[str, Page] = {}
    left = [f"http://testserver{BASE}"]
    while left and len(pages) < limit:
        address = left.pop(0)
        if address in pages:
            continue
        answer = client.get(address)
        assert answer.status_code == 200, address
        pages[address] = Page(answer.text)
        for link in pages[address].links():
            assert not link.startswith("/"), link
            assert "://" not in link
            target = urljoin(address, link).partition("#")[0]
            assert target.startswith(f"http://testserver{BASE}"), link
            left.append(target)
    return pages


def test_every_link_leads_to_a_page_of_the_browser(client):
    pages = walk(client)
    for part in (
        "prompt/",
        "responses/M2/",
        "judgments/M",
        "pairs/M",
        "answers/M0/",
        "diff/held",
        "responses?",
    ):
        assert any(address.startswith(f"http://testserver{BASE}{part}") for address in pages), part
    assert any(address.endswith("prompt/seed1") for address in pages)
    for page in pages.values():
        assert_in_good_form(page)


def assert_in_good_form(page: Page) -> None:
    """No script, no style of its own, nothing from elsewhere; a frame that a screen reader can follow."""
    tags = [tag for tag, _ in page.elements]
    assert not {"script", "style", "img", "iframe", "object", "embed", "svg", "base"} & {*tags}
    for _, attributes in page.elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]
        assert not attributes.get("src")
    assert [each["href"] for each in page.all("link")] == ["/static/browse.css", "/static/icon.svg"]
    assert len(page.all("h1")) == len(page.all("main")) == len(page.all("header")) == 1
    levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(following <= level + 1 for level, following in pairwise(levels))
    labelled = {each["for"] for each in page.all("label")}
    fields = [each for tag in ("input", "select") for each in page.all(tag) if each.get("type") != "hidden"]
    assert {each["id"] for each in fields} == labelled
    assert all("scope" in each for each in page.all("th"))
    marked = [each["id"] for _, each in page.elements if "id" in each]
    assert len(marked) == len({*marked})
    assert [each for each in page.all("nav") if "aria-label" in each]
    assert page.all("html") == [{"lang": "en"}]


def hostile_run(folder: Path, hostile: bool) -> Path:
    """A run in every text of which stands all that is hostile; or its like in plain words."""
    plain = "a plain text "
    evil = " ".join(HOSTILE)

    def say(what: str, text: str) -> str:
        if what == "id":
            return f"<b>{text}</b>&\"'" if hostile else text
        return f"{evil if hostile else plain} {text}"

    return make_run(folder, 5, say=say)


def test_what_people_and_models_wrote_is_text_and_nothing_else(tmp_path):
    shapes = []
    for hostile in (False, True):
        folder = hostile_run(tmp_path / ("<i>evil run" if hostile else "plain run"), hostile)
        index = open_index(folder)
        with browse(folder, index) as client:
            pages = walk(client, 1500)
            query = urlencode({"q": f"{HOSTILE[0]} {HOSTILE[2]}" if hostile else "plain text plain text"})
            asked = Page(client.get(f"responses?{query}").text)
            faults = [
                client.get(f"responses?{urlencode({'round': each})}")
                for each in (HOSTILE if hostile else "abcdefg")
            ]
        assert {fault.status_code for fault in faults} == {400}
        if hostile:
            seen = "".join(page.text for page in pages.values())
            for text in HOSTILE:
                assert text in seen
            assert HOSTILE[0] in asked.all("input")[0]["value"]
            assert "<i>evil run" in seen
        every = [*pages.values(), asked, *(Page(each.text) for each in faults)]
        shapes.append({shape(tag, names) for page in every for tag, names in page.elements})
        for page in every:
            assert_in_good_form(page)
        index.close()
    assert shapes[0] == shapes[1]


def shape(tag: str, attributes: dict[str, str]) -> tuple[str, ...]:
    """An element without its attributes' values."""
    return (tag, *sorted(name for name in attributes if name not in {"selected", "open", "value"}))


def test_hostile_signals_and_problems_are_text(tmp_path):
    folder = hostile_run(tmp_path / "run", True)
    (folder / "M2/pairs.step.json").write_text("<b>")
    line = (folder / "M3/pairs.jsonl").read_text("utf-8").replace('"chosen":', '"<img src=x>":', 1)
    (folder / "M3/pairs.jsonl").write_text(line, "utf-8")
    (folder / "M3/monitors.json").write_text("<script>")
    with browse(folder, open_index(folder)) as client:
        page = Page(client.get("").text)
    assert_in_good_form(page)
    assert HOSTILE[0] in page.text  # an alarm of M2
    assert "The signals of M3 cannot be read." in page.text
    assert "M2/pairs.step.json: it is empty" in page.text
    assert "M3/pairs.jsonl, line 1: no Pair" in page.text


def texts_run(folder: Path, *texts: str) -> Path:
    """A run with the responses to one prompt, the first judged in a long reply, and answers of M0 and M1."""
    make_run(folder, 3)
    responses = [
        Response(id=f"t{n}", prompt_id="p", prompt="Prompt", draw=n, text=text, num_tokens=1, finish="stop")
        for n, text in enumerate(texts)
    ]
    judgment = Judgment.model_validate(read_lines(folder, "M2/judgments")[0])
    long = judgment.model_copy(
        update={"response_id": "t0", "prompt_id": "p", "replies": ("r" * 200_000,) * 3, "id": "long"}
    )
    write_step(folder, "M2/responses", responses, began="second")
    write_step(folder, "M2/judgments", [long], began="second")
    write_step(folder, "M2/pairs", [], began="second")
    for name, text in zip(("M0", "M1"), texts, strict=False):
        write_step(
            folder, f"{name}/evaluation/answers", [responses[0].model_copy(update={"text": text})], began="2"
        )
    return folder


def test_long_texts_are_cut_in_lists_and_whole_on_their_own_page(tmp_path):
    long = "".join(f"word{number} " for number in range(25_000))
    folder = texts_run(tmp_path / "run", long, "")
    index = open_index(folder)
    index.fill()
    with browse(folder, index) as client:
        page = client.get("responses?round=M2").text
        assert len(page) < 20_000
        assert f"{len(long) - 600:,} more characters" in page
        assert '<a href="./responses/M2/t0">the whole response</a>' in page
        assert "(empty)" in page
        found = Page(client.get("responses?round=M2&q=word20000").text)
        assert "word20000 word20001" in found.text
        assert "characters before" in found.text
        whole = Page(client.get("responses/M2/t0").text)
        assert long.strip() in whole.text
        boxes = [each for each in whole.all("div") if each.get("class") == "whole"]
        assert [(box["role"], box["tabindex"]) for box in boxes] == [("region", "0")]
        assert "r" * 200_000 in whole.text
        prompt = client.get("prompt/p").text
        assert len(prompt) < 60_000
        assert "the whole judgment" in prompt
        assert "r" * 200_000 in client.get("judgments/M2/long").text
        for view in ("sides", "merged"):
            answer = client.get(f"diff/p?one=M0&other=M1&view={view}")
            assert answer.status_code == 200
            assert "word24999" in answer.text
        assert "(empty)" in client.get("diff/p?one=M0&other=M1").text


def test_code_tables_and_other_scripts_keep_their_form(tmp_path):
    text = "Look:\n```python\nif a < b:\n    print('x')\n```\n| a | b |\n|---|---|\n| 1 | 2 |\n"
    text += "![x](https://e.org/x.png)"
    folder = texts_run(tmp_path / "run", text, "שלום עולם", "مرحبا")
    with browse(folder, open_index(folder)) as client:
        for address in ("responses?round=M2", "prompt/p", "responses/M2/t0"):
            page = client.get(address).text
            code = "```python\nif a &lt; b:\n    print(&#39;x&#39;)\n```"
            assert f'<pre class="fixed" dir="auto" tabindex="0">{code}</pre>' in page
            assert '<pre class="fixed" dir="auto" tabindex="0">| a | b |\n|---|---|\n| 1 | 2 |</pre>' in page
            assert "![x](https://e.org/x.png)" in page
            assert "<img" not in page
        assert '<div class="running" dir="auto">שלום עולם</div>' in client.get("prompt/p").text


def test_the_overview_counts_what_the_record_files_hold(run, client, records):
    page = client.get("").text
    rows = re.findall(r"<tr><th scope=\"row\">(\w+)</th>(.*?)</tr>", page, re.S)
    assert [name for name, _ in rows] == ["M0", "M1", "M2", "M3"]
    for name, row in rows:
        cells = [Page(cell).text.split()[0] for cell in re.findall(r"<td.*?</td>", row, re.S)]
        mine = {kind: [line for line in lines if line["model"] == name] for kind, lines in records.items()}
        mine["judgments"] = [line for line in mine["judgments"] if line["word"] == "round"]
        expected = [str(len(mine["prompts"]) or "–"), str(len(mine["responses"]) or "–")]
        expected += [mean(mine["responses"], "score", 2), mean(mine["responses"], "length", 0)]
        expected += [
            str(len(mine["judgments"]) or "–"),
            str(len(mine["pairs"]) or "–"),
            str(len(mine["answers"])),
        ]
        expected += [mean(mine["answers"], "score", 2), mean(mine["answers"], "length", 0)]
        assert cells[:9] == expected
        assert cells[9] == str(sum(name in rounds for rounds in ALARMED.values()) or "–")
    assert "ties is too high" in Page(page).text
    assert "quiet" not in page


def mean(lines: list[dict], field: str, digits: int) -> str:
    known = [line[field] for line in lines if line[field] is not None]
    return f"{sum(known) / len(known):,.{digits}f}" if known else "–"


def test_a_prompts_page_has_all_that_belongs_to_it(run, client):
    prompt = next(line for line in read_lines(run, "M3/prompts") if line["id"] == "M3p2")
    answer = client.get("prompt/M3p2").text
    page = Page(answer)
    assert prompt["text"] in page.text
    assert '<a href="../prompt/seed0"' in answer
    assert '<a href="../prompt/M2p1"' in answer
    assert "nowhere" in page.text
    for line in read_lines(run, "M3/responses"):
        assert (f"../responses/M3/{line['id']}" in answer) == (line["prompt_id"] == "M3p2")
    for line in read_lines(run, "M3/judgments"):
        if line["prompt_id"] == "M3p2":
            assert all(reply in page.text for reply in line["replies"])
            for draw, (score, reason) in enumerate(zip(line["scores"], line["reasons"], strict=True), 1):
                said = f"no score: {reason}" if reason else f"score {score:.4g}"
                assert f"Draw {draw}: {said}" in page.text
    (pair,) = [
        Pair.model_validate(line) for line in read_lines(run, "M3/pairs") if line["prompt_id"] == "M3p2"
    ]
    badges = re.findall(r"responses/M3/([^\"]+)\">Response.*?class=\"badge (chosen|rejected)\"", answer, re.S)
    assert {key: mark for key, mark in badges if mark == "chosen"} == {
        pair.chosen_id: "chosen"
    } or pair.chosen_id in answer
    assert f"gap {pair.chosen_score - pair.rejected_score:.2f}" in page.text
    seed = Page(client.get("prompt/seed1").text)
    assert "Instruction that people wrote" in seed.text


def test_a_held_out_prompts_page_has_every_models_answer_and_both_words(run, client):
    page = Page(client.get("prompt/held3").text)
    for name in ("M0", "M1", "M2", "M3"):
        (line,) = [
            line for line in read_lines(run, f"{name}/evaluation/answers") if line["prompt_id"] == "held3"
        ]
        assert line["text"] in page.text
    assert page.text.count("Judged by its own judge") == 3
    assert page.text.count("Judged by M1") == 2
    assert page.text.count("Not judged.") == 1


@pytest.mark.parametrize("models", [("M1", "M2"), ("M1", "M3"), ("M2", "M3"), ("M0", "M1"), ("M2", "M2")])
@pytest.mark.parametrize("order", ["made", "gain", "loss", "longer", "shorter"])
def test_differences_are_sorted_by_what_changed(client, records, order, models):
    one, other = ([line for line in records["answers"] if line["model"] == name] for name in models)
    lines = []
    for n, (before, after) in enumerate(zip(one, other, strict=True)):
        known = before["score"] is not None and after["score"] is not None
        gain = after["score"] - before["score"] if known else None
        lines.append((f"held{n}", gain, after["length"] - before["length"]))
    key = {
        "made": lambda line: 0,
        "gain": lambda line: (line[1] is None, -(line[1] or 0)),
        "loss": lambda line: (line[1] is None, line[1] or 0),
        "longer": lambda line: -line[2],
        "shorter": lambda line: line[2],
    }[order]
    answer = client.get(f"diff?one={models[0]}&other={models[1]}&sort={order}").text
    rows = re.findall(
        r"diff/(held\d)\?.*?<td class=\"\w*\">([^<]+)</td>.*?<td>([+-][\d,]+)</td>", answer, re.S
    )
    expected = [
        (name, "–" if gain is None else f"{gain:+.2f}", f"{longer:+,}")
        for name, gain, longer in sorted(lines, key=key)
    ]
    assert rows == expected
    known = [gain for _, gain, _ in lines if gain is not None]
    rose, fell = sum(gain > 0 for gain in known), sum(gain < 0 for gain in known)
    said = f"By M1 {rose} answers gained, {fell} lost and {len(known) - rose - fell} stayed"
    assert said in Page(answer).text
    assert ("have no score of M1" in answer) == (len(known) < len(lines))


def test_a_difference_shows_both_texts_and_both_words(run, client):
    lines = {
        name: next(
            line for line in read_lines(run, f"{name}/evaluation/answers") if line["prompt_id"] == "held1"
        )
        for name in ("M2", "M3")
    }
    answer = client.get("diff/held1?one=M2&other=M3").text
    sides = re.findall(r"aria-label=\"Answer of (M\d)\" dir=\"auto\">(.*?)</div>", answer, re.S)
    assert {name: Page(side).text for name, side in sides} == {
        name: line["text"] or "(empty)" for name, line in lines.items()
    }
    merged = client.get("diff/held1?one=M2&other=M3&view=merged").text
    (text,) = re.findall(r"as one text\" dir=\"auto\">(.*?)</div>", merged, re.S)
    assert Page(re.sub(r"<ins>.*?</ins>", "", text, flags=re.S)).text == lines["M2"]["text"]
    assert Page(re.sub(r"<del>.*?</del>", "", text, flags=re.S)).text == lines["M3"]["text"]
    for name in ("M2", "M3"):
        words_ = [
            by_response(run, f"{name}/watch/{step}")[lines[name]["id"]]["score"] for step in ("frozen", "own")
        ]
        shown = "".join(f"<td>{'–' if word is None else f'{word:.2f}'}</td>" for word in words_)
        assert shown in answer


def test_a_run_with_too_few_models_has_no_differences(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with browse(tmp_path, open_index(tmp_path)) as client:
        assert client.get("").status_code == 200
        assert "written no records yet" in client.get("").text
        assert client.get("responses").status_code == 200
        answer = client.get("diff")
    assert answer.status_code == 400
    assert "fewer than two models" in answer.text


def test_expected_scores_are_told_draw_by_draw(tmp_path):
    folder = make_run(tmp_path / "run", 3)
    judgment = Judgment.model_validate(read_lines(folder, "M2/judgments")[0])
    made = {"scoring": "expected", "scores": (), "replies": (), "finishes": (), "expected": (3.25, None)}
    made |= {"reasons": (None, "off the grades"), "outside": (0.1, 0.9), "retries": 2}
    write_step(folder, "M2/judgments", [judgment.model_copy(update=made)], began="second")
    with browse(folder, open_index(folder)) as client:
        page = Page(client.get(f"judgments/M2/{judgment.id}").text)
    assert "Draw 1: score 3.25" in page.text
    assert "Draw 2: no score: off the grades" in page.text
    assert "asked again 2 times" in page.text


def test_a_record_whose_file_changed_meanwhile_says_so(tmp_path, monkeypatch):
    folder = make_run(tmp_path / "run", 3)
    index = open_index(folder)
    index.fill()
    monkeypatch.setattr(index, "refresh", lambda: None)
    path = folder / "M2/responses.jsonl"
    path.write_bytes(b"x" * 30 + path.read_bytes())
    with browse(folder, index) as client:
        for address in ("responses?round=M2", "prompt/M2p1", "responses/M2/M2M2p0r0", "judgments"):
            answer = client.get(address)
            assert answer.status_code == 200
            assert "has changed since it was indexed" in answer.text or address == "judgments"


def test_a_line_that_is_another_record_by_now_is_not_taken_for_the_one_that_was_there(tmp_path, monkeypatch):
    folder = texts_run(tmp_path / "run", "first", "other")
    index = open_index(folder)
    index.fill()
    monkeypatch.setattr(index, "refresh", lambda: None)
    lines = (folder / "M2/responses.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "M2/responses.jsonl").write_bytes(b"".join(lines[::-1]))
    with browse(folder, index) as client:
        page = client.get("responses/M2/t0").text
    assert "other" not in page
    assert "has changed since it was indexed" in page


def test_a_real_run_can_be_browsed(finished, tmp_path):
    folder = tmp_path / "real"
    shutil.copytree(
        finished[0], folder, symlinks=True, ignore=shutil.ignore_patterns("model", "checkpoint-*")
    )
    index = open_index(folder)
    with browse(folder, index) as client:
        pages = walk(client, 300)
        for page in pages.values():
            assert_in_good_form(page)
            assert "Not shown" not in page.text
        for kind in ("prompts", "responses", "judgments", "pairs"):
            states = [json.loads((folder / f"M{t}/{kind}.step.json").read_text()) for t in (2, 3)]
            word = {"word": "round"} if kind == "judgments" else {}
            assert len(listed(client, kind, **word)) == sum(state["records"] for state in states)
        first = read_lines(folder, "M2/prompts")[0]
        assert "an instruction of the seed data" not in client.get(f"prompt/{first['id']}").text
    index.close()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a run's browser behind the server's headers, as Chromium sees it."""
    index = open_index(folder)
    static = Mount("/static", StaticFiles(directory=Path(srlm.web.__file__).parent / "static"))
    app = Starlette(routes=[static, Mount("/browse/{key}", routes=browse_routes(folder, index))])
    server = uvicorn.Server(uvicorn.Config(Headers(app), port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            thread.join(0.05)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}{BASE}"
    finally:
        server.should_exit = True
        thread.join()
        index.close()


@pytest.fixture(scope="module")
def chromium():
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_pages_fit_a_phone_and_axe_finds_nothing_to_mend(chromium, tmp_path, scheme):
    prompt = quote("<b>held0</b>&\"'", safe="")
    shown = [
        "",
        "responses",
        "responses?q=river&round=M2",
        "judgments?word=round",
        "pairs",
        "answers",
        "diff",
    ]
    shown += [f"prompt/{prompt}", f"diff/{prompt}", f"diff/{prompt}?view=merged", "prompts?score_from=x"]
    size = {"width": 390, "height": 844}
    page = chromium.new_context(viewport=size, color_scheme=scheme, bypass_csp=True).new_page()
    with served(hostile_run(tmp_path / "run", True)) as top:
        for address in shown:
            page.goto(top + address)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), address
            found = Axe().run(page)
            assert found.violations_count == 0, f"{address}: {found.generate_report()}"


@pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium")
def test_hostile_pages_do_nothing_in_a_browser(chromium, tmp_path):
    faults: list[str] = []
    asked: list[str] = []
    page = chromium.new_context(java_script_enabled=True).new_page()
    page.on("console", lambda message: faults.append(message.text))
    page.on("dialog", lambda dialog: faults.append("a dialog"))
    page.on("request", lambda request: asked.append(request.url))
    with served(hostile_run(tmp_path / "run", True)) as top:
        page.goto(top)
        page.get_by_role("link", name="Responses", exact=True).click()
        page.get_by_label("Search:").fill('"plain" <script> river')
        page.get_by_role("button", name="Show").click()
        page.get_by_text("Filters", exact=True).click()
        page.get_by_label("Score from").fill("1")
        page.get_by_label("Search:").fill("river")
        page.get_by_role("button", name="Show").click()
        assert "q=river" in page.url
        assert "score_from=1" in page.url
        page.get_by_role("link", name="Remove the filter Score from").click()
        assert "score_from" not in page.url
        page.locator("article h3 a").first.click()
        assert page.locator("h1").inner_text().startswith("Response of round M")
        page.get_by_role("link", name="Differences").click()
        page.locator("table a").first.click()
        assert page.locator("ins, del").count() > 0
        assert faults == []
        assert all(address.startswith(top.partition("/browse")[0]) for address in asked)
