import gzip
import json
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from srlm.errors import DataError
from srlm.seeds.mapping import MAPPINGS, Mapping, parse_mapping, recognise
from srlm.seeds.preferences import read_preferences, sort_preferences
from srlm.seeds.source import Source, shown

DATA = Path(__file__).parents[3] / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not on this machine")

PAIR = {"prompt": "What is a kettle?", "chosen": "A vessel for boiling water.", "rejected": "A drum."}
RUBRIC = (
    "###Task:\nGrade.\n\n###The instruction to evaluate:\n{prompt}\n\n###Response to evaluate:\n{answer}\n\n"
    "###{end}\nMore text.\n\n###Feedback: "
)


def write(path, lines):
    """JSON lines; text and bytes stand as they are."""
    rows = [json.dumps(line) if isinstance(line, dict | list) else line for line in lines]
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else row.encode() for row in rows) + b"\n")
    return path


def read(tmp_path, *lines, mapping=None):
    return read_preferences(write(tmp_path / "data.jsonl", lines), mapping)


def reasons(found):
    return {fault.number: str(fault) for fault in found.faults}


def ordered(line):
    return [(answer.text, answer.rank) for answer in line.answers]


def rubric(prompt, answer, end="Reference Answer (Score 5):"):
    return RUBRIC.format(prompt=prompt, answer=answer, end=end)


def transcript(*turns):
    return "".join(f"\n\n{('Human', 'Assistant')[n % 2]}: {turn}" for n, turn in enumerate(turns))


EXAMPLES = {
    "ultrafeedback": [
        {
            "instruction": "Name a fish.",
            "models": ["a"],
            "completions": [
                {"response": "A crow.", "overall_score": 1.5},
                {"response": "A carp.", "overall_score": "9"},
                {"response": "A pike.", "overall_score": 9.0},
            ],
        }
    ],
    "pandalm": [
        {
            "instruction": "Add.",
            "input": "2 + 2",
            "response1": "5",
            "response2": "4",
            "annotator1": 1,
            "annotator2": 2,
            "annotator3": 2,
        }
    ],
    "autoj": [{"scenario": "s", "prompt": "Add.", "response 1": "5", "response 2": "4", "label": 1}],
    "llmbar": [{"input": "Add.", "output_1": "5", "output_2": "4", "label": 2}],
    "judgebench": [{"question": "Add.", "response_A": "5", "response_B": "4", "label": "B>A", "source": "s"}],
    "prometheus": [
        {"instruction": rubric("Add.", "5"), "gpt4_score": [1, 2, 1], "category": "s"},
        {"instruction": rubric("Add.", "4"), "gpt4_score": [4, 5, 5], "category": "s"},
    ],
    "hhh": [
        {
            "source": "s",
            "chosen_instruction": rubric("Add.", "4", "Score Rubrics:"),
            "rejected_instruction": rubric("Add.", "5", "Score Rubrics:"),
        }
    ],
    "pairs": [{"prompt": "Add.", "chosen": "4", "rejected": "5"}],
    "hh": [{"chosen": transcript("Add.", "4"), "rejected": transcript("Add.", "5")}],
    "srlm": [{"prompt": "Add.", "answers": [{"text": "5", "rank": 1}, {"text": "4", "rank": 0}]}],
}


@pytest.mark.parametrize("form", EXAMPLES)
def test_every_form_is_recognised_and_read(tmp_path, form):
    assert recognise(EXAMPLES[form][0]) == form
    found = read(tmp_path, *EXAMPLES[form])
    assert (found.form, found.faults, found.num_lines, found.numbers) == (form, [], len(EXAMPLES[form]), [1])
    (line,) = found.lines
    assert all(answer.score is None for answer in line.answers), "a score of another scale is not ours"
    best = {answer.text for answer in line.answers if answer.rank == 0}
    if form == "ultrafeedback":
        assert ordered(line) == [("A crow.", 1), ("A carp.", 0), ("A pike.", 0)]
    else:
        assert best == {"4"}
        assert line.prompt == ("Add.\n\n2 + 2" if form == "pandalm" else "Add.")
        assert line.category in (None, "s")


