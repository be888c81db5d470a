import json

import pytest

from srlm.config import SeedSection
from srlm.errors import DataError
from srlm.seeds import load_seed

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
    grown = load_seed(section.model_copy(update={"instructions": write(tmp_path / "j.jsonl", more)}))
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
