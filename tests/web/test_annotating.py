"""The annotators' pages as a client sees them: votes are kept as meant, and nobody else's."""

import re
from contextlib import closing
from html.parser import HTMLParser

import pytest
from starlette.testclient import TestClient

from people.made_runs import made_run, plain_run
from srlm.people.ballots import ballots
from srlm.people.study import open_study
from srlm.store.run import Quiet
from srlm.web.browser.index import open_index
from srlm.web.guard import Limit
from srlm.web.links import OWNER, Keys
from srlm.web.server import app_of
from srlm.web.serving import routes_of

SECRET = b"s" * 32


class Desk:
    """A client with the link of one annotator."""

    def __init__(self, client, keys, annotator):
        self.client, self.keys, self.annotator = client, keys, annotator
        self.base = f"/a/{keys.of(annotator)}"

    def get(self, where="/"):
        return self.client.get(self.base + where, follow_redirects=False)

    def form(self, position):
        return self.keys.form(self.annotator, f"ballot {position}")

    def post(self, position, headers=None, **fields):
        fields = {"form": self.form(position), "todo": "vote"} | fields
        address = f"{self.base}/ballot/{position}"
        return self.client.post(address, data=fields, headers=headers, follow_redirects=False)


@pytest.fixture
def served(tmp_path):
    """From a run's folder to a box and the desks of three annotators."""
    boxes = []

    def serve(folder=None, **wanted):
        wanted = {"kind": "comparison", "models": ("M1", "M3")} | wanted
        box = open_study(folder or plain_run(tmp_path / "run"), "votes", wanted, Quiet())
        boxes.append(box)
        keys = Keys(SECRET, 3)
        index = open_index(folder or tmp_path / "run")
        app = app_of(routes_of(folder or tmp_path / "run", index, box, keys), keys)
        client = TestClient(app, base_url="http://127.0.0.1:8423", client=("127.0.0.1", 5))
        return box, [Desk(client, keys, number) for number in (1, 2, 3)]

    yield serve
    for box in boxes:
        box.close()


def test_a_vote_means_the_answer_that_stood_there(served):
    box, (desk, *_) = served()
    mine = ballots(box.items, 1, box.study.seed)
    for one in mine[:6]:
        page = desk.get(f"/ballot/{one.position}").text
        left, right = re.findall(r"\((\d)\.\d+\)", page)
        assert {left, right} == {"0", "2"}  # M1's and M3's answers
        value = "1" if left == "2" else "5"  # for M3 each time
        assert (
            desk.post(
                one.position, choice=value, reason=["clear", "hacked"], note=" so \r\n it is "
            ).status_code
            == 303
        )
    assert {(vote.choice, vote.reasons, vote.note) for vote in box.votes()} == {
        ("first_clearly", ("clear",), "so \n it is")
    }


def test_a_whole_session_goes_through_all_ballots_and_comes_back_to_skipped_ones(served):
    box, (desk, *_) = served(limit=5)
    assert desk.get("/next").headers["location"].endswith("/ballot/1")
    assert desk.post(1, todo="skipped").headers["location"].endswith("/ballot/2")
    for position in (2, 3, 4):
        assert desk.post(position, choice="3").headers["location"].endswith(f"/ballot/{position + 1}")
    assert desk.post(5, choice="both_bad").headers["location"].endswith("/ballot/1")
    assert "Nearly done" in desk.get("/end").text
    assert desk.post(1, choice="cannot_judge").headers["location"].endswith("/end")
    assert "All 5 of your votes are saved" in desk.get("/end").text
    assert len(box.votes()) == 5


def test_an_earlier_vote_is_shown_and_can_be_changed_or_taken_back(served):
    box, (desk, *_) = served()
    desk.post(4, choice="2", note="because")
    page = desk.get("/ballot/4").text
    assert re.search(r'value="2" required checked', page)
    assert ">because</textarea>" in page
    desk.post(4, choice="4")
    assert len(box.votes()) == 1
    assert desk.post(4, todo="withdrawn").headers["location"].endswith("/ballot/4")
    assert box.votes() == []
    assert "checked" not in desk.get("/ballot/4").text.partition("<details")[0].partition("fieldset")[2]


def undo(desk, position):
    """Press the button that a page shows after a vote on the ballot of this position."""
    form = {"form": desk.keys.form(desk.annotator, f"undo {position}"), "position": str(position)}
    return desk.client.post(f"{desk.base}/undo", data=form, follow_redirects=False)


