import json
import os
import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner

from conftest import tiny_overrides
from srlm.cli import main
from srlm.errors import SrlmError


@pytest.fixture
def cli():
    runner = CliRunner()

    def call(*arguments: str):
        return runner.invoke(main, list(arguments), catch_exceptions=False)

    return call


def test_help_and_import_load_no_torch():
    code = (
        "import sys\nimport srlm\nfrom click.testing import CliRunner\nfrom srlm.cli import main\n"
        "for words in (['--help'], ['run', '--help'], ['recipes'], ['config', 'smollm2']):\n"
        "    assert CliRunner().invoke(main, words).exit_code == 0\n"
        "print([name for name in ('torch', 'transformers', 'vllm', 'ray') if name in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_status_waits_for_no_statistics():
    code = "import sys, srlm.loop; print([name for name in ('scipy.stats', 'torch') if name in sys.modules])"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_recipes_and_config(cli):
    names = {line.split()[0] for line in cli("recipes").output.splitlines()}
    assert {"smollm2", "llama3-8b", "paper-70b", "no-eft", "meta-rewarding-8b"} <= names
    for name in names:
        assert cli("config", name).exit_code == 0
    shown = cli("config", "smollm2", "judge.samples=5").output
    assert any(line.split() == ["judge.samples", "5", "override"] for line in shown.splitlines())
    assert any(line.split()[-1] == "default" for line in shown.splitlines())


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["run", "smollm2", "judge.sample=5"], ["did you mean 'judge.samples'"]),
        (["run", "smolm2"], ["did you mean 'smollm2'"]),
        (["run", "smollm2", "responses.samples=1"], ["responses.samples", "greater than or equal to 2"]),
        (["run", "smollm2", "data.ranked=nowhere.jsonl"], ["nowhere.jsonl", "cannot be read"]),
        (["run", "smollm2", "model.name=./nowhere"], ["model './nowhere'", "(1)", "(2)", "(3)"]),
        (["status", "nothing"], ["no run in this folder"]),
        (["report", "nothing"], ["no run in this folder"]),
        (["chat", "./nowhere"], ["model './nowhere'"]),
        (["plan", "smollm2", "prompts.count=0"], ["prompts.count"]),
    ],
)
def test_bad_input_gets_what_why_and_what_to_do(cli, tmp_path, monkeypatch, words, parts):
    monkeypatch.chdir(tmp_path)
    result = cli(*words)
    assert result.exit_code == 2
    for part in [*parts, "Error: ", "Why: ", "What to do: "]:
        assert part in result.output
    assert "Traceback" not in result.output


def test_plan_without_calibration_counts_the_papers_sixteen_generations(cli):
    shown = cli("plan", "smollm2", "--no-calibrate").output
    steps = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if "/" in line}
    # 32 prompts, 4 responses each, 3 judgments each: 16 generations a prompt.
    assert steps["M2/responses"][:2] == ["128", "128"]
    assert steps["M2/judgments"][:2] == ["128", "384"]
    assert "nothing was calibrated" in shown


def test_run_status_report_and_again(cli, tiny, tmp_path):
    runs = ["--runs", str(tmp_path)]
    words = ["run", "smollm2", *tiny_overrides(tiny.path), "iterations=1", "--name", "first", *runs]
    made = cli(*words, "--json")
    assert made.exit_code == 0, made.output
    events = [json.loads(line) for line in made.output.splitlines()]
    assert events[-1]["event"] == "outcome"
    assert "M1 is trained" in events[-1]["verdict"]
    assert {"begin", "advance", "end"} <= {event["event"] for event in events}
    assert (tmp_path / "first/report/report.html").exists()
    again = cli(*words)
    assert "M1/sft: done before" in again.output
    assert "srlm chat" in again.output
    assert "first" in cli("status", *runs).output
    shown = cli("status", "first", *runs).output
    assert all(step in shown for step in ("M1/sft", "M0/evaluation/answers", "M1/evaluation/figures"))
    assert "done" in shown
    changed = cli(*words, "sft.epochs=5")
    assert changed.exit_code == 2
    assert "sft.epochs: 0.2 then, 5 now" in changed.output.replace("5.0 now", "5 now")
    assert cli("report", "first", *runs).output.split()[0].endswith("report.md")


def test_no_runs_yet_says_how_to_start_one(cli, tmp_path):
    assert "srlm run smollm2" in cli("status", "--runs", str(tmp_path)).output


def test_ctrl_c_says_what_is_safe_and_the_same_command_goes_on(tiny, tmp_path):
    overrides = [*tiny_overrides(tiny.path), "iterations=1", "sft.epochs=1"]
    words = [sys.executable, "-m", "srlm.cli", "run", "smollm2", *overrides, "--runs", str(tmp_path)]
    with subprocess.Popen(
        words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as child:
        deadline = time.monotonic() + 120
        while not list(tmp_path.glob("smollm2/M1/sft/checkpoints/checkpoint-*")):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.killpg(child.pid, signal.SIGINT)  # as a terminal does: to the child process as well
        _, said = child.communicate(timeout=60)
    assert child.returncode == 130
    assert "safe" in said
    assert "same command" in said
    assert "Traceback" not in said
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "M1 is trained" in done.stdout
    assert json.loads((tmp_path / "smollm2/M1/sft/summary.json").read_text())["resumed_at"] >= 1


def test_errors_have_three_parts():
    error = SrlmError("what", "why", "do")
    assert str(error) == "what\n  Why: why\n  What to do: do"
