"""Templates that a user may name: built-in ones, or files."""

import pytest

from srlm.errors import ConfigError
from srlm.templates import load_template, slots, template


def test_a_template_is_built_in_or_a_file(tmp_path):
    path = tmp_path / "mine.txt"
    path.write_text("Other than {{task}}\n")
    assert load_template(str(path), "task") == "Other than {{task}}"
    assert load_template("other_task", "task") == template("other_task")
    assert slots(template("other_task")) == {"task"}


@pytest.mark.parametrize(
    ("text", "said"), [(None, "can be read"), ("No slot.", "no other slot"), ("{{a}}{{task}}", "slots")]
)
def test_a_template_that_cannot_be_filled_is_refused(text, said, tmp_path):
    path = tmp_path / "mine.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        load_template(str(path), "task")


def test_a_built_in_template_of_other_slots_is_refused():
    with pytest.raises(ConfigError, match="'count', 'next', 'tasks'"):
        load_template("new_prompt", "task")
