"""Our figure is the harness's own: both are run, on a tiny model and a small file."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from srlm.cli import main
from srlm.errors import EngineError
from srlm.evaluation.harness import ask_harness

QUESTIONS = [
    {"question": f"What comes after {n}?", "choices": [str(n + 1), f"{n} again", "nothing"], "answer": n % 3}
    for n in range(12)
]


@pytest.fixture
def questions(tmp_path):
    path = tmp_path / "numbers.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in QUESTIONS))
    return path


def run(*arguments):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)


def test_our_figure_is_the_harnesss_own(tiny, questions, tmp_path):
    words = ("eval", "harness", "engine.device=cpu", "--model", tiny.path, "--out", tmp_path / "out")
    result = run(*words, f"tasks={questions}", "limit=9", "fewshot=1")
    assert result.exit_code == 0, result.output
    ours = json.loads((tmp_path / "out/harness.json").read_text())["models"]["model"]["tasks"]["numbers"]
    command = [sys.executable, "-m", "lm_eval", "run", "--model", "hf", "--model_args"]
    command += [f"pretrained={tiny.path},dtype=bfloat16", "--tasks", "numbers", "--device", "cpu"]
    command += ["--include_path", str(tmp_path / "out/tasks/harness"), "--limit", "9", "--num_fewshot", "1"]
    command += ["--batch_size", "8", "--output_path", str(tmp_path / "theirs")]
    subprocess.run(command, check=True, capture_output=True)
    (written,) = (tmp_path / "theirs").glob("**/results_*.json")
    theirs = json.loads(written.read_text())["results"]["numbers"]
    assert ours["metrics"]["acc"]["value"] == theirs["acc,none"]
    assert ours["metrics"]["acc_norm"]["value"] == theirs["acc_norm,none"]
    assert ours["metrics"]["acc"]["num"] == ours["items"] == 9
    assert ours["fewshot"] == 1
    step = json.loads((tmp_path / "out/model/evaluation/harness/task_numbers.json").read_text())
    assert len(step["samples"]["numbers"]) == 9
    assert sum(one["acc"] for one in step["samples"]["numbers"]) / 9 == theirs["acc,none"]


def test_a_task_that_fails_says_where_to_read_why(tiny, tmp_path):
    job = {"task": "no_such_task", "include_path": None, "model_args": {"pretrained": str(tiny.path)}}
    job |= {"fewshot": None, "batch_size": 1, "device": "cpu", "limit": 1, "chat_template": False}
    with pytest.raises(EngineError, match="no_such_task") as error:
        ask_harness(job, tmp_path / "log.txt")
    assert str(tmp_path / "log.txt") in str(error.value)
    assert (tmp_path / "log.txt").read_text()


def test_without_the_harness_the_way_to_it_is_named(tiny, questions, tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run("eval", "harness", f"tasks={questions}", "--model", tiny.path, "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "pip install 'srlm[harness]'" in result.output