def test_undo_goes_back_to_the_ballot_that_was_voted_last(served):
    box, (desk, *_) = served()
    for position in (5, 2):
        desk.post(position, choice="3")
    assert 'name="position" value="2"' in desk.get("/ballot/9").text
    assert undo(desk, 2).headers["location"].endswith("/ballot/2")
    assert len(box.votes()) == 1
    assert 'name="position" value="5"' in desk.get("/end").text
    assert undo(desk, 5).headers["location"].endswith("/ballot/5")
    assert box.votes() == []


def test_a_second_press_of_undo_takes_back_no_second_vote(served):
    box, (desk, *_) = served()
    for position in (1, 2, 3):
        desk.post(position, choice="3")
    assert [undo(desk, 3).status_code for _ in range(3)] == [303, 303, 303]
    assert len(box.votes()) == 2
    assert undo(desk, 1).status_code == 303  # not the latest word: of an old page
    assert len(box.votes()) == 2


def test_skipping_a_ballot_that_has_a_vote_loses_no_vote(served):
    box, (desk, *_) = served()
    desk.post(1, choice="2", note="because")
    assert "Go on without a change" in desk.get("/ballot/1").text
    assert desk.post(1, todo="skipped").headers["location"].endswith("/ballot/2")
    assert [vote.note for vote in box.votes()] == ["because"]


def test_a_form_without_a_choice_keeps_what_was_entered(served):
    box, (desk, *_) = served()
    for fields, words in (
        ({}, "Nothing is chosen"),
        ({"choice": "first_clearly"}, "Nothing is chosen"),
        ({"choice": "2", "note": "n" * 2001}, "2,001 characters"),
    ):
        answer = desk.post(1, **({"note": "my note", "reason": "clear"} | fields))
        assert answer.status_code == 400
        assert words in answer.text
        assert 'value="clear" checked' in answer.text
        assert (">my note</textarea>" in answer.text) or "nnnn" in answer.text
    assert box.votes() == []


def test_nobody_votes_for_somebody_else(served):
    box, (one, two, _) = served()
    refused = [
        one.post(1, choice="3", form=two.form(1)),  # another annotator's form
        one.post(1, choice="3", form=one.form(2)),  # of another ballot
        one.post(1, choice="3", form=""),
        one.post(1, choice="3", form=Keys(b"old" * 11, 3).form(1, "ballot 1")),  # from before new links
        one.post(1, choice="3", headers={"sec-fetch-site": "cross-site"}),
        one.post(1, choice="3", headers={"sec-fetch-site": "same-site"}),
        one.post(1, choice="3", headers={"origin": "http://evil.example"}),
        one.client.post(f"{one.base}/undo", data={"form": two.keys.form(2, "undo 1"), "position": "1"}),
    ]
    assert [answer.status_code for answer in refused] == [403] * len(refused)
    wrong = [
        "x" * 32,
        "",
        one.keys.of(OWNER),
        one.keys.of(4),
        Keys(b"old" * 11, 3).of(1),
        one.keys.of(1)[:-1],
        "ä",
    ]
    for key in wrong:
        for path in (f"/a/{key}/", f"/a/{key}/ballot/1", f"/a/{key}/end"):
            assert one.client.get(path).status_code == 404
        assert (
            one.client.post(f"/a/{key}/ballot/1", data={"form": one.form(1), "choice": "3"}).status_code
            == 404
        )
    assert box.votes() == []
    assert one.post(1, choice="3", headers={"origin": "http://127.0.0.1:8423"}).status_code == 303


def test_only_the_owner_sees_the_run(served):
    _, (desk, *_) = served()
    for key in (desk.keys.of(1), "x" * 32, Keys(b"old" * 11, 3).of(OWNER)):
        assert desk.client.get(f"/browse/{key}/").status_code == 404
    desk.post(1, choice="3")
    for page, words in (
        ("", "Run run"),
        ("people", "1 of 20"),
        ("answers", "Held-out answers"),
        ("x", "nothing"),
    ):
        answer = desk.client.get(f"/browse/{desk.keys.of(OWNER)}/{page}")
        assert words in answer.text, page
        assert answer.status_code == (404 if page == "x" else 200)
        assert f"/browse/{desk.keys.of(OWNER)}" not in answer.text  # links are relative


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"form=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
        (b"{}", "application/json", 415),
        (b"form=%ff&choice=\xff", "application/x-www-form-urlencoded", 400),
        (b"&".join(b"a=1" for _ in range(60)), "application/x-www-form-urlencoded", 400),
        (b"", "application/x-www-form-urlencoded", 403),
    ],
)
def test_bodies_that_are_no_form_of_ours_are_refused(served, body, kind, status):
    box, (desk, *_) = served()
    answer = desk.client.post(f"{desk.base}/ballot/1", content=body, headers={"content-type": kind})
    assert answer.status_code == status
    assert "Votes that were saved before are safe" in answer.text
    assert box.votes() == []


