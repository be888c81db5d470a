"""The examples run as they stand, and what they and the documentation tell to run is a config."""

import importlib.util
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from srlm.cli.runs import run
from srlm.config import Config
from srlm.engines.scripted import ScriptedEngine
from srlm.recipes import load as load_recipe
from srlm.recipes import recipe_names

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config_of(words: list[str]) -> Config:
    """What `srlm run WORDS` asks for; a recipe of the reader's own counts as smollm2."""
    given = run.make_context("run", list(words)).params
    recipe = given["recipe"]
    return load_recipe(recipe if recipe in recipe_names() else "smollm2", given["overrides"]).config


def commands(text: str) -> list[str]:
    """What follows `srlm run` in lines of a shell, or the script that hands it on."""
    text = re.sub(r"slurm\.sh ([a-z]\S+)", r"srlm run \1 engine.kind=ray", text.replace("\\\n", " "))
    return [found.split(" > ")[0] for found in re.findall(r"srlm run (?!RECIPE)([a-z].*)", text)]


def in_fences(text: str) -> str:
    return "\n".join(re.findall(r"^```\w*\n(.*?)^```", text, re.MULTILINE | re.DOTALL))


TOLD = [
    *commands(in_fences((ROOT / "docs/scale-out.md").read_text("utf-8"))),
    *commands((EXAMPLES / "slurm.sh").read_text("utf-8")),
]


def test_every_example_is_tested_here():
    assert {path.name for path in EXAMPLES.iterdir() if path.is_file()} == {
        "from_python.py",
        "custom_engine.py",
        "slurm.sh",
        "kuberay.yaml",
    }


def test_custom_engine():
    pairs = load("custom_engine").main()
    assert pairs
    assert all(pair.chosen.endswith("THANK YOU.") for pair in pairs)


def test_from_python():
    example = load("from_python")
    pairs = example.one_round(example.CONFIG, ScriptedEngine())
    assert pairs
    assert all(pair.chosen_score > pair.rejected_score for pair in pairs)


def test_commands_are_found_in_the_documentation():
    assert len(TOLD) > 10


@pytest.mark.parametrize("command", TOLD)
def test_every_command_that_is_told_is_a_config(command):
    config_of(shlex.split(command, comments=True))


def test_slurm_hands_the_recipe_to_one_ray_cluster(tmp_path):
    stubs = {"hostname": "echo 10.0.0.1 ::1", "srun": 'printf "%s\\n" "$RAY_AUTH_MODE$RAY_AUTH_TOKEN" "$@"'}
    for name, does in stubs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SLURM_NNODES": "3", "SLURM_CPUS_ON_NODE": "8"}
    given = ["smollm2", "engine.engine.kind=scripted", "judge.samples=5", "--name", "five"]
    script = ["bash", str(EXAMPLES / "slurm.sh"), *given]
    said = subprocess.run(script, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    token, *words = said.splitlines()
    assert re.fullmatch(r"token[0-9a-f]{64}", token)
    assert words[words.index("--address") :][:4] == ["--address", "10.0.0.1:6379", "--min-nodes", "3"]
    srlm, command, *asked = words[words.index("--") + 1 :]
    assert (srlm, command) == ("srlm", "run")
    config = config_of(asked)
    assert (config.engine.kind, config.engine.address) == ("ray", "10.0.0.1:6379")
    assert (config.engine.engine.kind, config.judge.samples) == ("scripted", 5)


def test_slurm_without_a_recipe_says_so(tmp_path):
    script = ["bash", str(EXAMPLES / "slurm.sh")]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode
    assert "sbatch examples/slurm.sh RECIPE" in done.stderr


def test_kuberay_runs_on_the_machines_that_it_describes():
    spec = yaml.safe_load((EXAMPLES / "kuberay.yaml").read_text("utf-8"))["spec"]
    srlm, command, *asked = shlex.split(spec["entrypoint"])
    assert (srlm, command) == ("srlm", "run")
    config = config_of(asked)
    cluster = spec["rayClusterSpec"]
    (workers,) = cluster["workerGroupSpecs"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], workers)]
    images, volumes = ({str(pod["containers"][0][key]) for pod in pods} for key in ("image", "volumeMounts"))
    assert len(images) == len(volumes) == 1
    gpus = pods[1]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"]
    assert config.engine.gpus == config.launcher.gpus == gpus
    assert config.engine.replicas == config.launcher.workers == workers["maxReplicas"]
