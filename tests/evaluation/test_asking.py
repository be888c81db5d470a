import gzip
import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srlm.errors import DataError
from srlm.evaluation.suites.asking import (
    Answers,
    GivenAnswers,
    as_response,
    complete,
    given_answers,
    spread,
)
from srlm.records import Prompt, content_id
from srlm.seeds.prompts import read_prompts

PROMPTS = [Prompt.of(f"How does machine {n} work?", (), 0) for n in range(4)]


def written(tmp_path, text):
    path = tmp_path / "data.jsonl"
    path.write_text(text, "utf-8")
    return path


def lines(*values):
    return "".join(json.dumps(value) + "\n" for value in values)


def fault(read, path):
    with pytest.raises(DataError) as error:
        read(path)
    assert str(path) in error.value.given
    return error.value.why


# --- Which items ---


@given(st.integers(1, 60), st.integers(1, 70))
def test_items_are_spread_evenly_in_their_order(num, limit):
    places = spread(range(num), limit)
    assert len(places) == min(num, limit)
    assert places[0] == 0
    gaps = [other - one for one, other in pairwise([*places, num])]  # what follows the last is a gap, too
    assert min(gaps) >= 1
    assert max(gaps) - min(gaps) <= 1


@given(st.lists(st.integers()), st.integers(0, 5))
def test_a_limit_that_is_no_limit_leaves_all(items, more):
    assert spread(items, None) == spread(items, len(items) + more) == items


# --- Prompts from a file ---


def test_prompts_are_objects_or_texts_in_their_order(tmp_path):
    rows = [
        {"prompt": " B? "},
        "A?",
        {"instruction": "C?", "input": "not looked at"},
        {"question": "D?", "prompt": "E?"},
        {"input": "Ä 🙂?"},
    ]
    wanted = [" B? ", "A?", "C?", "E?", "Ä 🙂?"]
    found = read_prompts(written(tmp_path, lines(*rows)))
    assert found == [Prompt.of(text, (), 0) for text in wanted]
    assert read_prompts(written(tmp_path, json.dumps(rows))) == found
    assert read_prompts(written(tmp_path, json.dumps(wanted))) == found
    path = tmp_path / "packed"
    path.write_bytes(gzip.compress(lines(*rows).encode()))
    assert read_prompts(path) == found


def test_every_line_that_is_no_prompt_is_named(tmp_path):
    bad = [
        "{",
        lines({"text": "A?"}),
        lines({"prompt": 5}),
        lines({"prompt": None}),
        lines({"prompt": " \t"}),
        lines(""),
        lines({"prompt": "Good?"}),
        lines("Good?"),
        lines({"prompt": "\ud800?"}),
        lines(["A?"]),
        lines(7),
    ]
    text = "\n" + lines("Good?") + "".join(line.strip() + "\n" for line in bad) + lines("Better?")
    why = fault(read_prompts, written(tmp_path, text))
    assert "11 of its lines" in why
    for words in (
        "    3: not JSON",
        "    4: it has no prompt (`text`)",
        "    5: its prompt is not a text but a number",
        "    6: its prompt is not a text but null",
        "    7: it is empty",
        "    8: it is empty",
        "    9: it stands in an earlier one (Good?)",
        "    10: it stands in an earlier one (Good?)",
        "    11: its prompt holds half a character (a lone surrogate)",
        "    12: not a JSON object (a list)",
        "    13: not a JSON object (a number)",
    ):
        assert words in why
    assert "    2: " not in why
    assert "    14: " not in why


def test_prompts_that_differ_in_a_space_are_two(tmp_path):
    assert len(read_prompts(written(tmp_path, lines("A?", "A? ")))) == 2


@pytest.mark.parametrize("read", [read_prompts, GivenAnswers.read])
def test_a_file_without_lines_or_none_at_all_is_refused(tmp_path, read):
    assert "no lines" in fault(read, written(tmp_path, "\n"))
    assert "cannot be read" in fault(read, tmp_path / "none.jsonl")


def test_a_bare_prompt_with_half_a_character_is_a_bad_line(tmp_path):
    assert "    1: " in fault(read_prompts, written(tmp_path, lines("\ud800?")))


# --- Answers from a file ---


def test_answers_are_read_by_prompt_under_all_their_names(tmp_path):
    rows = [
        {"prompt": "A?", "response": "a", "model": "x"},
        {"instruction": "B?", "output": ""},
        {"question": "C?", "answer": " c\n"},
        {"input": "D?", "completion": "d"},
        {"prompt": "E?", "text": "text", "output": "e"},
    ]
    wanted = {"A?": "a", "B?": "", "C?": " c\n", "D?": "d", "E?": "e"}
    path = written(tmp_path, lines(*rows))
    assert GivenAnswers.read(path) == GivenAnswers(path, wanted)
    assert GivenAnswers.read(written(tmp_path, json.dumps(rows[::-1]))).texts == wanted


