import gzip
import json

import pytest

from srlm.errors import ConfigError, DataError
from srlm.seeds.answers import NAMES, AnswerFile, parse_fields

GOOD = {"prompt": "What is a kettle?", "response": "A vessel for boiling water."}


def as_bytes(lines):
    """JSON lines; bytes stand as they are."""
    return b"".join((x if isinstance(x, bytes) else json.dumps(x).encode()) + b"\n" for x in lines)


def write(path, *lines):
    path.write_bytes(as_bytes(lines))
    return path


def read(tmp_path, *lines, fields=None):
    return AnswerFile(write(tmp_path / "a.jsonl", *lines), fields)


def texts(answers):
    return [(response.prompt, response.text) for response in answers]


def test_good_lines_come_in_order(tmp_path):
    lines = [GOOD | {"response": f"Answer {n}."} for n in range(5)] + [GOOD | {"model": "x", "response": ""}]
    answers = read(tmp_path, *lines)
    assert len(answers) == 6
    assert texts(answers) == [(line["prompt"], line["response"]) for line in lines]
    assert answers.faults == []
    one, *others = answers
    assert (one.draw, one.num_tokens, one.finish) == (0, 0, "stop")
    assert {other.prompt_id for other in others} == {one.prompt_id}
    assert [line.value for line in answers.lines()] == lines


def test_the_same_answer_twice_is_judged_twice(tmp_path):
    answers = read(tmp_path, GOOD, GOOD)
    assert len({response.id for response in answers}) == 2


def test_empty_lines_and_a_mark_of_byte_order(tmp_path):
    answers = read(tmp_path, b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), b"", b" \r", GOOD)
    assert [line.number for line in answers.lines()] == [1, 4]
    assert answers.faults == []


@pytest.mark.parametrize("prompt", NAMES["prompt"])
@pytest.mark.parametrize("response", NAMES["response"])
def test_usual_names_of_fields(tmp_path, prompt, response):
    assert texts(read(tmp_path, {prompt: "a", response: "b"})) == [("a", "b")]


def test_the_first_of_the_usual_names_is_taken(tmp_path):
    line = {"text": "no", "input": "no", "output": "b", "instruction": "a"}
    assert texts(read(tmp_path, line)) == [("a", "b")]


def test_fields_that_are_named(tmp_path):
    line = GOOD | {"q": "a", "a": "b"}
    assert texts(read(tmp_path, line, fields=parse_fields(("prompt=q", "response=a")))) == [("a", "b")]
    assert texts(read(tmp_path, line, fields=parse_fields(("response=a",)))) == [(GOOD["prompt"], "b")]
    with pytest.raises(DataError, match="no prompt: it has prompt, response, not q"):
        read(tmp_path, GOOD, fields={"prompt": "q"})
    assert parse_fields(("prompt=a=b",)) == {"prompt": "a=b"}
    for items in (("promt=q",), ("prompt",), ("prompt=a", "prompt=b")):
        with pytest.raises(ConfigError, match="which field is what"):
            parse_fields(items)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (b"{broken", "not JSON (Expecting property name enclosed in double quotes at column 2)"),
        (b'{"prompt": "\xff"}', "not UTF-8 (invalid start byte)"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b"9" * 5000, "a number is too long"),
        ([GOOD], "not a JSON object (a list)"),
        (b'"text"', "not a JSON object (text)"),
        (b"null", "not a JSON object (null)"),
        ({"prompt": "a"}, "no response: it has prompt, not response or output"),
        ({"response": "a"}, "no prompt: it has response, not prompt or instruction"),
        ({}, "no prompt: it has nothing, not prompt"),
        ({"\x1b[2J": 1}, "it has \\x1b[2J, not prompt"),
        ({"k" * 200: 1}, "k…, not prompt"),
        (GOOD | {"prompt": True}, "prompt is not a text but true or false"),
        (GOOD | {"response": False}, "response is not a text but true or false"),
        (GOOD | {"response": None}, "response is not a text but null"),
        (GOOD | {"response": ["a"]}, "response is not a text but a list"),
        (GOOD | {"prompt": ""}, "prompt is empty"),
        (GOOD | {"prompt": " \n"}, "prompt is empty"),
        (GOOD | {"prompt": "half \ud83d"}, "prompt holds half a character"),
        (GOOD | {"response": "\udc00"}, "response holds half a character"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_read(tmp_path, bad, reason):
    answers = read(tmp_path, GOOD, bad, GOOD)
    assert len(list(answers)) == len(answers) == 2
    ((number, said),) = answers.faults
    assert number == 2
    assert reason in said
    assert said.isprintable()
    (line,) = [line for line in answers.lines() if line.fault]
    assert (line.number, line.value, line.response) == (2, None, None)


def test_gzipped_files(tmp_path):
    plain = read(tmp_path, GOOD, GOOD)
    packed = tmp_path / "a.jsonl.gz"
    packed.write_bytes(gzip.compress(as_bytes([GOOD, GOOD])))
    assert list(AnswerFile(packed)) == list(plain)


def test_a_gzip_that_ends_early_gives_what_came_before(tmp_path):
    lines = [GOOD | {"response": str(n**n)} for n in range(300)]
    data = gzip.compress(as_bytes(lines))
    path = tmp_path / "a.jsonl.gz"
    for end in (len(data) // 2, len(data) - 1, len(data) - 8):
        path.write_bytes(data[:end])
        answers = AnswerFile(path)
        assert texts(answers) == [(line["prompt"], line["response"]) for line in lines[: len(answers)]]
        assert answers.faults == [(len(answers) + 1, "the gzip file ends early")]
    path.write_bytes(data + b"rest")
    assert AnswerFile(path).faults[0][1].startswith("the gzip file is damaged")
    path.write_bytes(as_bytes(lines))
    with pytest.raises(DataError, match="the gzip file is damaged"):
        AnswerFile(path)


def test_the_digest_is_of_content_and_fields(tmp_path):
    one = read(tmp_path, GOOD)
    again = AnswerFile(write(tmp_path / "b.jsonl", GOOD))
    other = AnswerFile(write(tmp_path / "c.jsonl", GOOD | {"response": "A drum."}))
    named = read(tmp_path, GOOD, fields={"response": "prompt"})
    assert one.digest == again.digest
    assert len({one.digest, other.digest, named.digest}) == 3


def test_it_can_be_read_twice(tmp_path):
    answers = read(tmp_path, GOOD, b"{", GOOD | {"response": "A drum."})
    assert list(answers) == list(answers)
    assert list(answers.lines()) == list(answers.lines())


@pytest.mark.parametrize("lines", [(), (b"",), (b"{", {"prompt": "a"}), ({"question": "a"},)])
def test_a_file_without_a_usable_line(tmp_path, lines):
    with pytest.raises(DataError, match="no line of it has a prompt and a response") as caught:
        read(tmp_path, *lines)
    assert "--map prompt=FIELD" in caught.value.todo
    assert ("line 1: " in caught.value.why) == any(lines)


def test_files_that_cannot_be_read(tmp_path):
    for path in (tmp_path, tmp_path / "gone.jsonl", tmp_path / "gone.jsonl.gz"):
        with pytest.raises(DataError, match="cannot be read"):
            AnswerFile(path)


def test_long_responses_stay_whole(tmp_path):
    response = "é" * 100_000
    (got,) = read(tmp_path, GOOD | {"response": response})
    assert got.text == response
