import subprocess
import sys

import pytest
from pydantic import ValidationError

from srlm.records import Prompt, content_id, seed_for
from srlm.templates import fill, slots, template


def test_ids_and_seeds_come_from_content_in_every_process():
    code = "from srlm.records import *; print(content_id('a', 1), seed_for(0, 'x', 2))"
    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert told == [content_id("a", 1), str(seed_for(0, "x", 2))]
    assert seed_for(1) != seed_for(2)
    assert 0 <= seed_for("any") < 2**63


def test_parts_do_not_run_together():
    assert content_id("ab", "c") != content_id("a", "bc")


def test_records_are_frozen_and_refuse_unknown_keys():
    prompt = Prompt.of("Why is the sky blue?", (), 0)
    with pytest.raises(ValidationError):
        prompt.text = "other"
    with pytest.raises(ValidationError):
        Prompt.model_validate({**prompt.model_dump(), "extra": 1})


def test_templates_fill_in_one_pass():
    assert fill("{{a}} {{b}}", a="{{b}}", b="x") == "{{b}} x"


def test_templates_refuse_missing_and_extra_values():
    with pytest.raises(KeyError):
        fill("{{a}}", b="x")
    with pytest.raises(KeyError):
        fill("{{a}}", a="x", b="y")


def test_the_shipped_template_has_slots_only_in_double_braces():
    assert slots(template("new_prompt"))
    assert "{input}" not in template("new_prompt")
