"""Studies as a user runs them: seeds in processes of their own, an arm that dies, a seed that fails."""

import os
import signal
import subprocess
import sys
import threading
import time

import psutil
import pytest
from click.testing import CliRunner

from srlm.cli import main
from srlm.proving import conducting
from srlm.proving.conducting import conduct
from srlm.proving.study import Study, study_of
from srlm.store.lock import take

TINY = (
    "world.documents=400", "world.least_coverage=0", "pretraining.layers=1", "pretraining.width=16",
    "pretraining.heads=2", "sizes.instructions=4", "sizes.ranked=4", "sizes.probe=3", "sizes.test=4",
    "sizes.given=12", "prompts.count=6", "iterations=2", "sft.epochs=1", "responses.samples=2",
)  # fmt: skip


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("SRLM_CACHE", str(tmp_path / "cache"))


def seed_process() -> psutil.Process | None:
    for one in psutil.Process().children(recursive=True):
        if "srlm.proving.conducting" in " ".join(one.cmdline()):
            return one
    return None


def test_an_arm_whose_process_dies_is_counted_and_the_others_go_on(tmp_path):
    study = study_of(tmp_path / "study", ("judge", "oracle"), 1, TINY)
    said: list[str] = []
    thread = threading.Thread(target=conduct, args=(study, said.append))
    thread.start()
    while not (tmp_path / "study/seed0/judge/config.json").exists():
        assert thread.is_alive(), said
        time.sleep(0.05)
    seed_process().kill()
    thread.join(timeout=120)
    assert "status -9" in study.outcome(0, "judge")["failure"]
    assert study.outcome(0, "oracle")["rounds"][0]["model"] == "M1"
    assert any("judge failed" in line for line in said)


def test_ctrl_c_counts_nothing_and_the_same_command_goes_on(tmp_path):
    words = [
        sys.executable,
        "-m",
        "srlm.cli",
        "prove",
        "judge",
        *TINY,
        "--seeds",
        "1",
        "--out",
        str(tmp_path / "study"),
    ]
    first = subprocess.Popen(words, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while not (tmp_path / "study/seed0/judge/config.json").exists():
        assert first.poll() is None
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGINT)
    assert first.wait(timeout=30) == 130
    assert not (tmp_path / "study/seed0/judge.json").exists()
    again = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr
    assert "rounds" in Study.read(tmp_path / "study").outcome(0, "judge")


def test_arms_that_talk_run_in_a_world_that_talks(tmp_path):
    more = ("world.talk=0.5", "judge_training.rounds=1")
    study = study_of(tmp_path / "study", ("meta-rewarding", "self-taught"), 1, (*TINY, *more))
    conduct(study, print)
    for arm, step in (("meta-rewarding", "meta_judgments"), ("self-taught", "worse_responses")):
        assert "rounds" in study.outcome(0, arm), study.outcome(0, arm)
        assert (tmp_path / f"study/seed0/{arm}/M2/{step}.jsonl").exists()


def test_two_studies_of_one_world_share_its_ground(tmp_path):
    studies = [study_of(tmp_path / name, ("oracle",), 1, TINY) for name in ("one", "other")]
    threads = [threading.Thread(target=conduct, args=(study, print)) for study in studies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=200)
    assert all("rounds" in study.outcome(0, "oracle") for study in studies), studies[0].outcome(0, "oracle")
    assert len(list((tmp_path / "cache/proving").glob("seed0-*/ground.json"))) == 1


def test_a_study_that_another_process_works_on_is_left_alone(tmp_path):
    lock = take(tmp_path / "study", "study", "wait")
    result = CliRunner().invoke(main, ["prove", "judge", *TINY, "--out", str(tmp_path / "study")])
    lock.release()
    assert result.exit_code == 2
    assert "another process is working on it" in result.output
    assert not (tmp_path / "study/study.json").exists()


def test_a_process_that_ends_and_does_nothing_is_counted(tmp_path, monkeypatch):
    study = study_of(tmp_path / "study", ("judge", "oracle"), 1, TINY)
    study.save()
    study.keep(0, "oracle", {"rounds": []})
    monkeypatch.setattr(conducting, "listen", lambda *_: "")
    conduct(study, print)
    assert "had done nothing" in study.outcome(0, "judge")["failure"]
    assert study.outcome(0, "oracle") == {"rounds": []}


def test_an_arm_that_is_done_stays_done_when_its_process_dies_after_it(tmp_path, monkeypatch):
    study = study_of(tmp_path / "study", ("judge",), 1, TINY)

    def listen(command, log, hear, *_):
        hear({"arm": "judge", "says": "judge ..."})
        study.keep(0, "judge", {"rounds": [1]})
        return "its process ended with status 134"

    monkeypatch.setattr(conducting, "listen", listen)
    conduct(study, print)
    assert study.outcome(0, "judge") == {"rounds": [1]}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["dpo.bta=0.3"], "did you mean 'dpo.beta'"),
        (["meta-rewarding"], "world.talk=0.6"),
        (["prompts.method=synthesis"], "given takes prompts from a file"),
        (["prompts.demonstrate=hard"], "shows none"),
        (["--seeds", "0"], "0 is not in the range"),
    ],
)
def test_what_no_ground_could_run_is_said_before_anything_is_made(words, said, tmp_path):
    result = CliRunner().invoke(main, ["prove", "judge", *words, "--out", str(tmp_path / "study")])
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "study").exists()


def test_a_world_with_too_few_tasks_is_a_failure_in_words(tmp_path):
    words = ["prove", "judge", *TINY, "world.astray=0", "sizes.given=5000", "--seeds", "1"]
    result = CliRunner().invoke(main, [*words, "--out", str(tmp_path / "study")])
    assert "make it richer" in result.output
    assert "make it richer" in Study.read(tmp_path / "study").outcome(0, "judge")["failure"]


def test_a_study_is_told_reported_and_goes_on(tmp_path):
    words = ["prove", "oracle", "random", *TINY, "--out", str(tmp_path / "study")]
    first = CliRunner().invoke(main, [*words, "--seeds", "1"])
    assert first.exit_code == 0, first.output
    assert "seed 0  oracle" in first.output
    assert "study.html" in first.output
    before = (tmp_path / "study/seed0/oracle.json").stat().st_mtime_ns
    again = CliRunner().invoke(main, [*words, "--seeds", "2"])
    assert again.exit_code == 0, again.output
    assert "seed 0" not in again.output
    assert "seed 1  oracle" in again.output
    assert (tmp_path / "study/seed0/oracle.json").stat().st_mtime_ns == before
    assert Study.read(tmp_path / "study").seeds == (0, 1)
    other = CliRunner().invoke(main, [*words, "--seeds", "1", "world.faults=0.3"])
    assert other.exit_code == 2
    assert "begun with another ground" in other.output


def test_a_seed_whose_model_learned_nothing_has_failed_by_a_rule_said_beforehand(tmp_path):
    words = [
        "prove",
        "oracle",
        *TINY,
        "world.least_coverage=0.9",
        "--seeds",
        "1",
        "--out",
        str(tmp_path / "study"),
    ]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0, result.output
    assert "Seed 0 is in no figure: M0 failed to pretrain: coverage" in result.output
