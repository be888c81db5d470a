"""Sweeps as a user runs them: cut and gone on with, a run that fails, another's folder, a typo."""

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
from srlm.errors import ConfigError
from srlm.sweep.conducting import check_at_once, conduct
from srlm.sweep.folder import Sweep, sweep_of
from srlm.sweep.settings import choices


@pytest.fixture
def words(tiny):
    """Two models in seconds, all in one process, nothing watched."""
    quick = ("iterations=2", "launcher.kind=inline", "gates.preset=off", "sft.compile=false")
    return [*tiny_overrides(tiny.path), *quick, "dpo.compile=false"]


def sweeping(folder, *words, seeds=1):
    return ["sweep", "smollm2", *words, "--seeds", str(seeds), "--out", str(folder)]


def test_commas_outside_of_brackets_and_quotes_part_the_values():
    assert choices("1e-6,2") == ["1e-6", "2"]
    assert choices("[a,b],{c: 1, d: 2},'e,f'") == ["[a,b]", "{c: 1, d: 2}", "'e,f'"]
    assert choices("[a,b]") == ["[a,b]"]
    assert choices("don't,do") == ["don't", "do"]


def test_every_combination_is_a_setting_and_the_names_are_safe(tmp_path):
    asked = ("dpo.beta=0.1,0.3", "iterations=2", "judge.samples=1,2")
    sweep = sweep_of(tmp_path, "smollm2", asked, 2)
    assert [one.label for one in sweep.settings] == [
        "dpo.beta=0.1,judge.samples=1",
        "dpo.beta=0.1,judge.samples=2",
        "dpo.beta=0.3,judge.samples=1",
        "dpo.beta=0.3,judge.samples=2",
    ]
    assert [(one.config.dpo.beta, one.config.iterations) for one in sweep.settings[1:3]] == [
        (0.1, 2),
        (0.3, 2),
    ]
    assert [(one.label[:12], seed) for one, seed in sweep.runs][3:5] == [
        ("dpo.beta=0.3", 0),
        ("dpo.beta=0.1", 1),
    ]
    named = sweep_of(tmp_path, "smollm2", ["model.name=a/b,a:b"], 1)
    labels = [one.label for one in named.settings]
    assert len(set(labels)) == 2
    assert all("/" not in label and ":" not in label for label in labels)
    assert [one.label for one in sweep_of(tmp_path, "smollm2", [], 1).settings] == ["smollm2"]


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (["dpo.bta=0.1,0.2"], "did you mean 'dpo.beta'"),
        (["dpo.beta=0.1,-3"], "dpo.beta"),
        (["dpo.beta=0.1,"], "empty"),
        (["dpo.beta=0.1,0.10"], "the same values"),
        (["seed=1,2"], "--seeds"),
        (["dpo.beta"], "not of the form"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_made(asked, said, tmp_path):
    result = CliRunner().invoke(main, sweeping(tmp_path / "sweep", *asked))
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "sweep").exists()


def test_recipes_are_settings_and_more_of_them_may_be_added(tmp_path):
    nll, margin = tmp_path / "nll.yaml", tmp_path / "margin.yaml"
    nll.write_text("extends: smollm2\ndpo: {nll: 1.0}\n")
    margin.write_text("extends: smollm2\npairs: {min_margin: 1.0}\n")
    folder = tmp_path / "sweep"
    both = sweep_of(folder, f"smollm2,{nll}", ["iterations=2"], 1)
    assert [one.label for one in both.settings] == ["smollm2", "nll"]
    assert [one.config.dpo.nll for one in both.settings] == [0.0, 1.0]
    crossed = sweep_of(folder, f"smollm2,{nll}", ["dpo.beta=0.1,0.3"], 1)
    assert [one.label for one in crossed.settings][2:] == ["nll,dpo.beta=0.1", "nll,dpo.beta=0.3"]
    folder.mkdir()
    both.save()
    more = sweep_of(folder, f"smollm2,{nll},{margin}", ["iterations=2"], 1)
    more.save()
    assert Sweep.read(folder) == more
    with pytest.raises(ConfigError, match="iterations: 2 then, 3 now"):
        sweep_of(folder, f"smollm2,{nll}", ["iterations=3"], 1).save()


def test_an_edited_recipe_is_another_setting_and_refused(tmp_path):
    recipe = tmp_path / "nll.yaml"
    recipe.write_text("extends: smollm2\ndpo: {nll: 1.0}\n")
    (tmp_path / "sweep").mkdir()
    sweep_of(tmp_path / "sweep", f"smollm2,{recipe}", [], 1).save()
    recipe.write_text("extends: smollm2\ndpo: {nll: 0.25}\n")
    with pytest.raises(ConfigError, match=r"dpo\.nll: 1\.0 then, 0\.25 now"):
        sweep_of(tmp_path / "sweep", f"smollm2,{recipe}", [], 1).save()