def test_every_published_form_has_an_example():
    assert set(EXAMPLES) == {*MAPPINGS, "srlm"}


@pytest.mark.parametrize(
    ("votes", "places"),
    [
        ((1, 1, 2), (0, 1)),
        ((2, 2, 0), (1, 0)),
        ((0, 0, 1), (0, 0)),
        ((0, 1, 2), (0, 0)),
        ((1, 1, 0), (0, 1)),
        (("2", 2.0, " 2 "), (1, 0)),
    ],
)
def test_more_than_half_of_the_votes_win(tmp_path, votes, places):
    line = EXAMPLES["pandalm"][0] | {f"annotator{n + 1}": vote for n, vote in enumerate(votes)}
    (got,) = read(tmp_path, line).lines
    assert tuple(answer.rank for answer in got.answers) == places
    assert got.places == places


def test_an_even_split_is_a_tie(tmp_path):
    mapping = parse_mapping(["prompt=p", "first=a", "second=b", "label=v,w", "first_wins=A", "second_wins=B"])
    (line,) = read(tmp_path, {"p": "q", "a": "x", "b": "y", "v": "A", "w": "B"}, mapping=mapping).lines
    assert line.places == (0, 0)


def test_labels_may_be_truth_values_and_several_words_may_mean_the_same(tmp_path):
    mapping = parse_mapping(
        [
            "prompt=p",
            "first=a",
            "second=b",
            "label=v",
            "first_wins=true,A>>B",
            "second_wins=false",
            "tie=tie,both bad",
        ]
    )
    lines = [{"p": "q", "a": "x", "b": "y", "v": vote} for vote in (True, False, "A>>B", "both bad", "what")]
    found = read(tmp_path, *lines, mapping=mapping)
    assert [line.places for line in found.lines] == [(0, 1), (1, 0), (0, 1), (0, 0)]
    assert reasons(found) == {5: "`v` is a label without a meaning (what)"}


@pytest.mark.parametrize("start", [0, 1])
def test_ranks_count_from_anywhere(tmp_path, start):
    mapping = Mapping(prompt="q", answers="all.list", text="t.x", rank="place")
    answers = [{"t": {"x": text}, "place": start + n} for text, n in (("b", 1), ("a", 0), ("c", 1), ("d", 5))]
    (line,) = read(tmp_path, {"q": "?", "all": {"list": answers}}, mapping=mapping).lines
    assert ordered(line) == [("b", 1), ("a", 0), ("c", 1), ("d", 2)]


def test_a_whole_key_is_tried_before_its_parts(tmp_path):
    mapping = Mapping(prompt="a.b", better="c.0.text", worse="c.1.x.y")
    line = {"a.b": "whole", "a": {"b": "parts"}, "c": [{"text": "good"}, {"x.y": "bad"}]}
    (got,) = read(tmp_path, line, mapping=mapping).lines
    assert (got.prompt, ordered(got)) == ("whole", [("good", 0), ("bad", 1)])


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("c.2", "no field `c.2` (a list of 2 has no '2')"),
        ("c.-1", "has no '-1'"),
        ("c.٣", "has no '٣'"),
        ("a.b.c", "text has no 'c'"),
        ("a.bb", "the nearest is `b`"),
        ("aa", "the nearest is `a`"),
        ("zzz", "there is `a`, `c`, `p`"),
        ("c", "`c` is a list, where text should be"),
        (".", "no field `.`"),
        ("a.", "no field `a.`"),
    ],
)
def test_paths_that_lead_nowhere(tmp_path, path, reason):
    mapping = Mapping(prompt="p", better="a.b", worse=path)
    with pytest.raises(DataError) as caught:
        read(tmp_path, {"a": {"b": "x"}, "c": ["y", "z"], "p": "?"}, mapping=mapping)
    found = sort_preferences(Source.open(tmp_path / "data.jsonl"), mapping)
    assert reason in reasons(found)[1]
    assert "the mapping wants `p`, `a.b`" in str(caught.value)


