"""Whole sessions in Chromium: what is clicked is kept, by mouse, keys, phone, and without scripts."""

import re
from contextlib import closing

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from people.made_runs import made_run, plain_run
from srlm.people.votes import open_box
from web.live import CHROMIUM, serving
from web.test_annotating import HOSTILE

pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium here: apt-get install chromium")
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
KEPT = {
    "1": "first_clearly",
    "2": "first_slightly",
    "3": "tie",
    "4": "second_slightly",
    "5": "second_clearly",
}


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """A study of 20 ballots that everybody here votes in, each with a link of their own."""
    folder = plain_run(tmp_path_factory.mktemp("runs") / "demo")
    with serving(folder, "--annotators", "9") as server:
        yield server, folder / "human/votes.sqlite"


class Annotator:
    """A person at a page, who remembers what they meant."""

    def __init__(self, browser, link, **context):
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.faults, self.asked, self.meant = [], [], {}
        self.page.on("console", lambda said: self.faults.append(said.text))
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("dialog", lambda dialog: self.faults.append(dialog.message))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.link = link
        self.page.goto(link)

    @property
    def position(self):
        return int(self.page.url.rpartition("/")[2])

    def settle(self):
        """As long as a page takes no votes, lest half of a double press votes on it."""
        self.page.wait_for_timeout(350)

    def mean(self, value):
        """Remember a vote for a side as one for the model whose answer stands there."""
        texts = self.page.locator(".answer").all_inner_texts()
        left = re.findall(r"\((\d)\.(\d+)\)", texts[0])[0]
        turned = left[0] == "0"  # M1's answer, the item's second one
        self.meant[left[1]] = KEPT[str(6 - int(value)) if turned else value]

    def done(self):
        """What they meant, with nothing on the console and nothing asked of anybody else."""
        assert self.faults == []
        base = self.link.partition("/a/")[0]
        assert not [address for address in self.asked if not address.startswith(base)]
        self.context.close()
        return self.meant


def kept_of(path, annotator):
    """What the box holds of an annotator, by the number in the answers' text."""
    with closing(open_box(path)) as box:
        number = {item.id: re.findall(r"\.(\d+)\)", item.answers[0].text)[0] for item in box.items}
        return {number[vote.item]: vote for vote in box.votes() if vote.annotator == annotator}


def test_a_session_of_twenty_ballots_by_mouse_keys_and_phone(browser, live):
    server, path = live
    person = Annotator(browser, server.links[0], viewport={"width": 1280, "height": 800})
    page = person.page
    page.get_by_role("link", name="Begin").click()
    for n in range(7):  # by mouse, with reasons
        value = str(n % 5 + 1)
        person.settle()
        person.mean(value)
        page.locator(f"input[name=choice][value='{value}']").check()
        if n == 2:
            page.get_by_text("Why?").click()
            page.get_by_label("complete").check()
            page.get_by_label("Note").fill("1 is not a vote while writing\nsecond line")
        with page.expect_navigation():
            page.get_by_role("button", name="Save and go on").click()
    here = person.position
    page.reload()
    assert person.position == here == 8
    page.go_back()
    assert person.position == 7
    assert page.locator("input[name=choice]:checked").get_attribute("value") == "2"
    page.go_forward()
    for n in range(7):  # by keys
        value = "54321"[n % 5]
        person.settle()
        person.mean(value)
        with page.expect_navigation():
            page.keyboard.press(value)
    assert "14 of 20 done" in page.locator("header").inner_text()
    first = person.done()
    phone = Annotator(browser, server.links[0], **PHONE)
    phone.page.get_by_role("link", name="Go on").tap()
    for n in range(6):  # by touch
        value = str(n % 5 + 1)
        phone.settle()
        phone.mean(value)
        assert phone.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        phone.page.locator(".choices label").nth(int(value) - 1).tap()
        with phone.page.expect_navigation():
            phone.page.get_by_role("button", name="Save and go on").tap()
    assert "All 20 of your votes are saved" in phone.page.locator("main").inner_text()
    kept = kept_of(path, 1)
    assert {number: vote.choice for number, vote in kept.items()} == first | phone.done()
    assert len(kept) == 20
    (noted,) = [vote for vote in kept.values() if vote.note]
    assert (noted.reasons, noted.note) == (("complete",), "1 is not a vote while writing\nsecond line")


