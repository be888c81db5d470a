"""The examples run as they stand."""

import importlib.util
from pathlib import Path

from srlm.engines.scripted import ScriptedEngine

EXAMPLES = Path(__file__).parents[1] / "examples"


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tested_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {"from_python", "custom_engine"}


def test_custom_engine():
    pairs = load("custom_engine").main()
    assert pairs
    assert all(pair.chosen.endswith("THANK YOU.") for pair in pairs)


def test_from_python():
    example = load("from_python")
    pairs = example.one_round(example.CONFIG, ScriptedEngine())
    assert pairs
    assert all(pair.chosen_score > pair.rejected_score for pair in pairs)
