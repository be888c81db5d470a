import gzip
import json

import pytest

from srlm.config import SeedSection
from srlm.errors import DataError
from srlm.seeds import load_seed
from srlm.seeds.loading import load_ranked

GOOD = {"prompt": "What is a kettle?", "response": "A vessel for boiling water."}
RANKED = {"prompt": "What is rain?", "answers": [{"text": "Water.", "score": 3}, {"text": "No.", "score": 0}]}


def write(path, lines):
    path.write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return str(path)


def test_users_own_files(tmp_path):
    instructions = [GOOD | {"prompt": f"What is thing {n}?"} for n in range(200)]
    ranked = [RANKED | {"prompt": f"What is matter {n}?"} for n in range(200)]
    section = SeedSection(
        instructions=write(tmp_path / "i.jsonl", instructions), ranked=write(tmp_path / "r.jsonl", ranked)
    )
    seed = load_seed(section)
    assert len(seed.instructions) + len(seed.heldout_instructions) == 200
    assert 25 <= len(seed.heldout_instructions) <= 75
    more = [*instructions, GOOD | {"prompt": "One more?"}]
    grown = load_seed(section.model_copy(update={"instructions": (write(tmp_path / "j.jsonl", more),)}))
    assert {item.id for item in seed.heldout_instructions} <= {item.id for item in grown.heldout_instructions}


def test_every_bad_line_is_named_with_its_reason(tmp_path):
    lines = [
        GOOD,
        "{not json",
        {"prompt": "No answer?"},
        GOOD | {"prompt": "  "},
        GOOD | {"promt": "x"},
        GOOD | {"split": "dev"},
    ]
    with pytest.raises(DataError) as caught:
        load_seed(SeedSection(instructions=write(tmp_path / "i.jsonl", lines)))
    text = str(caught.value)
    assert "5 bad of 6 lines" in text
    for part in (
        "line 2: not JSON",
        "line 3: response: Field required",
        "line 4",
        "the prompt is empty",
        "line 5: promt",
        "line 6: split",
    ):
        assert part in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"answers": [{"text": "One.", "score": 3}]}, "at least 2"),
        ({"answers": [{"text": "a", "score": 9}, {"text": "b", "score": 1}]}, "less than or equal to 5"),
        (
            {"answers": [{"text": "a", "score": 1, "rank": 0}, {"text": "b", "score": 4, "rank": 1}]},
            "rank 0 has score 1",
        ),
        ({"answers": [{"text": "a", "score": 1}, {"text": "a ", "score": 4}]}, "same text"),
        (
            {"answers": [{"text": " \n", "score": 1}, {"text": "b", "score": 4}]},
            "answers.0.text: the text is empty",
        ),
        (
            {"answers": [{"text": "", "score": 1}, {"text": "b", "score": 4}]},
            "answers.0.text: the text is empty",
        ),
        (
            {"answers": [{"text": "a", "score": True}, {"text": "b", "score": 4}]},
            "answers.0.score: Input should be",
        ),
        (
            {"answers": [{"text": "a", "rank": 0}, {"text": "b", "rank": True}]},
            "answers.1.rank: Input should be",
        ),
        (
            {"answers": [{"text": "a", "score": "3"}, {"text": "b", "score": 4}]},
            "answers.0.score: Input should be",
        ),
    ],
)
def test_bad_ranked_lines(tmp_path, change, reason):
    with pytest.raises(DataError, match="line 1") as caught:
        load_seed(SeedSection(ranked=write(tmp_path / "r.jsonl", [RANKED | change])))
    assert reason in str(caught.value)


