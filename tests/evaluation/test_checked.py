"""Answers that a user's program gives points: figures by hand, and the checker by its name."""

import pytest

from srlm.config import CheckedSuite
from srlm.errors import ConfigError, DataError
from srlm.evaluation.checked import checked_figures, checked_table
from srlm.judging.checkers import load_checker


def test_figures_by_hand():
    """Points 5, 1 and 5, 5; right 1 of 2 and 2 of 2; of two answers one is right each time."""
    found = checked_figures([[5.0, 1.0], [5.0, 5.0]], top=5)
    assert (found["prompts"], found["draws"]) == (2, 4)
    assert found["points"]["value"] == 4.0
    assert found["right"]["value"] == 0.75
    assert {k: one["value"] for k, one in found["pass_at"].items()} == {"1": 0.75, "2": 1.0}
    assert found["points"]["low"] < 4 < found["points"]["high"]
    text = checked_table(found)
    assert "4 answers to 2 prompts" in text
    assert "% right       75.00 [50.00, 100.00]" in text
    assert "% pass@2      100.00 [–]" in text


def test_nothing_answered_is_no_figure():
    found = checked_figures([], top=1)
    assert found["points"]["value"] is None
    assert "points        –" in checked_table(found)


def test_a_checker_is_found_by_its_name():
    assert load_checker("srlm.proving.tasks:points")("rev up sq bang a b c", "[ C B A ] !") == 5
    with pytest.raises(ConfigError, match=r"checker srlm.proving.tasks:point(.|\n)*no such function"):
        load_checker("srlm.proving.tasks:point")
    with pytest.raises(ConfigError, match=r"checker nowhere:at_all(.|\n)*no such function"):
        load_checker("nowhere:at_all")
    with pytest.raises(ValueError, match="pattern"):
        CheckedSuite(prompts="p.jsonl", checker="srlm.proving.tasks.points")


def test_a_checker_that_cannot_say_is_named_with_the_prompt():
    with pytest.raises(DataError, match=r"tasks:points(.|\n)*'Name a town.'(.|\n)*prompts.given"):
        load_checker("srlm.proving.tasks:points")("Name a town.", "Ulm")


def test_a_checkers_digest_follows_its_file(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "own_checks.py"
    path.write_text("def one(prompt, response): return 1\ndef two(prompt, response): return 2\n")
    first, other = load_checker("own_checks:one"), load_checker("own_checks:two")
    assert first.digest != other.digest
    path.write_text("def one(prompt, response): return 3\n")
    assert load_checker("own_checks:one").digest != first.digest
