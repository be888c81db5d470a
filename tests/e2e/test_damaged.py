"""The report of a run that is cut short, half copied or older: the rest is shown, the piece is named."""

import json
import shutil

import pytest

from srlm.cli.runs import _reported
from srlm.report import write_report
from srlm.report.collect import collect
from srlm.report.figures import figures
from srlm.report.render import render

RUN = {
    "config.json": "config.json cannot be read",
    "run.json": "run.json cannot be read",
    "M1/eft.step.json": "M1/eft",
    "M1/monitors.json": "M1/monitors.json cannot be read",
    "M1/sft.step.json": "M1/sft",
    "M1/sft/data.jsonl": "M1/sft/data.jsonl cannot be read",
    "M1/sft/log.jsonl": "M1/sft/log.jsonl cannot be read",
    "M1/sft/summary.json": "M1/sft/summary.json cannot be read",
    "M1/watch/own.jsonl": "M1/watch/own.jsonl cannot be read",
    "M2/dpo.step.json": "M2/dpo",
    "M2/dpo/log.jsonl": "M2/dpo/log.jsonl cannot be read",
    "M2/dpo/summary.json": "M2/dpo/summary.json cannot be read",
    "M2/evaluation/answers.jsonl": "M2/evaluation/answers.jsonl cannot be read",
    "M2/evaluation/answers.step.json": "M2/evaluation/answers",
    "M2/evaluation/figures.json": "M2/evaluation/figures.json cannot be read",
    "M2/evaluation/figures.step.json": "of M2: not measured",
    "M2/judgments.jsonl": "M2/judgments.jsonl cannot be read",
    "M2/judgments.step.json": "round M2 cannot be read",
    "M2/pairs.jsonl": "M2/pairs.jsonl cannot be read",
    "M2/pairs.step.json": "round M2 cannot be read",
    "M2/prompts.jsonl": "M2/prompts.jsonl cannot be read",
    "M2/prompts.step.json": "round M2 cannot be read",
    "M2/responses.jsonl": "M2/responses.jsonl cannot be read",
    "M2/responses.step.json": "round M2 cannot be read",
    "M3/monitors.json": "M3/monitors.json cannot be read",
    "M3/watch/frozen.jsonl": "M3/watch/frozen.jsonl cannot be read",
    "M3/watch/frozen.step.json": "no word of M1 on answers of M3",
}
"""The files that a report reads, and what is said where one is damaged."""


@pytest.fixture(scope="module")
def copied(finished, tmp_path_factory):
    """A copy of a finished run; each test mends what it breaks."""
    folder = tmp_path_factory.mktemp("damaged") / "run"
    shutil.copytree(finished[0], folder, symlinks=True)
    return folder


def read(folder):
    """The page with its figures' data read, and its Markdown."""
    page = collect(folder)
    figures(page)
    return page, render(page, "report.md", {})


@pytest.fixture(autouse=True)
def undrawn(monkeypatch):
    """Figures without a picture: to read their records is enough here, and drawing takes most of the time."""
    for name in ("calibration", "distributions", "cloud", "histograms", "lines", "radar"):
        monkeypatch.setattr(f"srlm.report.charts.{name}", lambda *_, **__: "")
    monkeypatch.setattr("srlm.report.figures.prompt_map", lambda *_, **__: {})


def test_nothing_is_said_of_a_whole_run(copied):
    page, _ = read(copied)
    assert [said for said in page.missing if "(suite" not in said] == ["human votes: none"]


@pytest.mark.parametrize("damage", ["gone", "empty", "half"])
@pytest.mark.parametrize("name", RUN)
def test_a_damaged_file_costs_only_its_own_piece(copied, name, damage):
    path = copied / name
    text = path.read_text()
    if damage == "gone":
        if name == "run.json":
            return  # then it is no run
        path.unlink()
    else:
        path.write_text(text[: len(text) // 2] if damage == "half" else "")
    try:
        page, markdown = read(copied)
    finally:
        path.write_text(text)
    named = [said for said in page.missing if RUN[name].removesuffix(" cannot be read") in said]
    assert named
    assert all(said in markdown for said in named)
    assert "M3" in markdown.partition("## Judging")[0]


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("config.json", "config.evaluation"),
        ("M2/evaluation/figures.json", "judge.over_longer"),
        ("M2/evaluation/figures.json", "judge.similar_length"),
        ("M2/evaluation/figures.json", "judge.pairwise"),
        ("M2/evaluation/figures.json", "answers.ended"),
        ("M2/dpo/summary.json", "peak_memory_gib"),
        ("M2/dpo/summary.json", "items"),
        ("M2/pairs.step.json", "counts"),
        ("run.json", "srlm"),
    ],
)
def test_a_key_that_an_older_run_lacks_costs_only_its_figure(copied, name, key):
    path = copied / name
    text = path.read_text()
    values = json.loads(text)
    *above, last = key.split(".")
    place = values
    for part in above:
        place = place[part]
    del place[last]
    path.write_text(json.dumps(values))
    try:
        page, markdown = read(copied)
    finally:
        path.write_text(text)
    assert {row.name for row in page.models} == {"M0", "M1", "M2", "M3"}
    assert "None" not in markdown.partition("## Config")[0]
    assert any(key in said for said in page.missing) == name.endswith("figures.json")


def test_signals_of_an_older_and_of_a_newer_run_are_shown(copied):
    path = copied / "M2/monitors.json"
    text = path.read_text()
    values = json.loads(text)
    for item in values["signals"]:
        del item["gate"]
        item["new"] = 1
    path.write_text(json.dumps(values))
    try:
        page, _ = read(copied)
    finally:
        path.write_text(text)
    assert "M2" in page.signal_rounds
    assert page.evidence.startswith("M3 ")


def test_a_run_under_way_shows_what_is_whole(copied, tmp_path):
    """The data of a training is there before its model is; records are there before they are whole."""
    folder = tmp_path / "early"
    shutil.copytree(copied, folder, symlinks=True)
    for path in ("M1/sft.step.json", "M3/watch/frozen.step.json"):
        state = json.loads((folder / path).read_text()) | {"done": False}
        (folder / path).write_text(json.dumps(state))
    shutil.rmtree(folder / "M1/model")
    with (folder / "M3/watch/frozen.jsonl").open("a") as file:
        file.write('{"id": "ha')
    page, _ = read(folder)
    assert not [said for said in page.missing if "frozen.jsonl" in said or "map of prompts" in said]
    assert "best gains and worst losses: no word of M1 on answers of M3" in page.missing


def test_a_model_without_weights_costs_only_the_map(finished, tmp_path, monkeypatch):
    monkeypatch.undo()
    folder = tmp_path / "archived"
    shutil.copytree(
        finished[0], folder, symlinks=True, ignore=lambda place, _: ["model"] if "M1" in place else []
    )
    html = write_report(folder)[1].read_text()
    assert "the map of prompts cannot be read" in html
    assert "<figcaption>Scores of responses" in html
    assert "<figcaption>Map of prompts" not in html


def test_a_report_that_fails_ends_no_run(tmp_path, capsys):
    assert _reported(tmp_path) is None
    assert "The report was not written: RunError" in capsys.readouterr().err