def test_input_is_appended_when_it_says_something(tmp_path):
    lines = [EXAMPLES["pandalm"][0] | {"input": value} for value in ("more", "", " \n", None, 3)]
    lines.append({key: value for key, value in lines[0].items() if key != "input"})
    found = read(tmp_path, *lines)
    assert [line.prompt for line in found.lines] == ["Add.\n\nmore", "Add.", "Add.", "Add.", "Add."]
    assert reasons(found) == {5: "`input` is a number, where text should be"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{not json", "not JSON (Expecting property name"),
        (b'{"prompt": "\xff"}', "not UTF-8 (invalid start byte)"),
        ("[1, 2]", "not a JSON object (a list)"),
        ('"text"', "not a JSON object (text)"),
        ("true", "not a JSON object (true or false)"),
        ("null", "not a JSON object (null)"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "nested too deeply"),
        ("9" * 5000, "not JSON"),
        ({"prompt": "q", "chosen": "a", "rejcted": "b"}, "no field `rejected`; the nearest is `rejcted`"),
        (PAIR | {"chosen": True}, "`chosen` is true or false, where text should be"),
        (PAIR | {"rejected": 4}, "`rejected` is a number, where text should be"),
        (PAIR | {"prompt": None}, "`prompt` is null, where text should be"),
        (PAIR | {"prompt": [{"role": "user"}]}, "`prompt` is a list, where text should be"),
        (PAIR | {"chosen": ""}, "an answer is empty"),
        (PAIR | {"rejected": " \n"}, "an answer is empty"),
        (PAIR | {"prompt": " "}, "the prompt is empty"),
        (PAIR | {"rejected": PAIR["chosen"] + "\n"}, "the two answers are the same text"),
        ('{"prompt": "\\ud800", "chosen": "a", "rejected": "b"}', "half a character"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_used(tmp_path, bad, reason):
    found = read(tmp_path, PAIR, "", bad, PAIR)
    assert len(found.lines) == 2
    assert found.num_lines == 3
    assert found.numbers == [1, 4]
    assert list(reasons(found)) == [3]
    assert reason in reasons(found)[3]


def test_bad_lists_of_answers(tmp_path):
    good = EXAMPLES["ultrafeedback"][0]
    answers = good["completions"]
    bad = [
        ({}, "`completions` is an object, where a list should be"),
        ([answers[0]], "fewer than two answers (`completions` holds 1)"),
        ([answers[0], "text"], "no field `response` (text has no 'response')"),
        ([answers[0], {"response": "b"}], "no field `overall_score`; there is `response`"),
        ([answers[0], answers[1] | {"overall_score": True}], "is true or false, where a number should be"),
        ([answers[0], answers[1] | {"overall_score": None}], "is null, where a number should be"),
        ([answers[0], answers[1] | {"overall_score": "N/A"}], "is not a number (N/A)"),
        ([answers[0], answers[1] | {"overall_score": float("nan")}], "is not a number (nan)"),
        ([answers[0], answers[1] | {"overall_score": 10**400}], "is too large a number"),
        ([answers[0], answers[1] | {"overall_score": []}], "is an empty list"),
        ([*answers, answers[0]], "two answers are the same text"),
    ]
    found = read(tmp_path, good, *(good | {"completions": value} for value, _ in bad))
    assert len(found.lines) == 1
    for number, (_, reason) in enumerate(bad, 2):
        assert reason in reasons(found)[number]


def test_scored_lines_come_together_by_prompt(tmp_path):
    mapping = Mapping(prompt="q", response="a", score="s")
    lines = [
        {"q": "one", "a": "x", "s": [1, 2, 3]},
        {"q": "two", "a": "x", "s": 1},
        {"q": "one", "a": "y", "s": "2"},
        {"q": "one", "a": "x ", "s": 5},
        {"q": "one", "a": "z", "s": 4.5},
        {"q": "three", "a": "x", "s": 1},
        {"q": "three", "a": "", "s": 1},
    ]
    found = read(tmp_path, *lines, mapping=mapping)
    assert [(line.prompt, ordered(line)) for line in found.lines] == [("one", [("x", 1), ("y", 1), ("z", 0)])]
    assert reasons(found) == {
        2: "the only answer to its prompt",
        4: "the same answer to its prompt stands earlier (line 1)",
        6: "the only answer to its prompt",
        7: "an answer is empty",
    }
    assert (found.form, found.num_lines) == ("mapping", 7)


def test_the_mean_of_draws_does_not_depend_on_their_order(tmp_path):
    mapping = Mapping(prompt="q", response="a", score="s")
    draws = [[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.2, 0.3, 0.1]]
    lines = [{"q": "one", "a": str(n), "s": draw} for n, draw in enumerate(draws)]
    assert read(tmp_path, *lines, mapping=mapping).lines[0].places == (0, 0, 0)


def test_grades_of_our_own_scale_are_kept(tmp_path):
    mapping = Mapping(prompt="q", response="a", score="s", grades=True)
    lines = [
        {"q": "one", "a": text, "s": score} for text, score in (("x", 4), ("y", "5.0"), ("z", 4.5), ("w", 6))
    ]
    found = read(tmp_path, *lines, mapping=mapping)
    assert [(answer.text, answer.rank, answer.score) for answer in found.lines[0].answers] == [
        ("x", 1, 4),
        ("y", 0, 5),
    ]
    assert reasons(found)[3] == "a score is not a whole number from 0 to 5 (4.5)"
    assert set(reasons(found)) == {3, 4}


def test_the_same_prompt_in_two_pairs_stays_two(tmp_path):
    assert len(read(tmp_path, PAIR, PAIR | {"chosen": "Another."}).lines) == 2


def test_markers(tmp_path):
    good = EXAMPLES["hhh"][0]
    wrong = {
        2: (
            good | {"chosen_instruction": "nothing"},
            "the marker `###Response to evaluate:` is missing",
        ),
        3: (
            good | {"chosen_instruction": good["chosen_instruction"].replace("More", "###Score Rubrics:")},
            "the marker `###Score Rubrics:` stands more than once",
        ),
        4: (
            good | {"rejected_instruction": rubric("Else.", "5", "Score Rubrics:")},
            "the answers are to different prompts",
        ),
    }
    found = read(tmp_path, good, *(line for line, _ in wrong.values()))
    assert reasons(found) == {number: reason for number, (_, reason) in wrong.items()}


def test_transcripts(tmp_path):
    def pair(before, good, bad):
        return {"chosen": transcript(*before, good), "rejected": transcript(*before, bad)}

    several = ["Hi.", "Hello.\n\nWhat is it?", "Why: rain?"]
    wrong = {
        3: ({"chosen": "Yes.", "rejected": "No."}, "not a transcript"),
        4: (
            {"chosen": transcript("a"), "rejected": transcript("a")},
            "not Human and Assistant in alternation",
        ),
        5: (
            {"chosen": transcript("a", "b", "c", "d"), "rejected": transcript("a", "x", "c", "y")},
            "the transcripts differ before the last answer",
        ),
        6: (pair(["a", "", "c"], "d", "e"), "a turn before the last answer is empty"),
        7: (pair(["a"], "b", " "), "an answer is empty"),
        8: (pair(["a"], "b", "b"), "the two answers are the same text"),
        9: (pair([""], "b", "c"), "the prompt is empty"),
        10: ({"chosen": "\n\nAssistant: a", "rejected": "\n\nAssistant: b"}, "in alternation"),
    }
    lines = [
        pair(["Why?"], "So.", "No."),
        pair(several, "Clouds.", "Dunno."),
        *(one for one, _ in wrong.values()),
    ]
    found = read(tmp_path, *lines)
    assert [line.prompt for line in found.lines] == [
        "Why?",
        "User: Hi.\n\nAssistant: Hello.\n\nWhat is it?\n\nUser: Why: rain?",
    ]
    assert ordered(found.lines[1]) == [("Clouds.", 0), ("Dunno.", 1)]
    assert list(reasons(found)) == list(wrong)
    for number, (_, reason) in wrong.items():
        assert reason in reasons(found)[number]


def test_native_lines_keep_the_rules_of_loading(tmp_path):
    good = EXAMPLES["srlm"][0]
    other = {
        "prompt": "x",
        "answers": [{"text": "a", "score": 4, "justification": "b"}, {"text": "c", "score": 0}],
    }
    found = read(tmp_path, good, good, good | {"promt": 1}, other)
    assert found.form == "srlm"
    assert [answer.score for answer in found.lines[1].answers] == [4, 0]
    assert found.faults[0].number == 2
    assert str(found.faults[0]) == "its prompt stands in an earlier line (line 1)"
    assert "promt" in str(found.faults[1])


# --- Files ---


def as_array(lines):
    return json.dumps(lines, indent=1).encode()


def as_lines(lines):
    return b"\n".join(json.dumps(line).encode() for line in lines)


@pytest.mark.parametrize("name", ["a.json", "a.jsonl", "a.json.gz", "a"])
@pytest.mark.parametrize("form", [as_array, as_lines])
@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lambda data: gzip.compress(data[:50]) + gzip.compress(data[50:])]
)
def test_content_decides_and_not_the_name(tmp_path, name, form, pack):
    lines = [PAIR | {"prompt": f"What is {n}?"} for n in range(5)]
    path = tmp_path / name
    path.write_bytes(pack(b"\xef\xbb\xbf" + form(lines)))
    found = read_preferences(path)
    assert [line.prompt for line in found.lines] == [line["prompt"] for line in lines]
    assert found.unit == ("item" if form is as_array else "line")


@pytest.mark.parametrize("form", [as_array, as_lines])
def test_a_gzip_that_ends_early_gives_what_came_before(tmp_path, form):
    lines = [PAIR | {"prompt": f"What is {n * n * 7919}?"} for n in range(200)]
    data = gzip.compress(form(lines))
    path = tmp_path / "a.gz"
    usable = set()
    for end in range(20, len(data) - 1, 37):
        path.write_bytes(data[:end])
        try:
            found = read_preferences(path)
        except DataError as error:
            assert "the gzip file ends early" in str(error) or "no object in it" in str(error)
            continue
        usable.add(len(found.lines))
        assert [line.prompt for line in found.lines] == [line["prompt"] for line in lines[: len(found.lines)]]
        assert [str(fault) for fault in found.faults] == ["the gzip file ends early"]
        assert found.num_lines == len(found.lines) + 1
    assert len(usable) > 5


def test_a_damaged_gzip(tmp_path):
    lines = [PAIR | {"prompt": f"What is {n * n * 7919}?"} for n in range(20_000)]
    data = bytearray(gzip.compress(as_lines(lines)))
    data[-20_000:-19_000] = bytes(1000)
    path = tmp_path / "a.gz"
    path.write_bytes(data)
    found = read_preferences(path)
    assert len(found.lines) > 1000
    assert "the gzip file is damaged" in [fault.reason for fault in found.faults]
    path.write_bytes(gzip.compress(as_lines(lines[:3])) + b"\0\0\0")
    assert read_preferences(path).faults == []
    path.write_bytes(gzip.compress(as_lines(lines[:3])) + b"rest")
    assert [str(fault) for fault in read_preferences(path).faults] == ["the gzip file is damaged"]


@pytest.mark.parametrize(
    ("text", "num", "reason"),
    [
        (b"[%s, %s, {]", 2, "not JSON"),
        (b"[%s, %s", 2, "the array is not continued"),
        (b"[%s %s]", 1, "the array is not continued"),
        (b"[%s, %s] x", 2, "text follows the end"),
        (b"[%s, 3, %s]", 2, "not a JSON object (a number)"),
        (b'[%s, {"prompt": "\xff"}, %s]', 2, "not UTF-8"),
        (b"[%s, %s, " + b"[" * 100_000, 2, "nested too deeply"),
        (b"[1, 2\n%s\n%s", 2, "not JSON"),
        (b"[]\n%s\n%s", 2, "not a JSON object (a list)"),
    ],
)
def test_broken_arrays(tmp_path, text, num, reason):
    pair = json.dumps(PAIR).encode()
    path = tmp_path / "a.json"
    path.write_bytes(text.replace(b"%s", pair))
    found = read_preferences(path)
    assert len(found.lines) == num
    assert len(found.faults) == 1
    assert reason in str(found.faults[0])


EMPTY_GZIP = gzip.compress(b"", mtime=0)  # the same bytes, and so the same name of a test, at any time


@pytest.mark.parametrize("data", [b"", b"\n \n", b"[]", b" [ ]\n", EMPTY_GZIP, b"\xef\xbb\xbf"])
def test_files_without_lines(tmp_path, data):
    path = tmp_path / "a.jsonl"
    path.write_bytes(data)
    with pytest.raises(DataError, match="holds no lines"):
        read_preferences(path)


def test_unreadable_files(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere.jsonl", Path("a\0b")):
        with pytest.raises(DataError, match="cannot be read"):
            read_preferences(path)


def test_wrong_forms_say_what_is_there(tmp_path):
    with pytest.raises(DataError) as caught:
        read(tmp_path, {"question": "a", "answer": "b"})
    assert "`question`, `answer`" in str(caught.value)
    assert "ultrafeedback" in str(caught.value)
    with pytest.raises(DataError) as caught:
        read(tmp_path, PAIR, PAIR, mapping=MAPPINGS["llmbar"])
    for part in ("not one of 2 lines fits llmbar", "`chosen`", "the mapping wants `input`, `output_1`"):
        assert part in str(caught.value)
    with pytest.raises(DataError, match=r"no object in it \(text \(1\)"):
        read(tmp_path, '"bare"')


def test_what_is_said_is_safe_to_print(tmp_path):
    found = read(tmp_path, PAIR, '{"\\u001b[2J\\ud800": 1}', "\x1b[2J")
    assert all(str(fault).isprintable() for fault in found.faults)
    with pytest.raises(DataError) as caught:
        read(tmp_path, '{"\\u001b[2J\\ud800": 1}')
    assert str(caught.value).replace("\n", "").isprintable()
    assert shown("a\nb" * 100, 5) == "a\\nba…"


def test_long_answers_are_fast(tmp_path):
    lines = [PAIR | {"chosen": "word " * 20_000 + str(n), "rejected": "ward " * 20_000} for n in range(50)]
    path = write(tmp_path / "a.jsonl", lines)
    start = time.monotonic()
    assert len(read_preferences(path).lines) == 50
    assert time.monotonic() - start < 5


def test_a_long_file_of_no_form_is_refused_fast(tmp_path):
    path = write(tmp_path / "a.jsonl", [{"question": str(n), f"k{n % 50}": 1} for n in range(20_000)])
    start = time.monotonic()
    with pytest.raises(DataError):
        read_preferences(path)
    assert time.monotonic() - start < 10


# --- Whatever the bytes ---

settled = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
names = st.sampled_from(
    ["prompt", "chosen", "rejected", "answers", "instruction", "completions", "label", "input"]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(names | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


def never_raises_but_data_error(path, mapping):
    try:
        found = read_preferences(path, mapping)
    except DataError as error:
        assert error.given
        assert error.why
        assert error.todo
    else:
        assert found.lines
        assert all(str(fault).isprintable() for fault in found.faults)


@settled
@given(
    st.binary() | st.binary().map(gzip.compress) | st.binary().map(lambda data: gzip.compress(data)[:-3]),
    st.sampled_from([None, *MAPPINGS.values()]),
)
def test_arbitrary_bytes(tmp_path, data, mapping):
    path = tmp_path / "any"
    path.write_bytes(data)
    never_raises_but_data_error(path, mapping)


@settled
@given(
    st.lists(values, max_size=5),
    st.sampled_from([None, *MAPPINGS.values()]),
    st.booleans(),
    st.binary(max_size=5),
)
def test_arbitrary_json(tmp_path, items, mapping, is_array, noise):
    path = tmp_path / "any"
    data = json.dumps(items).encode() if is_array else as_lines(items)
    path.write_bytes(data[: len(data) // 2] + noise + data[len(data) // 2 :])
    never_raises_but_data_error(path, mapping)
    path.write_bytes(data)
    never_raises_but_data_error(path, mapping)


@settled
@given(
    st.sampled_from([name for name in EXAMPLES if name != "srlm"]),
    st.dictionaries(st.sampled_from(sorted({key for rows in EXAMPLES.values() for key in rows[0]})), values),
)
def test_forms_with_one_field_of_another_kind(tmp_path, form, change):
    lines = [*EXAMPLES[form], *(row | change for row in EXAMPLES[form])]
    path = write(tmp_path / "any", [json.dumps(line) for line in lines])
    found = read_preferences(path, MAPPINGS[form])
    assert found.lines
    assert found.num_lines == len(lines)


# --- Real files, counted again by plain json ---


def rows_of(name):
    data = (DATA / name).read_bytes()
    text = (gzip.decompress(data) if name.endswith(".gz") else data).decode()
    return (
        json.loads(text)
        if text.lstrip().startswith("[")
        else [json.loads(line) for line in text.splitlines()]
    )


def expected(rows, first, second):
    """How many pairs there are to use, how many are empty, and how many say the same twice."""
    empty = sum(not (row[first].strip() and row[second].strip()) for row in rows)
    same = sum(row[first].strip() == row[second].strip() != "" for row in rows)
    return len(rows) - empty - same, empty, same


def check_pairs(name, form, num, first, second):
    rows, found = rows_of(name), read_preferences(DATA / name)
    used, empty, same = expected(rows, first, second)
    counts = Counter(fault.reason for fault in found.faults)
    assert (len(rows), found.form, found.num_lines, len(found.lines)) == (num, form, num, used)
    assert counts == Counter({"an answer is empty": empty, "the two answers are the same text": same})
    return [rows[number - 1] for number in found.numbers], found


@needs_data
def test_real_pandalm():
    rows, found = check_pairs("pandalm/testset-v1.json.gz", "pandalm", 481, "response1", "response2")
    votes = [Counter((row["annotator1"], row["annotator2"], row["annotator3"])) for row in rows]
    majority = [next((who for who, n in count.items() if n >= 2), 0) for count in votes]
    places = {0: (0, 0), 1: (0, 1), 2: (1, 0)}
    assert [line.places for line in found.lines] == [places[who] for who in majority]
    assert [line.prompt for line in found.lines] == [
        row["instruction"] + ("\n\n" + row["input"] if row["input"].strip() else "") for row in rows
    ]
    assert majority.count(0) == 32


@needs_data
def test_real_autoj():
    rows, found = check_pairs("autoj/testdata_pairwise.jsonl.gz", "autoj", 832, "response 1", "response 2")
    places = {0: (0, 1), 1: (1, 0), 2: (0, 0)}
    assert [line.places for line in found.lines] == [places[row["label"]] for row in rows]
    assert len(found.lines) == 825


@needs_data
@pytest.mark.parametrize(
    ("name", "num"), [("Natural", 50), ("GPTInst", 46), ("GPTOut", 23), ("Manual", 23), ("Neighbor", 67)]
)
def test_real_llmbar(name, num):
    rows, found = check_pairs(f"llmbar/{name}.json", "llmbar", num, "output_1", "output_2")
    assert [line.places for line in found.lines] == [((0, 1), (1, 0))[row["label"] - 1] for row in rows]


@needs_data
@pytest.mark.parametrize(("name", "num"), [("gpt-4o-2024-05-13", 178), ("claude-3-5-sonnet-20240620", 129)])
def test_real_judgebench(name, num):
    rows, found = check_pairs(f"judgebench/{name}.jsonl.gz", "judgebench", num, "response_A", "response_B")
    assert [line.places == (0, 1) for line in found.lines] == [row["label"] == "A>B" for row in rows]


@needs_data
def test_real_prometheus():
    found = read_preferences(DATA / "prometheus/vicuna_eval.json.gz")
    assert (found.form, found.num_lines, len(found.lines), found.faults) == ("prometheus", 192, 48, [])
    assert {len(line.answers) for line in found.lines} == {4}
    means = {}
    for row in rows_of("prometheus/vicuna_eval.json.gz"):
        _, prompt, answer, *_ = (
            part.partition(":\n")[2].strip() for part in row["instruction"].split("\n###")
        )
        means[prompt, answer] = sum(row["gpt4_score"])
    for line in found.lines:
        scores = [means[line.prompt, answer.text] for answer in line.answers]
        assert line.places == tuple(sorted(set(scores), reverse=True).index(score) for score in scores)


@needs_data
def test_real_prometheus_of_second_turns():
    """Each model's own first answer stands in the prompt, so that hardly two prompts are the same."""
    found = read_preferences(DATA / "prometheus/mt_bench_eval.json.gz")
    assert (found.num_lines, len(found.lines)) == (192, 1)
    assert Counter(fault.reason for fault in found.faults) == {"the only answer to its prompt": 190}


@needs_data
def test_real_hhh():
    found = read_preferences(DATA / "prometheus/hhh_alignment_eval.json.gz")
    assert (found.form, found.num_lines, len(found.lines), found.faults) == ("hhh", 114, 114, [])
    rows = rows_of("prometheus/hhh_alignment_eval.json.gz")
    for row, line in zip(rows, found.lines, strict=True):
        good, bad = line.answers
        assert f"###Response to evaluate:\n{good.text}" in row["chosen_instruction"].replace(":\n ", ":\n")
        assert bad.text in row["rejected_instruction"]
        assert line.prompt in row["chosen_instruction"]
        assert line.category == row["source"]


@needs_data
def test_real_transcripts():
    found = read_preferences(DATA / "hh_rlhf/harmless_base_test_300.jsonl.gz")
    rows = rows_of("hh_rlhf/harmless_base_test_300.jsonl.gz")
    cut = [[row[key].rpartition("\n\nAssistant:") for key in ("chosen", "rejected")] for row in rows]
    usable = [
        good[2].strip()
        for good, bad in cut
        if good[0] == bad[0] and good[2].strip() and bad[2].strip() and good[2].strip() != bad[2].strip()
    ]
    assert (found.form, found.num_lines) == ("hh", 300)
    assert [line.answers[0].text for line in found.lines] == usable
    assert len(usable) + len(found.faults) == 300
    assert Counter(fault.reason for fault in found.faults) == {"an answer is empty": 1}


@needs_data
@pytest.mark.parametrize(
    "name",
    ["README.md", "alpaca_eval/leaderboard.csv", "gsm8k/test.jsonl.gz", "self_instruct/seed_tasks.jsonl"],
)
def test_real_files_of_no_known_form(name):
    with pytest.raises(DataError, match="none of the known forms"):
        read_preferences(DATA / name)
