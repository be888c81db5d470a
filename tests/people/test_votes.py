"""The ballot box: nothing is lost, nothing counts twice, other files are refused."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from srlm.errors import RunError
from srlm.people.asking import SKIPPED, WITHDRAWN, Answer, Item
from srlm.people.votes import Study, make_box, open_box

STUDY = Study("comparison", ("M1", "M3"), "held out", 50, 0, 0)
ITEMS = [
    Item(f"p{n}", f"prompt {n}", (Answer("M3", f"a{n}", "x"), Answer("M1", f"b{n}", "y"))) for n in range(20)
]


@pytest.fixture
def box(tmp_path):
    path = tmp_path / "human/votes.sqlite"
    make_box(path, STUDY, ITEMS)
    with closing(open_box(path)) as opened:
        yield opened


def test_what_was_asked_comes_back_as_it_was(box):
    assert box.study == STUDY
    assert box.items == ITEMS


def test_the_last_word_counts_and_a_vote_that_is_sent_twice_counts_once(box):
    assert box.cast(1, ITEMS[0], "tie")
    assert not box.cast(1, ITEMS[0], "tie")
    assert box.cast(1, ITEMS[0], "first_clearly", ["clear"], "well said")
    assert box.cast(2, ITEMS[0], "tie")
    found = [(vote.annotator, vote.choice, vote.reasons, vote.note) for vote in box.votes()]
    assert found == [(1, "first_clearly", ("clear",), "well said"), (2, "tie", (), "")]
    rows = sqlite3.connect(box.path).execute("SELECT choice FROM vote").fetchall()
    assert rows == [("tie",), ("first_clearly",), ("tie",)]  # what was said before is still there


def test_skipped_and_withdrawn_are_no_votes(box):
    box.cast(1, ITEMS[0], SKIPPED)
    box.cast(1, ITEMS[1], "tie")
    box.cast(1, ITEMS[1], WITHDRAWN)
    assert box.votes() == []
    assert [vote.choice for vote in box.said_by(1).values()] == [SKIPPED]
    assert not box.cast(1, ITEMS[2], WITHDRAWN)


def test_what_was_said_comes_in_the_order_of_the_latest_words(box):
    for item, choice in (
        (ITEMS[3], "tie"),
        (ITEMS[1], "tie"),
        (ITEMS[2], SKIPPED),
        (ITEMS[3], "first_clearly"),
    ):
        box.cast(1, item, choice)
    box.cast(1, ITEMS[1], WITHDRAWN)
    assert list(box.said_by(1)) == [ITEMS[2].id, ITEMS[3].id]


def test_many_at_once_lose_nothing(box):
    def work(annotator):
        return sum(box.cast(annotator, item, "tie") for item in ITEMS for _ in range(2))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(1, 17))) == [len(ITEMS)] * 16
    assert len({(vote.annotator, vote.item) for vote in box.votes()}) == 16 * len(ITEMS) == len(box.votes())


def test_a_killed_process_loses_no_vote_that_it_acknowledged(tmp_path):
    path = tmp_path / "votes.sqlite"
    make_box(path, STUDY, ITEMS)
    writer = textwrap.dedent(f"""
        from pathlib import Path
        from srlm.people.votes import open_box
        box = open_box(Path({str(path)!r}))
        for annotator in range(1, 1000):
            for item in box.items:
                box.cast(annotator, item, "tie")
                print(annotator, item.id, flush=True)
    """)
    with subprocess.Popen([sys.executable, "-c", writer], stdout=subprocess.PIPE, text=True) as process:
        told = [process.stdout.readline().split() for _ in range(150)]
        os.kill(process.pid, signal.SIGKILL)
        told += [line.split() for line in process.stdout if line.endswith("\n")]
    with closing(open_box(path)) as box:
        kept = {(str(vote.annotator), vote.item) for vote in box.votes()}
        assert {tuple(words) for words in told} <= kept
        assert len(kept) - len(told) <= 1  # the one that was kept and not acknowledged any more
        assert box.cast(2000, ITEMS[0], "tie")


@pytest.mark.parametrize("version", [0, 2])
def test_a_file_of_another_version_is_refused_and_left_as_it_is(box, version):
    box.cast(1, ITEMS[0], "tie")
    box.close()
    with closing(sqlite3.connect(box.path)) as other:
        other.execute(f"PRAGMA user_version = {version}")
    before = box.path.read_bytes()
    with pytest.raises(RunError, match="older" if version == 0 else "newer"):
        open_box(box.path)
    assert box.path.read_bytes() == before


def test_what_is_no_study_is_refused(tmp_path):
    path = tmp_path / "votes.sqlite"
    with pytest.raises(RunError, match="no such file"):
        open_box(path)
    path.write_bytes(b"not a database at all, but long enough to be looked at" * 50)
    with pytest.raises(RunError, match="cannot be read"):
        open_box(path)


def test_a_damaged_study_is_refused(box):
    box.close()
    with closing(sqlite3.connect(box.path)) as other:
        other.execute("UPDATE item SET content = '{}' WHERE number = 1")
        other.commit()
    with pytest.raises(RunError, match="cannot be read"):
        open_box(box.path)


def test_making_a_study_leaves_nothing_half_made(tmp_path, monkeypatch):
    path = tmp_path / "votes.sqlite"
    monkeypatch.setattr(json, "dumps", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        make_box(path, STUDY, ITEMS)
    assert not path.exists()
