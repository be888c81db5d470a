"""`srlm annotate` and `srlm browse` from the command line: one's own prompts, export, mistakes."""

import json
import re
import shutil
import signal
import socket
from pathlib import Path

import httpx2
import pytest
from click.testing import CliRunner

from people.made_runs import made_run, plain_run
from srlm.cli import main
from srlm.people.asking import CHOICES
from srlm.people.study import open_study
from srlm.people.votes import open_box
from srlm.store.run import Quiet
from web.live import serving


def run(*words):
    return CliRunner().invoke(main, list(map(str, words)))


@pytest.fixture
def unserved(monkeypatch):
    """Everything but the serving: what would be served."""
    served = []

    def serve_run(folder, where, told, study):
        served.append(study())

    monkeypatch.setattr("srlm.web.serving.serve_run", lambda *given, study, **more: serve_run(*given, study))
    return served


def test_models_of_a_run_answer_prompts_of_a_file_and_judges_score_them(finished, tmp_path, unserved):
    folder, _, _ = finished
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"How is thing {n} done?"}) + "\n" for n in range(6)))
    words = ("annotate", folder, "--prompts", prompts, "--models", "M1,M3", "--limit", 4, "--study", "own")
    done = run(*words)
    assert done.exit_code == 0, done.output
    box = unserved[0]
    assert [item.models for item in box.items] == [("M3", "M1")] * 4
    assert {item.prompt for item in box.items} <= {f"How is thing {n} done?" for n in range(6)}
    for item in box.items:
        box.cast(1, item, "first_clearly" if item.answers[0].text > item.answers[1].text else "tie")
    exported = run("annotate", folder, "--study", "own", "--export")
    assert exported.exit_code == 0, exported.output
    found = json.loads((folder / "human/own.figures.json").read_text())
    assert found["figures"]["matches"]["M3 against M1"]["prompts"] == 4
    assert found["judges"]["M3 against M1"]["frozen"]["num"] > 0
    assert "own" in found["judges"]["M3 against M1"]
    assert run(*words).exit_code == 0  # goes on, and answers nothing again
    assert run("report", folder).exit_code == 0
    assert "M3 against M1" in (folder / "report/report.md").read_text()


def test_export_writes_each_vote_by_models_and_what_they_say(tmp_path):
    folder = plain_run(tmp_path / "demo", prompts=6)
    box = open_study(folder, "votes", {"kind": "comparison", "models": ("M1", "M3")}, Quiet())
    for who in (1, 2):
        for item, choice in zip(box.items, CHOICES, strict=False):
            box.cast(who, item, choice, ["clear"], "a note")
    done = run("annotate", folder, "--export")
    assert done.exit_code == 0, done.output
    assert "M3 against M1" in done.output
    lines = [json.loads(line) for line in (folder / "human/votes.votes.jsonl").read_text().splitlines()]
    assert len(lines) == 10
    assert [line["choice"] for line in lines[:5]] == list(CHOICES)
    assert [answer["model"] for answer in lines[0]["answers"]] == ["M3", "M1"]
    assert (lines[0]["reasons"], lines[0]["note"], lines[0]["annotator"]) == (["clear"], "a note", 1)


def test_exported_grades_are_seed_data(tmp_path):
    folder = plain_run(tmp_path / "demo", prompts=6)
    wanted = {"kind": "rating", "models": ("M1", "M2", "M3")}
    box = open_study(folder, "ratings", wanted, Quiet())
    for place, item in enumerate(box.items):
        box.cast(1, item, str(place % 6), note="because it is so")
    done = run("annotate", folder, "--rate", "--export")
    assert done.exit_code == 0, done.output
    checked = run("seed", "check", folder / "human/ratings.ranked.jsonl")
    assert checked.exit_code == 0, checked.output
    (line, *_) = (folder / "human/ratings.ranked.jsonl").read_text().splitlines()
    answers = json.loads(line)["answers"]
    assert {answer["author"] for answer in answers} <= {"M1", "M2", "M3"}
    assert all(answer["labelled_by"] == "people" for answer in answers)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--models", "M1,M9"), "answers of M9"),
        (("--models", "M1"), "needs two models"),
        (("--models", ","), "no name of a run's model"),
        (("--host", "0.0.0.0"), "--expose"),  # noqa: S104
        (("--export",), "there is no such file"),
        (("--study", "a b"), "letters, digits and underscores"),
        (("--annotators", "0"), "0 is not in the range"),
        (("--prompts", "nowhere.jsonl"), "does not exist"),
    ],
)
def test_mistakes_are_told_in_three_parts_and_leave_nothing(tmp_path, words, said):
    folder = plain_run(tmp_path / "demo")
    done = run("annotate", folder, *words, "--port", 0)
    assert done.exit_code == 2
    assert said in done.output
    assert "Traceback" not in done.output
    assert ("What to do:" in done.output) or "Usage:" in done.output
    assert not (folder / "human").exists()