def test_recipes_of_one_name_are_refused(tmp_path):
    other = tmp_path / "smollm2.yaml"
    other.write_text("extends: smollm2\ndpo: {nll: 1.0}\n")
    with pytest.raises(ConfigError, match="two settings called smollm2"):
        sweep_of(tmp_path, f"smollm2,{other}", [], 1)


def test_several_at_once_need_a_cluster_that_has_room_for_them(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    for asked, said in (
        ([], "this machine"),
        (["engine.kind=ray"], "would end with it"),
        (["engine.kind=ray", "engine.address=10.0.0.1:6379"], "take the whole cluster"),
    ):
        sweep = sweep_of(tmp_path, "smollm2", ["dpo.beta=0.1,0.3", *asked], 1)
        with pytest.raises(ConfigError, match=said):
            check_at_once(sweep, 2)
        check_at_once(sweep, 1)
    roomy = ["engine.kind=ray", "engine.address=10.0.0.1:6379", "engine.replicas=2"]
    check_at_once(sweep_of(tmp_path, "smollm2", ["dpo.beta=0.1,0.3", *roomy], 1), 2)


def test_a_sweep_that_is_cut_goes_on_and_its_runs_share_what_they_can(words, tmp_path):
    folder = tmp_path / "sweep"
    command = [sys.executable, "-m", "srlm.cli", *sweeping(folder, "dpo.beta=0.1,0.3", *words)]
    first = subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    second_run = folder / "dpo.beta=0.3/seed0"
    while not (second_run / "config.json").exists():
        assert first.poll() is None, first.stdout.read()
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGINT)
    assert first.wait(timeout=30) == 130
    assert (folder / "dpo.beta=0.1/seed0.json").exists()
    before = (folder / "dpo.beta=0.1/seed0.json").stat().st_mtime_ns
    cut = not second_run.with_suffix(".json").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert again.returncode == 0, again.stdout + again.stderr
    assert cut
    assert (folder / "dpo.beta=0.1/seed0.json").stat().st_mtime_ns == before
    assert "dpo.beta=0.1  seed 0" not in again.stdout
    assert "M2 is trained" in json.loads((folder / "dpo.beta=0.3/seed0.json").read_text())["verdict"]
    assert "dpo.beta=0.3  seed 0  M1/sft: done before" in again.stdout  # it was taken over
    weights = [folder / f"dpo.beta={beta}/seed0/M1/model/model.safetensors" for beta in ("0.1", "0.3")]
    assert weights[0].samefile(weights[1])
    assert (folder / "comparison.html").exists()


def test_a_run_that_fails_is_counted_and_the_others_go_on(words, tmp_path):
    folder = tmp_path / "sweep"
    missing = tmp_path / "missing.jsonl"
    asked = sweeping(folder, f"data.instructions={missing},builtin", *words)
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 1, result.output
    sweep = Sweep.read(folder)
    failed, done = (sweep.outcome(one.label, 0) for one in sweep.settings)
    assert "missing.jsonl" in failed["failure"]
    assert "verdict" in done
    assert "missing.jsonl" in result.output.split("min ")[-1]
    assert "missing.jsonl" in (folder / "comparison.md").read_text()
    again = CliRunner().invoke(main, asked)
    assert again.exit_code == 1
    assert " min " not in again.output  # nothing is left to do
    path = folder / sweep.settings[0].label / "seed0.json"
    path.unlink()
    assert " min " in CliRunner().invoke(main, asked).output
    assert path.exists()


def test_another_sweeps_folder_is_refused_and_more_values_are_not(tmp_path):
    sweep_of(tmp_path, "smollm2", ["dpo.beta=0.1,0.3", "iterations=2"], 1).save()
    more = sweep_of(tmp_path, "smollm2", ["dpo.beta=0.1,0.3,0.5", "iterations=2", "dpo.micro_tokens=99"], 2)
    more.save()
    assert Sweep.read(tmp_path) == more
    with pytest.raises(ConfigError, match="iterations: 2 then, 3 now"):
        conduct(sweep_of(tmp_path, "smollm2", ["dpo.beta=0.1,0.3", "iterations=3"], 1), print)
    with pytest.raises(ConfigError, match="what is swept"):
        conduct(sweep_of(tmp_path, "smollm2", ["judge.samples=1,2", "iterations=2"], 1), print)
    assert Sweep.read(tmp_path) == more
