import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from srlm.cli import main
from srlm.planning.hardware import GPUS, Assumptions
from srlm.recipes import load

DOCS = Path(__file__).parents[2] / "docs"


def plan(*words):
    return CliRunner().invoke(main, ["plan", *words])


def test_a_cluster_is_told_in_a_hundred_columns():
    found = plan("paper-70b", "--gpus", "64", "--gpu", "H100", "--what-if", "judge.samples=7", "--simulate")
    assert found.exit_code == 0, found.output
    lines = found.output.splitlines()
    tables = [line for line in lines if re.search(r"\s{3,}", line)]
    assert len(tables) > 30
    assert max(map(len, lines)) <= 100
    shown = (
        "Bottleneck",
        "M2/dpo",
        "sft, fsdp",
        "judge.samples=7",
        "evaluation, monitors",
        "1,024",
        "GPU-hours",
    )
    for words in shown:
        assert words in found.output
    assert lines[0].startswith("Prediction for 64 x h100")


def test_a_round_is_played_with_the_lengths_of_a_run(finished):
    """The scripted engine's answers are far shorter than the default: its rounds are over sooner."""
    words = ("paper-70b", "--gpus", "8", "--gpu", "h200", "--simulate")
    default, measured = plan(*words), plan(*words, "--lengths", str(finished[0]))
    assert (default.exit_code, measured.exit_code) == (0, 0)
    hours = []
    for found in (default, measured):
        rows = [line.split() for line in found.output.splitlines() if line.startswith("M2/responses")]
        hours.append(float(rows[-1][1]))
    assert hours[1] < 0.8 * hours[0]


def test_the_machine_needs_no_cluster(tiny):
    found = plan("smollm2", "--no-calibrate", f"model.name={tiny.path}")
    assert found.exit_code == 0
    assert "memory of the training process" in found.output
    assert "GPU-hours" not in found.output


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["--gpus", "8", "--gpu", "h1000"], ["did you mean h100", "What to do"]),
        (["--gpus", "0", "--gpu", "h100"], ["--gpus 0", "at least one"]),
        (["--gpus", "8", "--gpu", "h100", "--parameters", "20t"], ["no named GPU holds it", "would fit"]),
        (["--gpus", "8", "--gpu", "h100", "--assume", "reding=0.3"], ["did you mean reading"]),
        (["--gpus", "8", "--gpu", "h100", "--what-if", "judge.sample=5"], ["did you mean 'judge.samples'"]),
        (["--simulate"], ["without --gpus"]),
        (["--gpus", "8", "--gpu", "h100", "--parameters", "much"], ["70e9"]),
        (["--gpus", "8", "--gpu", "h100", "--simulate", "iterations=1"], ["no round to play"]),
    ],
)
def test_bad_input_has_three_parts(words, parts):
    found = plan("paper-70b", *words)
    assert found.exit_code == 2
    for part in ["Why:", "What to do:", *parts]:
        assert part in found.output


def test_what_if_says_where_it_does_not_fit():
    ddp = "launcher.kind=accelerate launcher.strategy=ddp"
    found = plan("paper-70b", "--gpus", "64", "--gpu", "h100", "--what-if", ddp)
    assert found.exit_code == 0, found.output
    (row,) = [line for line in found.output.splitlines() if line.startswith(ddp)]
    assert row.endswith("does not fit")
    assert "+0.00" not in row
    assert len(row) <= 104


def test_no_command_of_the_page_divides_adapters():
    text = (DOCS / "scale-out.md").read_text("utf-8").replace("\\\n", "")
    commands = [
        shlex.split(line, comments=True) for line in text.splitlines() if line.startswith("srlm run ")
    ]
    trained = [words for words in commands if any(word.startswith("launcher.") for word in words)]
    assert len(trained) >= 3
    for _, _, recipe, *words in trained:
        config = load(recipe, words).config
        assert config.launcher.strategy == "ddp" or not (config.sft.lora or config.dpo.lora), words


def test_the_page_names_every_assumption_and_gpu():
    text = (DOCS / "scale-out.md").read_text("utf-8")
    for name, field in Assumptions.model_fields.items():
        assert f"| `{name}` | {field.default:g} |" in text, name
    for name, gpu in GPUS.items():
        assert f"| `{name}` | {gpu.memory} | {gpu.flops / 1e12:g} | {gpu.bandwidth / 1e9:g} |" in text, name