def test_missing_and_empty_files(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        load_seed(SeedSection(instructions=str(tmp_path / "nowhere.jsonl")))
    with pytest.raises(DataError, match="holds no lines"):
        load_seed(SeedSection(instructions=write(tmp_path / "e.jsonl", [""])))


def test_a_prompt_in_both_files_or_twice_in_one_is_refused(tmp_path):
    with pytest.raises(DataError, match="both"):
        load_seed(
            SeedSection(
                instructions=write(tmp_path / "i.jsonl", [GOOD]),
                ranked=write(tmp_path / "r.jsonl", [RANKED | {"prompt": GOOD["prompt"]}]),
            )
        )
    with pytest.raises(DataError, match="line 2: its prompt stands already in line 1"):
        load_seed(SeedSection(instructions=write(tmp_path / "i.jsonl", [GOOD, GOOD])))


@pytest.mark.parametrize("response", ["", " ", "\n\t"])
def test_a_response_must_say_something(tmp_path, response):
    lines = [GOOD, GOOD | {"prompt": "Why?", "response": response}]
    with pytest.raises(DataError, match="line 2: response: the response is empty"):
        load_seed(SeedSection(instructions=write(tmp_path / "i.jsonl", lines)))


def test_lines_that_json_cannot_hold_are_bad_lines_and_no_crash(tmp_path):
    lines = [GOOD, '{"prompt": ' + "[" * 100_000, "9" * 5000, "[1]", '"text"', "null"]
    with pytest.raises(DataError) as caught:
        load_seed(SeedSection(instructions=write(tmp_path / "i.jsonl", lines)))
    for part in (
        "5 bad of 6 lines",
        "line 2: nested too deeply",
        "line 3: not JSON that can be read: a number is too long",
        "line 4: not a JSON object (a list)",
        "line 5: not a JSON object (text)",
        "line 6: not a JSON object (null)",
    ):
        assert part in str(caught.value)


def test_not_utf8_is_named(tmp_path):
    path = tmp_path / "i.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b'\n{"prompt": "\xff"}\n')
    with pytest.raises(DataError, match=r"line 2: not UTF-8 \(invalid start byte\)"):
        load_seed(SeedSection(instructions=str(path)))


def test_what_is_said_of_bad_lines_is_printable(tmp_path):
    lines = [GOOD, '{"\\u001b[2J\\ud800": 1}', {"prompt": "\x1b" * 1000, "x" * 10_000: 1}]
    with pytest.raises(DataError) as caught:
        load_seed(SeedSection(instructions=write(tmp_path / "i\x1b[2J.jsonl", lines)))
    assert str(caught.value).replace("\n", "").isprintable()
    assert len(str(caught.value)) < 3000


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
@pytest.mark.parametrize("form", ["lines", "array"])
def test_gzip_and_arrays_give_the_same_as_plain_lines(tmp_path, pack, form):
    lines = [RANKED | {"prompt": f"What is matter {n}?"} for n in range(20)]
    plain = load_ranked(SeedSection(ranked=write(tmp_path / "r.jsonl", lines)))
    path = tmp_path / "other"
    text = json.dumps(lines, indent=1) if form == "array" else "\n".join(map(json.dumps, lines))
    path.write_bytes(pack(b"\xef\xbb\xbf" + text.encode()))
    assert load_ranked(SeedSection(ranked=str(path))) == plain
    assert sum(map(len, plain)) == 20


def test_items_of_an_array_are_called_so(tmp_path):
    path = tmp_path / "i.json"
    path.write_text(json.dumps([GOOD, GOOD, 3], indent=2))
    with pytest.raises(DataError) as caught:
        load_seed(SeedSection(instructions=str(path)))
    for part in (
        "2 bad of 3 items",
        "item 2: its prompt stands already in item 1",
        "item 3: not a JSON object",
    ):
        assert part in str(caught.value)


def test_a_gzip_that_ends_early_is_refused(tmp_path):
    path = tmp_path / "i.jsonl.gz"
    data = gzip.compress("\n".join(json.dumps(GOOD | {"prompt": str(n**n)}) for n in range(2, 200)).encode())
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match=r"1 bad of \d+ lines\n    line \d+: the gzip file ends early"):
        load_seed(SeedSection(instructions=str(path)))


def test_a_file_that_is_named_twice_is_refused(tmp_path):
    path = write(tmp_path / "i.jsonl", [GOOD])
    with pytest.raises(DataError, match="line 1: its prompt stands already in"):
        load_seed(SeedSection(instructions=(path, path)))