def test_undo_skip_and_return_by_keys(browser, live):
    server, path = live
    person = Annotator(browser, server.links[1])
    page = person.page
    page.goto(server.links[1] + "ballot/1")
    person.settle()
    with page.expect_navigation():
        page.keyboard.press("s")
    person.settle()
    with page.expect_navigation():
        page.keyboard.press("4")
    assert person.position == 3
    person.settle()
    with page.expect_navigation():
        page.keyboard.press("u")
    assert person.position == 2
    assert kept_of(path, 2) == {}
    page.get_by_label("Keys 1 to 5 vote").uncheck()
    page.keyboard.press("1")
    page.wait_for_timeout(600)
    assert kept_of(path, 2) == {}  # switched off
    page.get_by_role("link", name="All 20").click()
    assert page.locator(".state.skipped").count() == 1
    assert person.done() == {}


def test_a_double_press_votes_once(browser, live):
    server, path = live
    person = Annotator(browser, server.links[2])
    person.page.goto(server.links[2] + "ballot/1")
    person.settle()
    with person.page.expect_navigation():
        person.page.keyboard.press("2")
    person.page.keyboard.press("2")
    person.page.wait_for_timeout(600)
    assert person.position == 2
    person.page.get_by_role("radio", name="Equally good").check()
    person.page.get_by_role("button", name="Save and go on").dblclick()
    person.page.wait_for_timeout(600)
    assert len(kept_of(path, 3)) == 2
    person.done()


def test_with_the_keyboard_alone_by_tab_arrows_and_enter(browser, live):
    server, path = live
    person = Annotator(browser, server.links[3], java_script_enabled=False)
    page = person.page
    page.goto(server.links[3] + "ballot/1")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.locator("input[name=choice]:focus").count():
            break
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")  # the first press takes the second of the choices
    with page.expect_navigation():
        page.keyboard.press("Enter")
    assert [vote.choice for vote in kept_of(path, 4).values()] == ["tie"]


def test_without_scripts_a_whole_vote_can_be_changed_and_taken_back(browser, live):
    server, path = live
    person = Annotator(browser, server.links[4], java_script_enabled=False)
    page = person.page
    page.get_by_role("link", name="Begin").click()
    person.mean("1")
    page.locator("input[name=choice][value='1']").check()
    page.get_by_role("button", name="Save and go on").click()
    assert {number: vote.choice for number, vote in kept_of(path, 5).items()} == person.meant
    page.get_by_role("button", name="Undo my last vote").click()
    assert person.position == 1
    assert kept_of(path, 5) == {}
    page.get_by_role("button", name="Save and go on").click()  # the browser itself asks for a choice
    assert person.position == 1
    page.get_by_role("button", name="Skip for now").click()
    assert person.position == 2
    person.done()


def test_what_a_screen_reader_hears(browser, live):
    server, _ = live
    person = Annotator(browser, server.links[5])
    person.page.goto(server.links[5] + "ballot/1")
    heard = person.page.locator("body").aria_snapshot()
    for words in (
        'navigation "Pages"',
        'heading "1 of 20" [level=1]',
        'region "Prompt"',
        'region "Answer A"',
        'region "Answer B"',
        'group "Which answer is better?"',
        'radio "A clearly better"',
        'radio "I cannot judge"',
        'progressbar "0 of 20 done"',
        'button "Save and go on"',
    ):
        assert words in heard, heard
    person.done()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("where", ["", "ballot/1", "ballots", "end", "ballot/999"])
def test_axe_finds_nothing_to_mend(browser, live, where, scheme):
    server, _ = live
    context = browser.new_context(color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    page.goto(server.links[6] + where)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    context.close()


def test_hostile_answers_do_nothing_in_a_browser(browser, tmp_path):
    texts = [f"{text} ({n % 2}.{n})" for n, text in enumerate(HOSTILE)]
    folder = made_run(tmp_path / "hostile", {"M1": texts, "M3": [f"3{text}" for text in texts]}, texts)
    with serving(folder) as server:
        person = Annotator(browser, server.links[0])
        for position in range(1, 41):
            person.page.goto(f"{server.links[0]}ballot/{position}")
            assert person.page.evaluate("document.querySelectorAll('script').length") == 1
            assert person.page.locator("form#vote").count() == 1
            assert person.page.locator("img, svg, iframe, object, embed, video, base, math").count() == 0
        person.done()
