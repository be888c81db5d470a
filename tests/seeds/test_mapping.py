import pytest

from srlm.errors import ConfigError
from srlm.seeds.mapping import MAPPINGS, Mapping, parse_mapping, recognise


def test_every_field_is_described():
    assert all(field.description for field in Mapping.model_fields.values())


@pytest.mark.parametrize(
    "first", [{"prompt": "a"}, {}, [], None, "text", 3, {"question": "a", "answer": "b"}]
)
def test_other_objects_are_of_no_form(first):
    assert recognise(first) is None


def test_parse_mapping_reads_a_command_line():
    got = parse_mapping(
        [
            "prompt=question",
            "first=response_A",
            "second=response_B",
            "label=label",
            "first_wins=A>B",
            "second_wins=B>A",
        ]
    )
    assert got == MAPPINGS["judgebench"].model_copy(update={"category": None, "judged_by": "people"})
    several = parse_mapping(["pandalm", "label=annotator1, annotator2", "input=more=than"])
    assert several.label == ("annotator1", "annotator2")
    assert several.input == "more=than"
    assert several.first == "response1"
    cut = parse_mapping(
        ["prompt=p", "response=p", "score=s", "prompt_between=### A:...### B (5):", "grades=true"]
    )
    assert cut.prompt_between == ("### A:", "### B (5):")
    assert cut.grades


@pytest.mark.parametrize(
    ("items", "reason"),
    [
        (["promt=a", "better=b", "worse=c"], "no such key; the nearest is `prompt`"),
        (["xyzzy=a"], "no such key"),
        (["prompt=a", "prompt=b", "better=b", "worse=c"], "given twice"),
        (["pandlm"], "not of the form key=value"),
        ([], "give one of answers, first, better, response"),
        (["prompt=a"], "give one of answers, first, better, response"),
        (["prompt=a", "better=b", "answers=c"], "give one of"),
        (["prompt=a", "better=b"], "with better, worse must be given too"),
        (["prompt=a", "better=b", "worse=c", "rank=d"], "with better, rank has no meaning"),
        (["prompt=a", "answers=b", "text=c"], "give either rank or score"),
        (["prompt=a", "answers=b", "text=c", "rank=d", "score=e"], "give either rank or score"),
        (["better=b", "worse=c"], "give prompt"),
        (["prompt=a", "better=b", "worse=c", "transcript=true"], "give no prompt"),
        (["prompt=a", "better=b", "worse=c", "grades=true"], "grades needs score"),
        (["prompt=a", "better=b", "worse=c", "grades=perhaps"], "grades"),
        (["prompt=", "better=b", "worse=c"], "prompt"),
        (["prompt=a", "better=b", "worse=c", "answer_between=x"], "answer_between"),
        (["llmbar", "second_wins=1"], "said to mean two things"),
        (["llmbar", "tie="], "tie"),
    ],
)
def test_wrong_mappings_are_refused(items, reason):
    with pytest.raises(ConfigError) as caught:
        parse_mapping(items)
    assert reason in caught.value.why


def test_all_mistakes_come_in_one_message():
    with pytest.raises(ConfigError) as caught:
        parse_mapping(["promt=a", "betterr=b", "worse"])
    assert caught.value.why.count(";") >= 2
    assert all(word in caught.value.why for word in ("promt", "betterr", "'worse'"))
