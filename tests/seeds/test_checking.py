import gzip
import json
from importlib.resources import files
from pathlib import Path

import pytest

from srlm.config import SeedSection
from srlm.errors import DataError
from srlm.seeds.checking import Lengths, check_file, checked_text
from srlm.seeds.loading import load_ranked
from srlm.seeds.mapping import parse_mapping

DATA = Path(__file__).parents[3] / "shared/data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="the shared data sets are not on this machine")

PAIR = {"prompt": "What is a kettle?", "chosen": "A vessel for boiling water.", "rejected": "A drum."}
INSTRUCTION = {"prompt": "What is a kettle?", "response": "A vessel for boiling water."}
RANKED = {
    "prompt": "What is rain?",
    "answers": [
        {"text": "Water that falls.", "score": 4, "rank": 0, "justification": "Right."},
        {"text": "Water.", "score": 2, "rank": 1},
        {"text": "Wet.", "score": 2, "rank": 1, "labelled_by": "rank"},
    ],
}


def write(path, *lines):
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_instructions(tmp_path):
    path = write(
        tmp_path / "i.jsonl",
        INSTRUCTION,
        "{",
        INSTRUCTION | {"prompt": "What is a kettle in short?", "response": "A pot."},
        INSTRUCTION | {"prompt": "Name a fish.", "split": "dev"},
        INSTRUCTION,
    )
    checked = check_file(path)
    assert (checked.form, checked.num_lines, checked.num_used) == ("instructions", 5, 2)
    assert [fault.number for fault in checked.faults] == [2, 4, 5]
    assert checked.answer_lengths == Lengths(16.5, 27)
    assert checked.near == [3]
    text = checked_text(checked)
    for part in (
        "i.jsonl: instructions, our own form",
        "5 lines: 2 used, 3 not",
        "used as: 2 instructions",
        "longest 27",
        "ROUGE-L above 0.7): 1 (line 3)",
        "1 × not JSON (Expecting property name",
        "1 × split: Input should be",
        "1 × its prompt stands in an earlier line (line 1): line 5",
    ):
        assert part in text


def test_native_ranked_answers(tmp_path):
    checked = check_file(write(tmp_path / "r.jsonl", RANKED, RANKED | {"answers": RANKED["answers"][:1]}))
    assert checked.form == "srlm"
    assert (checked.num_prompts, checked.num_answers, checked.num_pairs, checked.num_ties) == (1, 3, 2, 1)
    assert checked.labels == {"rank": 3, "score": 3, "justification": 1, "labelled by rank": 1}
    assert "used as: 1 prompt with 3 answers; 2 pairs with a better one, 1 tie\n" in checked_text(checked)
    assert "1 × answers: Tuple should have at least 2 items" in checked_text(checked)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_what_is_used_of_our_own_form_is_what_training_loads(tmp_path, pack):
    lines = [RANKED, RANKED | {"prompt": "Why?", "answers": RANKED["answers"][1:]}]
    path = tmp_path / "r.json"
    path.write_bytes(pack(json.dumps(lines).encode()))
    checked = check_file(path)
    assert (checked.form, checked.unit, checked.num_used) == ("srlm", "item", 2)
    train, heldout = load_ranked(SeedSection(ranked=str(path)))
    assert {line.prompt for line in [*train, *heldout]} == {line["prompt"] for line in lines}
    assert "note:" not in checked_text(checked)


def test_prompts_that_stand_twice_in_an_array(tmp_path):
    path = tmp_path / "r.json"
    path.write_text(json.dumps([RANKED, RANKED]))
    assert "its prompt stands in an earlier line (item 1): item 2" in checked_text(check_file(path))


def test_what_is_asked_for_goes_before_what_is_recognised(tmp_path):
    path = write(tmp_path / "r.jsonl", RANKED)
    assert check_file(path, ranked_native=True).num_used == 1
    assert check_file(path, ranked_native=False).form == "instructions"
    assert check_file(path, ranked_native=False).num_used == 0
    mapping = parse_mapping(["prompt=prompt", "answers=answers", "text=text", "rank=rank"])
    checked = check_file(path, mapping)
    assert (checked.form, checked.num_ties, checked.judged_by) == ("mapping", 1, "people: ranks")
    assert "preferences, by the mapping given" in checked_text(checked)