def test_every_answer_has_the_headers_that_bound_what_a_page_may_do(served):
    _, (desk, *_) = served()
    answers = [
        desk.get(where)
        for where in ("/", "/ballot/1", "/ballots", "/end", "/ballot/999", "/next", "/ballot/" + "9" * 5000)
    ]
    answers += [desk.client.get("/static/annotate.js"), desk.client.get("/nowhere"), desk.post(1, form="x")]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'")
        assert "unsafe" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
    assert answers[0].headers["cache-control"] == "no-store"


def test_a_foreign_name_of_this_machine_is_refused(served):
    _, (desk, *_) = served()
    assert desk.client.get(f"{desk.base}/", headers={"host": "evil.example"}).status_code == 400
    for host in ("localhost:8423", "[::1]:8423", "127.0.0.1"):
        assert desk.client.get(f"{desk.base}/", headers={"host": host}).status_code == 200


def test_a_limit_has_a_burst_and_a_rate():
    now = [0.0]
    limit = Limit(rate=2, burst=3, clock=lambda: now[0])
    assert [limit.admits("a") for _ in range(4)] == [True, True, True, False]
    assert limit.admits("b")
    now[0] = 1.0
    assert [limit.admits("a") for _ in range(3)] == [True, True, False]
    now[0] = 100.0
    assert [limit.admits("a") for _ in range(4)] == [True, True, True, False]


def test_requests_are_bounded_by_link_and_by_address(served):
    _, (one, two, _) = served()
    assert 429 in (one.get().status_code for _ in range(600))  # 100 at once, 20 a second
    assert two.get().status_code == 200
    guesses = (one.client.get(f"/a/{'g' * 31}{n}/") for n in range(600))
    refused = next(answer for answer in guesses if answer.status_code != 404)
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "5"
    assert two.get().status_code == 200  # a guesser does not lock out those who have a link