def test_every_line_that_is_no_answer_is_named(tmp_path):
    good = {"prompt": "A?", "response": "a"}
    bad = [
        "{}}",
        lines({"response": "a"}),
        lines({"prompt": "B?"}),
        lines({"prompt": "B?", "response": None}),
        lines({"prompt": ["B?"], "response": "b"}),
        lines(good),
        lines(good | {"response": "other"}),
        lines({"prompt": "B?", "response": "\udfff"}),
        lines({"prompt": "\udfffB?", "response": "b"}),
        lines("B?"),
    ]
    text = lines(good) + "".join(line.strip() + "\n" for line in bad) + lines(good | {"prompt": "B?"})
    why = fault(GivenAnswers.read, written(tmp_path, text))
    assert "10 of its lines" in why
    for words in (
        "    2: not JSON",
        "    3: it has no prompt (`response`)",
        "    4: it has no response (`prompt`)",
        "    5: its response is not a text but null",
        "    6: its prompt is not a text but a list",
        "    7: its prompt stands in an earlier one (A?)",
        "    8: its prompt stands in an earlier one (A?)",
        "    9: its response holds half a character (a lone surrogate)",
        "    10: its prompt holds half a character (a lone surrogate)",
        "    11: not a JSON object (text)",
    ):
        assert words in why
    assert "    1: " not in why
    assert "    12: " not in why


def test_given_answers_follow_the_prompts_and_not_the_file(tmp_path):
    texts = {"Nobody asked": "this"} | {prompt.text: f" So {prompt.text}\n" for prompt in PROMPTS[::-1]}
    found = given_answers(GivenAnswers(tmp_path, texts), PROMPTS)
    assert [(one.prompt_id, one.prompt, one.text) for one in found] == [
        (prompt.id, prompt.text, f" So {prompt.text}\n") for prompt in PROMPTS
    ]
    assert {(one.finish, one.draw) for one in found} == {("stop", 0)}
    assert (len(found), found.unanswered) == (4, frozenset())


def test_an_empty_answer_is_an_answer(tmp_path):
    texts = {prompt.text: "" for prompt in PROMPTS}
    found = given_answers(GivenAnswers(tmp_path, texts), PROMPTS)
    assert [one.text for one in found] == [""] * 4
    assert not found.unanswered


def test_prompts_without_an_answer_are_named(tmp_path):
    texts = {PROMPTS[1].text: "b", PROMPTS[2].text + " ": "c"}
    with pytest.raises(DataError) as error:
        given_answers(GivenAnswers(tmp_path / "answers.jsonl", texts), PROMPTS)
    assert "answers.jsonl" in error.value.given
    assert "3 of the 4 prompts" in error.value.why
    assert [n for n in range(4) if f"`How does machine {n} work?`" in error.value.why] == [0, 2, 3]


# --- Answers from a model ---


def made(prompt, text, draw=0):
    return as_response(prompt, text).model_copy(update={"draw": draw, "id": content_id(text, draw)})


def test_a_prompt_without_an_answer_gets_an_empty_one_and_is_counted():
    stranger = Prompt.of("Not asked", (), 0)
    came = [
        made(PROMPTS[2], "c0"),
        made(PROMPTS[0], "a0"),
        made(stranger, "x"),
        made(PROMPTS[2], "", 1),
        made(PROMPTS[2], "c2", 2),
    ]
    found = complete(PROMPTS, iter(came))
    assert [(one.prompt, one.text, one.draw, one.finish) for one in found] == [
        (PROMPTS[0].text, "a0", 0, "stop"),
        (PROMPTS[1].text, "", 0, "length"),
        (PROMPTS[2].text, "c0", 0, "stop"),
        (PROMPTS[2].text, "", 1, "stop"),
        (PROMPTS[2].text, "c2", 2, "stop"),
        (PROMPTS[3].text, "", 0, "length"),
    ]
    assert len(found.unanswered) == 2
    assert found.items[1].prompt_id == PROMPTS[1].id
    assert found.by_prompt() == {
        PROMPTS[0].text: "a0",
        PROMPTS[1].text: "",
        PROMPTS[2].text: "c0",
        PROMPTS[3].text: "",
    }


def test_where_every_prompt_was_answered_nothing_is_added():
    came = [made(prompt, prompt.text) for prompt in PROMPTS]
    assert complete(PROMPTS, came[::-1]) == Answers(came)
    assert len(complete(PROMPTS, []).unanswered) == 4
    assert complete([], came) == Answers([])


def test_the_digest_of_answers_names_texts_prompts_and_order():
    one, other = made(PROMPTS[0], "a"), made(PROMPTS[1], "b")
    moved = one.model_copy(update={"prompt_id": PROMPTS[1].id})
    digests = {Answers(items).digest for items in ([one, other], [other, one], [one], [moved, other])}
    assert len(digests) == 4
    assert Answers([one, other]).digest == Answers((one, other)).digest
    assert Answers([one, other], frozenset({"p"})).digest not in digests