def test_a_run_without_answers_and_no_run_are_told(tmp_path):
    empty = made_run(tmp_path / "empty", {})
    assert "no model of the run has any" in run("annotate", empty).output
    for command in ("annotate", "browse"):
        done = run(command, tmp_path / "nowhere")
        assert done.exit_code == 2
        assert "no run in this folder" in done.output
        assert not (tmp_path / "nowhere").exists()


def test_a_port_in_use_is_told(tmp_path):
    folder = plain_run(tmp_path / "demo")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        done = run("annotate", folder, "--port", taken.getsockname()[1])
    assert done.exit_code == 2
    assert "another --port" in done.output
    assert not (folder / "human").exists()  # what is asked is not fixed by a command that failed


def test_links_stay_and_can_be_renewed(tmp_path, monkeypatch):
    folder = plain_run(tmp_path / "demo")
    monkeypatch.setattr("srlm.web.serving.serve", lambda app, listening, ready: ready())

    def links(*more):
        done = run("annotate", folder, "--port", 0, *more)
        assert done.exit_code == 0, done.output
        return [line.split("/")[-2] for line in done.output.splitlines() if "http://127.0.0.1" in line]

    first = links()
    assert len(set(first)) == 4  # three annotators and the owner
    assert links() == first
    assert links("--annotators", "5")[:3] == first[:3]
    renewed = links("--renew-links")
    assert not set(renewed) & set(first)
    assert (folder / "human/votes.key").stat().st_mode & 0o777 == 0o600
    assert not [key for key in renewed if key.encode() in (folder / "human/votes.sqlite").read_bytes()]


def test_an_exposed_server_says_what_that_means(tmp_path, monkeypatch):
    monkeypatch.setattr("srlm.web.serving.serve", lambda app, listening, ready: ready())
    done = run("annotate", plain_run(tmp_path / "demo"), "--port", 0, "--host", "0.0.0.0", "--expose")  # noqa: S104
    assert done.exit_code == 0, done.output
    assert "nothing is encrypted" in done.output
    assert "http://0.0.0.0" not in done.output


def test_a_key_that_was_not_written_whole_is_refused_and_can_be_renewed(tmp_path, monkeypatch):
    """Links that follow from nothing could be guessed."""
    monkeypatch.setattr("srlm.web.serving.serve", lambda app, listening, ready: ready())
    folder = plain_run(tmp_path / "demo")
    (folder / "human").mkdir()
    (folder / "human/votes.key").write_bytes(b"")
    done = run("annotate", folder, "--port", 0)
    assert done.exit_code == 2
    assert "--renew-links" in done.output
    assert run("annotate", folder, "--port", 0, "--renew-links").exit_code == 0
    assert len((folder / "human/votes.key").read_bytes()) == 32


def test_votes_are_in_one_file_when_the_server_has_ended(tmp_path):
    """After SIGTERM as after Ctrl-C; so the file can be copied alone."""
    for ends in (signal.SIGTERM, signal.SIGINT):
        folder = plain_run(tmp_path / ends.name)
        with serving(folder) as live:
            page = httpx2.get(live.links[0] + "ballot/1").text
            form = {"form": re.findall('name="form" value="([^"]+)"', page)[0], "todo": "vote", "choice": "3"}
            assert httpx2.post(live.links[0] + "ballot/1", data=form).status_code == 303
            live.process.send_signal(ends)
            assert live.process.wait(20) == 0
        copied = Path(shutil.copy(folder / "human/votes.sqlite", tmp_path / f"{ends.name}.sqlite"))
        assert not list((folder / "human").glob("votes.sqlite-*"))
        assert len(open_box(copied).votes()) == 1


def test_where_nothing_can_be_written_a_run_can_still_be_browsed(tmp_path, monkeypatch):
    monkeypatch.setattr("srlm.web.serving.serve", lambda app, listening, ready: ready())
    folder = plain_run(tmp_path / "demo")
    (folder / "human").write_text("a file, where a folder would be made")
    assert "http://127.0.0.1" in run("browse", folder, "--port", 0).output
    done = run("annotate", folder, "--port", 0)
    assert done.exit_code == 2
    assert "cannot be written" in done.output