class Elements(HTMLParser):
    """The elements and attributes of a page."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.words = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]

    def handle_data(self, data):
        self.words.append(data)


OWN = {
    "html",
    "head",
    "meta",
    "title",
    "link",
    "script",
    "body",
    "a",
    "header",
    "nav",
    "p",
    "label",
    "progress",
}
OWN |= {"main", "h1", "h2", "span", "section", "div", "pre", "form", "input", "fieldset", "legend", "details"}
OWN |= {"summary", "textarea", "button", "kbd", "ol", "li"}


TAGS = ("script", "img", "svg", "iframe", "object", "embed", "style", "base", "math", "video", "link", "meta")
CLOSED = ("div", "pre", "textarea", "title", "section", "main", "p", "fieldset", "form")
HOSTILE = (
    *(f"<{tag} src=x onerror=alert(1) onload=alert(1)>alert(1)</{tag}>" for tag in TAGS),
    *(f"</{tag}><script>alert(2)</script>" for tag in CLOSED),
    '" autofocus onfocus=alert(3) x="',
    "' onmouseover='alert(4)",
    "javascript:alert(5)",
    "{{ 7 * 7 }}",
    "{% for x in y %}",
    "<!--",
    "-->",
    "]]>",
    "<![CDATA[<script>alert(6)</script>",
    "&lt;script&gt;alert(7)",
    "\x00<b>bold",
    "![x](http://evil.example/a.png)",
    "[x](javascript:alert(8))",
    "```\n</pre><script>alert(9)</script>\n```",
    "| <img src=x onerror=alert(10)> |\n|---|",
    "\u202e<script>evil\u202c",
    "<scr\x00ipt>alert(11)</scr\x00ipt>",
    "<a href=//evil.example>x</a>",
    "+ADw-script+AD4-alert(12)+ADw-/script+AD4-",
)
"""Texts that would act in a page that does not escape them."""


def test_hostile_answers_and_prompts_are_only_ever_text(served, tmp_path):
    assert len(HOSTILE) == 40
    prompts = [f"{text} {n}" for n, text in enumerate(HOSTILE)]
    run = made_run(tmp_path / "hostile", {"M1": HOSTILE, "M3": [f"3{text}" for text in HOSTILE]}, prompts)
    box, (desk, *_) = served(run)
    for one in ballots(box.items, 1, 0):
        found = Elements(desk.get(f"/ballot/{one.position}").text)
        assert set(found.tags) <= OWN
        assert found.tags.count("script") == 1
        assert not [name for name in found.attributes if name.startswith("on") or name in {"style", "srcdoc"}]
        words = "".join(found.words)
        for text in (one.item.prompt, *(answer.text for answer in one.answers)):
            for line in text.split("\n"):  # a block of code stands apart
                assert line in words
    desk.post(1, choice="3", note=HOSTILE[0])
    assert set(Elements(desk.get("/ballot/1").text).tags) <= OWN
    assert set(Elements(desk.get("/ballots").text).tags) <= OWN


def test_no_byte_of_a_session_tells_a_model_a_round_or_a_file(served, tmp_path):
    """Every byte of every answer, headers too; folder and models have names that stand nowhere else."""
    answers = {
        name: [f"{'words ' * (3 + place % 4)}number {place} {tail}" for place in range(12)]
        for name, tail in (("M1", "one"), ("M3", "three"))
    }
    folder = made_run(tmp_path / "secretfolder", answers)
    box, desks = served(folder, checks=2)
    seen = []
    for desk in desks:
        for where in ("/", "/ballots", "/next"):
            seen.append(desk.get(where))
        for one in ballots(box.items, desk.annotator, 0):
            seen += [desk.get(f"/ballot/{one.position}"), desk.post(one.position, choice="1", note="a note")]
            seen.append(desk.get(f"/ballot/{one.position}"))
        seen += [desk.get("/end"), desk.post(99, choice="1"), desk.post(1, form="x"), desk.post(1)]
    seen += [desks[0].client.get(f"/static/{name}") for name in ("annotate.css", "annotate.js", "icon.svg")]
    ids = {part for item in box.items for part in (item.id, item.prompt_id, *(a.id for a in item.answers))}
    words = {
        "M1",
        "M3",
        "secretfolder",
        "sqlite",
        "votes.",
        "jsonl",
        "held out",
        "first_",
        "second_",
        "check",
        *ids,
    }
    for answer in seen:
        heads = " ".join(f"{name}: {value}" for name, value in answer.headers.items())
        text = re.sub(r'[ .:]checked|type="?checkbox"?', "", answer.text).replace(desks[0].keys.of(1), "")
        assert not [word for word in words if word in text or word in heads]


def test_pages_of_either_model_on_the_left_differ_in_nothing_but_the_answers(served):
    """Two annotators see an item either way round; apart from answers, keys and numbers it is one page."""
    box, (desk, other, _) = served(limit=8)

    def shape(who, ballot):
        text = who.get(f"/ballot/{ballot.position}").text
        for key in (
            who.keys.of(who.annotator),
            who.form(ballot.position),
            who.keys.form(who.annotator, "undo"),
        ):
            text = text.replace(key, "KEY")
        text = re.sub(rf"\b{ballot.position}\b(?= of|<span)", "N", text)
        return re.sub(r'<section class="answer".*</section>', "", text, flags=re.S)

    theirs = {one.item.id: one for one in ballots(box.items, 2, 0)}
    for one in ballots(box.items, 1, 0):
        assert one.turned != theirs[one.item.id].turned
        assert shape(desk, one) == shape(other, theirs[one.item.id])


def test_empty_long_and_foreign_texts_are_shown_whole(served, tmp_path):
    texts = ["", " \n ", "word " * 40_000, "مرحبا بالعالم", "| a |\n|---|\n| b |", "~~~\ncode\n~~~ end"]
    folder = made_run(tmp_path / "odd", {"M1": texts, "M3": [f"{text}!" for text in texts]})
    box, (desk, *_) = served(folder)
    pages = {one.item.prompt: desk.get(f"/ballot/{one.position}").text for one in ballots(box.items, 1, 0)}
    at = {place: pages[f"Question {place}: how is it done?"] for place in range(6)}
    assert "the answer is empty" in at[0]
    assert "the answer is empty" in at[1]
    assert at[2].count("word ") == 80_000
    assert 'class="long" tabindex="0" role="region"' in at[2]
    assert '<div class="text" dir="auto">مرحبا بالعالم</div>' in at[3]
    assert "<pre" in at[4]
    assert "<pre" in at[5]


def test_in_rating_mode_grades_are_kept_below_the_criteria(served, tmp_path):
    box, (desk, *_) = served(plain_run(tmp_path / "rated"), kind="rating", models=("M1", "M2"), limit=3)
    page = desk.get("/ballot/1").text
    assert "on a scale of five points" in page
    assert page.count('type="radio"') == 7
    assert "Answer</h2>" in page
    assert desk.post(1, choice="4", note="good").status_code == 303
    assert desk.post(2, choice="6").status_code == 400
    assert desk.post(2, choice="both_bad").status_code == 400
    with closing(box):
        assert [(vote.choice, vote.note) for vote in box.votes()] == [("4", "good")]
