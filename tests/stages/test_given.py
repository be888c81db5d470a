"""Prompts that are given: the next of a file each round, and too few are said at once."""

import json

import pytest

from srlm.config import PromptsSection
from srlm.errors import DataError
from srlm.stages.given import given_prompts, take_prompts
from srlm.store.blocks import Resume


@pytest.fixture
def section(tmp_path) -> PromptsSection:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(json.dumps({"question": f"Question {number}?"}) + "\n" for number in range(5)))
    return PromptsSection(given=str(path), count=2)


def test_each_round_takes_the_next(section):
    given = given_prompts(section, rounds=2)
    (first,) = take_prompts(section, given, [])
    (second,) = take_prompts(section, given, first.records)
    assert [item.text for item in first.records + second.records] == [f"Question {n}?" for n in range(4)]
    assert (first.done, first.total, first.counts) == (2, 2, {"kept": 2})
    assert list(take_prompts(section, given, [], resume=Resume(1, first.records))) == []


def test_none_are_given_where_no_file_is_named_and_too_few_are_an_error(section):
    assert given_prompts(PromptsSection(), rounds=3) == []
    with pytest.raises(
        DataError, match=r"holds 5 prompts; 3 rounds of prompts.count=2 take 6(.|\n)*count=1 or"
    ):
        given_prompts(section, rounds=3)