def test_a_known_form_with_many_bad_lines(tmp_path):
    lines = [PAIR | {"rejected": PAIR["chosen"]} for _ in range(25)]
    checked = check_file(write(tmp_path / "p.jsonl", PAIR, *lines, PAIR, PAIR | {"chosen": 3}))
    assert (checked.form, checked.num_used, checked.repeated) == ("pairs", 2, [27])
    text = checked_text(checked)
    first = ", ".join(str(number) for number in range(2, 22))
    assert f"25 × the two answers are the same text: lines {first} and 5 more\n" in text
    assert "1 × `chosen` is a number, where text should be: line 28" in text
    assert "prompts that stand earlier too: 1 (line 27)" in text
    assert "labels: rank 4 (from people: chosen and rejected)" in text


def test_a_file_of_which_nothing_is_used_is_no_error(tmp_path):
    checked = check_file(write(tmp_path / "p.jsonl", PAIR | {"chosen": ""}))
    assert (checked.num_used, checked.num_lines) == (0, 1)
    assert checked_text(checked).splitlines()[1:] == [
        "  1 line: 0 used, 1 not",
        "  not used:",
        "    1 × an answer is empty: line 1",
    ]


def test_items_of_an_array_are_called_so(tmp_path):
    path = tmp_path / "p.json"
    path.write_text(json.dumps([PAIR, 3], indent=2))
    assert "2 items: 1 used, 1 not" in checked_text(check_file(path))
    assert "not a JSON object (a number): item 2" in checked_text(check_file(path))


def test_unknown_forms_and_empty_files(tmp_path):
    with pytest.raises(DataError, match="none of the known forms"):
        check_file(write(tmp_path / "q.jsonl", {"question": "a"}))
    with pytest.raises(DataError, match="holds no lines"):
        check_file(write(tmp_path / "e.jsonl", ""))


def test_long_prompts_are_not_compared(tmp_path):
    lines = [PAIR | {"prompt": "word " * 500 + str(n)} for n in range(3)]
    checked = check_file(write(tmp_path / "p.jsonl", PAIR, *lines))
    assert (checked.near, checked.num_uncompared) == ([], 3)
    assert "0; 3 not compared" in checked_text(checked)


def test_what_is_printed_is_printable(tmp_path):
    path = write(
        tmp_path / "p\x1b[2J.jsonl", INSTRUCTION, '{"prompt": "a", "response": "b", "\\u001b[2J\\ud800": 1}'
    )
    text = checked_text(check_file(path))
    assert text.replace("\n", "").isprintable()
    assert "line 2" in text


@pytest.mark.parametrize(("name", "form"), [("instructions", "instructions"), ("ranked", "srlm")])
def test_the_built_in_seed_is_used_whole(name, form):
    checked = check_file(Path(str(files("srlm").joinpath("seeds", "builtin", f"{name}.jsonl"))))
    assert (checked.form, checked.faults, checked.near) == (form, [], [])
    assert checked.num_used == checked.num_lines > 50


@needs_data
@pytest.mark.parametrize(
    ("name", "lines", "used", "pairs", "ties"),
    [
        ("pandalm/testset-v1.json.gz", 481, 432, 400, 32),
        ("autoj/testdata_pairwise.jsonl.gz", 832, 825, 616, 209),
        ("prometheus/vicuna_eval.json.gz", 192, 192, 187, 101),
        ("prometheus/hhh_alignment_eval.json.gz", 114, 114, 114, 0),
        ("judgebench/claude-3-5-sonnet-20240620.jsonl.gz", 129, 128, 128, 0),
        ("hh_rlhf/harmless_base_test_300.jsonl.gz", 300, 299, 299, 0),
    ],
)
def test_real_files(name, lines, used, pairs, ties):
    checked = check_file(DATA / name)
    assert (checked.num_lines, checked.num_used) == (lines, used)
    assert (checked.num_pairs, checked.num_ties) == (pairs, ties)
    assert len(checked.faults) == lines - used
    assert f"{used:,} used, {lines - used} not" in checked_text(checked)
