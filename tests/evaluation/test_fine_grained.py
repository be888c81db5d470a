import json
from dataclasses import asdict

import pytest

from srlm.evaluation.fine_grained import UNLABELLED, by_label, fine_grained_table
from srlm.evaluation.intervals import bootstrap
from srlm.records import Label, content_id
from srlm.stages.labels import ASPECTS

VALUES = {"a": 1.0, "b": 0.0, "c": 0.5, "d": None, "e": 1.0, "f": 1.0}


def labelled(aspect, **values):
    """Labels of one aspect, by prompt."""
    return [
        Label(
            id=content_id(aspect, prompt),
            prompt_id=prompt,
            aspect=aspect,
            value=value,
            reason=None if value else "no label",
            reply="",
        )
        for prompt, value in values.items()
    ]


@pytest.fixture
def found():
    labels = [
        *labelled("category", f="food", a="coding", b="coding", c="coding", d="coding", e=None, z="travel"),
        *labelled("complexity", a="10", b="1", c="2"),
        *labelled("length", d="words", a="words"),
    ]
    return by_label(VALUES, labels)


def test_wins_stand_under_the_label_of_their_prompt(found):
    category = found["category"]
    assert category["coding"]["prompts"] == 4
    assert category["coding"]["win_rate"] == asdict(
        bootstrap([1.0, 0.0, 0.5], lambda win: (win, 1), seed=0)  # d could not be read
    )
    assert category["coding"]["win_rate"]["value"] == 0.5
    assert category["food"] == {"prompts": 1, "win_rate": {"value": 1, "low": None, "high": None, "num": 1}}


def test_every_aspect_holds_every_prompt_once_in_the_order_of_the_options(found):
    assert list(found) == [aspect.name for aspect in ASPECTS]
    assert {name: list(groups) for name, groups in found.items()} == {
        "category": ["coding", "food", UNLABELLED],
        "complexity": ["1", "2", "10", UNLABELLED],
        "length": ["words", UNLABELLED],
    }
    for groups in found.values():
        assert sum(group["prompts"] for group in groups.values()) == len(VALUES)


def test_prompts_without_a_label_that_could_be_read_are_unlabelled(found):
    assert found["category"][UNLABELLED]["prompts"] == 1
    assert found["length"][UNLABELLED]["prompts"] == 4
    assert found["length"][UNLABELLED]["win_rate"]["value"] == pytest.approx(2.5 / 4)
    everything = by_label(VALUES, [])
    assert all(list(groups) == [UNLABELLED] for groups in everything.values())


def test_wins_that_could_not_be_read_are_no_losses():
    found = by_label({"a": None}, labelled("category", a="food"))["category"]["food"]
    assert found == {"prompts": 1, "win_rate": {"value": None, "low": None, "high": None, "num": 0}}


def test_intervals_follow_the_seed():
    wins = [place % 5 / 4 for place in range(13)]
    rates = [bootstrap(wins, lambda win: (win, 1), seed=seed) for seed in (0, 4)]
    assert rates[0] != rates[1]
    values = {str(place): win for place, win in enumerate(wins)}
    found = [by_label(values, [], seed)["length"][UNLABELLED]["win_rate"] for seed in (0, 4)]
    assert found == list(map(asdict, rates))


def test_no_prompts_have_no_groups():
    assert by_label({}, labelled("category", a="food")) == {"category": {}, "complexity": {}, "length": {}}


def test_the_table_has_a_line_a_label():
    found = {
        "category": {
            "coding": {"prompts": 40, "win_rate": {"value": 0.5123, "low": 0.25, "high": 0.75, "num": 38}},
            "food": {"prompts": 7, "win_rate": {"value": 1.0, "low": None, "high": None, "num": 7}},
        },
        "length": {"words": {"prompts": 2, "win_rate": {"value": None, "low": None, "high": None, "num": 0}}},
    }
    lines = fine_grained_table("M2 against M1", found).splitlines()
    assert lines[0].split() == ["M2", "against", "M1", "win", "rate", "%", "[95", "%]", "prompts"]
    assert [line.split() for line in lines[1:]] == [
        ["category"],
        ["coding", "51.2", "[25.0,", "75.0]", "40"],
        ["food", "100.0", "[–]", "7"],
        ["length"],
        ["words", "–", "2"],
    ]
    assert len({len(line) for line in lines if "prompts" in line or line.startswith("  ")}) == 1


def test_figures_are_plain_json(found):
    assert json.loads(json.dumps(found)) == found
