"""Votes of people in a report: read from their files, beside the paper's, and named where they cannot be
read.
"""

import json
from contextlib import closing
from pathlib import Path

import pytest
from pages import estimate, page

from srlm.people.asking import CHOICES, Answer, Item, Vote
from srlm.people.figures import figures_of
from srlm.people.votes import Study, make_box, open_box
from srlm.report import tables
from srlm.report.card import render_card
from srlm.report.cells import NO_DATA, Cell
from srlm.report.collect import collect
from srlm.report.evidence import preferences
from srlm.report.render import render, write_report

HOSTILE = "</pre><script>alert(1)</script>|"
NAMES = ("report.md", "report.html")


SAID = (0, 0, 0, 0, 0, 0, 2, 2, 4, 4, 1, 1)


def voted(models=("M3", "SFT"), said=SAID):
    """Items and votes of two annotators who agree but on the last prompt."""
    items = [
        Item(
            f"p{n}",
            f"Prompt {n}?",
            tuple(Answer(model, f"{model}{n}", "word " * (5 - place)) for place, model in enumerate(models)),
        )
        for n in range(len(said))
    ]
    votes = [
        Vote(item.id, who, CHOICES[choice if (who, n) != (2, len(said) - 1) else 4])
        for n, (item, choice) in enumerate(zip(items, said, strict=True))
        for who in (1, 2)
    ]
    return items, votes


def compared(models=("M3", "SFT"), said=SAID):
    """What a study of these votes says."""
    return study("comparison", *voted(models, said))


def rated(model="M3", grades=(1, 2, 3, 4, 5)):
    items = [Item(f"p{n}", f"Prompt {n}?", (Answer(model, f"a{n}", "x" * n),)) for n in range(len(grades))]
    votes = [Vote(item.id, 1, str(grade)) for item, grade in zip(items, grades, strict=True)]
    return study("rating", items, votes)


def study(kind, items, votes):
    found = {"kind": kind} | figures_of(Path("nowhere"), kind, items, votes)
    return json.loads(json.dumps(found))


def keep(folder, name, items, votes):
    """A file of votes in a run's folder."""
    path = folder / f"human/{name}.sqlite"
    make_box(path, Study("comparison", ("SFT", "M3"), "held out", 50, 0, 0), items)
    with closing(open_box(path)) as box:
        by_id = {item.id: item for item in items}
        for vote in votes:
            box.cast(vote.annotator, by_id[vote.item], vote.choice)
    return path


@pytest.fixture
def folder(tmp_path):
    """A run of which nothing is there but votes."""
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "config.json").write_text('{"config": {}, "origins": {}}')
    (tmp_path / "human").mkdir()
    return tmp_path


def cells(table, row):
    return dict(zip(table.columns[1:], dict(table.rows)[row], strict=True))


def test_a_match_stands_beside_the_papers():
    given = compared()
    given["judges"]["M3 against SFT"]["own"]["agreement"] = estimate(0.7, 0.6, 0.8)
    row = cells(tables.humans(page(people={"votes": given}).preferred), "M3 against SFT")
    assert row["Win / tie / loss"] == Cell("58 / 25 / 17", paper="66 / 16 / 18")
    assert row["Win rate"].text == "70.8 %"
    assert row["Win rate"].interval
    assert (row["Prompts"].text, row["Annotators"].text) == ("12", "2")
    assert row["Krippendorff’s α"].text == "0.85"
    assert row["Own judge agrees"] == Cell("70.0 %", "[60, 80]")
    assert row["Frozen judge agrees"].text == NO_DATA
    assert row["Longer wins"].text == "77.8 %"  # the first is longer, and wins 7 of 9


def test_what_the_paper_alone_has_follows():
    table = tables.humans(page(people={"votes": compared(("M3", "M1"))}).preferred)
    assert [name for name, _ in table.rows] == [
        "M3 against M1",
        "paper’s M1 against SFT",
        "paper’s M2 against SFT",
        "paper’s M3 against SFT",
    ]
    assert "No votes" not in table.note


def test_a_match_of_two_studies_has_two_rows():
    given = page(people={"a": compared(), "b": compared(said=(4, 4, 4))})
    assert list(given.preferred) == ["M3 against SFT", "M3 against SFT (b)"]
    assert given.preferred["M3 against SFT (b)"]["losses"] == 3


def test_grades_have_a_table_of_their_own():
    given = page(people={"ratings": rated()})
    row = cells(tables.ratings(given.graded), "M3")
    assert row["Mean grade"].text == "3.00"
    assert row["Mean grade"].interval
    assert row["Spearman with length"].text == "1.00"
    assert row["Krippendorff’s α"].text == NO_DATA  # one annotator
    for name in NAMES:
        assert "Grades from 0 to 5" in render(given, name, {})
        assert "Grades from 0 to 5" not in render(page(), name, {})
    assert given.preferred == {}


@pytest.mark.parametrize("name", NAMES)
def test_both_pages_show_all_that_a_study_found(name):
    text = render(page(people={"votes": compared()}), name, {})
    assert "paper 66 / 16 / 18" in text
    assert "Study votes" in text
    assert "checks passed" in text
    assert "None" not in text


def test_names_of_models_and_studies_are_text():
    text = render(page(people={HOSTILE: compared((HOSTILE, "M1"))}), "report.html", {})
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    row = next(
        line
        for line in render(page(people={"v": compared((HOSTILE, "M1"))}), "report.md", {}).splitlines()
        if line.startswith("| <")
    )
    assert "</script>\\| against M1 |" in row


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ((0,) * 16 + (4,) * 4, "People prefer M3 to SFT: M3 wins"),
        ((4,) * 16 + (0,) * 4, "People prefer SFT to M3: M3 wins"),
        ((0, 4) * 10, "People are not shown to prefer M3 or SFT: M3 wins"),
        ((0,) * 3, "People are not shown to prefer M3 or SFT: M3 wins"),  # too few to say
    ],
)
def test_whom_people_prefer_is_said_by_the_interval(said, sentence):
    (found,) = preferences(page(people={"votes": compared(said=said)}).preferred)
    assert found.startswith(sentence)
    assert "by 2 annotators" in found
    assert ("The longer answer won" in found) == (said[:2] == (0, 0) and len(said) > 10)


def test_a_report_reads_the_votes_of_a_run(folder):
    keep(folder, "votes", *voted())
    found = collect(folder)
    assert list(found.people) == ["votes"]
    assert any(said.startswith("People ") for said in found.findings)
    assert "human votes: none" not in found.missing
    write_report(folder)
    assert "58 / 25 / 17" in (folder / "report/report.html").read_text()


@pytest.mark.parametrize("damage", [b"", b"no database", b"SQLite format 3\x00" + b"x" * 9000])
def test_a_damaged_file_of_votes_costs_only_itself(folder, damage):
    whole = keep(folder, "votes", *voted())
    (folder / "human/broken.sqlite").write_bytes(damage)
    found = collect(folder)
    assert list(found.people) == ["votes"]
    assert [said for said in found.missing if said.startswith("human/broken.sqlite cannot be read (")]
    whole.unlink()
    assert "human votes: none" not in collect(folder).missing  # there may be some


def test_a_study_without_a_vote_is_no_vote(folder):
    items, _ = voted()
    keep(folder, "votes", items, [])
    assert "human votes: none" in collect(folder).missing


def test_a_card_tells_what_people_said_of_its_model_and_not_of_later_ones():
    given = page(people={"votes": compared(("M3", "M1"))})
    said = render_card(given, "M3", "a base", None)
    assert "- People are not shown to prefer M3 or M1" in said or "- People prefer" in said
    assert "People have not judged" not in said
    assert "People have not judged" in render_card(given, "M1", "a base", None)
