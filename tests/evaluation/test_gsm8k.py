import gzip
import json
from decimal import Decimal

import pytest

from srlm.errors import DataError
from srlm.evaluation.gsm8k import (
    Question,
    grade,
    gsm8k_figures,
    gsm8k_table,
    last_number,
    marked_number,
    read_questions,
    request_text,
)

RIGHT = {"6b_finetuning": 136, "6b_verification": 265, "175b_finetuning": 230, "175b_verification": 372}


@pytest.mark.parametrize(
    ("solution", "number"),
    [
        ("3*4=<<3*4=12>>12\n#### 12", "12"),
        ("####12", "12"),
        ("#### $1,234.50 in all", "1234.50"),
        ("#### -5", "-5"),
        ("#### −5", "-5"),  # a typographic minus
        ("#### $-5", "-5"),
        ("#### -$5", "-5"),
        ("#### .5", "0.5"),
        ("#### 18.00", "18"),
        ("#### 70,000", "70000"),
        ("#### **18**", "18"),
        ("#### \\$18", "18"),
        ("#### 18.", "18"),
        ("#### 60 miles/hour", "60"),
        ("#### <<2+2=4>>4", "4"),
        ("#### 5\nNo: it is 6.\n#### 6", "6"),
        ("#### 1. Add them\n2 + 2\n#### 2. Done\n#### 4", "4"),
        ("#### Step 1\n#### 4\n#### The end", "4"),
        ("They have 260.\nA: 260", "260"),
        ("A: 1,450,000\n", "1450000"),
        ("A: 3 shirts\n#### 7\nA: 8", "7"),  # the asked form goes first
        ("#### 1. Add them", None),
        ("#### n", None),
        ("#### 7/14", None),
        ("#### ٣", None),  # a digit, but no number that was asked for
        ("The answer is 12.", None),
        ("BANANA: 4", None),
        ("", None),
    ],
)
def test_the_marked_number(solution, number):
    assert marked_number(solution) == (None if number is None else Decimal(number))
    if number is not None:
        assert last_number(solution) == Decimal(number)


@pytest.mark.parametrize(
    ("solution", "number"),
    [
        ("The answer is 12.", "12"),
        ("She pays $3, then $1,204.50.", "1204.50"),
        ("10-5", "5"),
        ("(3)-4", "4"),
        ("It is -4 degrees", "-4"),
        ("\\boxed{42}", "42"),
        ("12 <<3*4=12>> eggs", "12"),
        ("12 eggs <<3*4=1", "12"),  # cut off
        ("about 7/14", None),
        ("none", None),
        ("", None),
    ],
)
def test_the_last_number_where_none_is_marked(solution, number):
    assert marked_number(solution) is None
    assert last_number(solution) == (None if number is None else Decimal(number))


def test_long_texts_take_no_time():
    for text in (
        "9" * 200_000,
        "1," * 100_000,
        "<<" * 100_000,
        "#" * 200_000,
        "-$" * 100_000,
        "1/" * 100_000,
    ):
        assert marked_number(text) is None
        last_number(text)


def test_the_request_holds_the_question_and_the_form():
    text = request_text(" How many {eggs}? ")
    assert text.startswith("How many {eggs}?\n\n")
    assert "`#### n`" in text
    assert marked_number(text) is None  # a model that repeats it has not answered


def test_figures_by_hand_are_plain_json():
    questions = [Question(name, Decimal(12)) for name in "abcd"]
    solutions = {"a": "#### 12.0", "b": "It is 12", "c": "#### 13", "d": " "}
    grades = grade(questions, solutions)
    figures = json.loads(json.dumps(gsm8k_figures([[one] for one in grades])))
    assert (figures["questions"], figures["empty"], figures["unmarked"]) == (4, 1, 2)
    assert figures["marked"]["value"] == 1 / 4
    assert figures["last_number"]["value"] == 2 / 4
    assert figures["marked"]["low"] == 0
    assert grades[0].row() == {
        "question": "a",
        "gold": "12",
        "marked": "12.0",
        "last_number": "12.0",
        "is_correct": True,
    }
    assert grades[3].row()["marked"] is None
    assert "25.00 [0.0, 75.0]" in gsm8k_table(figures)
    assert max(map(len, gsm8k_table(figures).splitlines())) <= 110
    assert gsm8k_figures([])["marked"]["value"] is None
    assert "–" in gsm8k_table(gsm8k_figures([]))


def test_a_missing_solution_is_an_error_and_not_a_smaller_denominator():
    questions = [Question(name, Decimal(1)) for name in "abc"]
    with pytest.raises(DataError) as error:
        grade(questions, {"a": "#### 1", "b": 1})
    assert "2 of them" in str(error.value)
    assert "`b (not text)`, `c (no solution)`" in str(error.value)


def test_a_file_with_bad_lines_is_refused_with_all_of_them_named(tmp_path):
    good = {"question": "a", "answer": "#### 1"}
    rows = [good, good | {"question": ""}, good, good | {"question": "b", "answer": "one"}, 7]
    path = tmp_path / "questions.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)) + "\n{\n")
    with pytest.raises(DataError) as error:
        read_questions(path)
    for words in (
        "line 2: `question`",
        "line 3: its question",
        "line 4: `answer` marks",
        "line 5",
        "line 6: not JSON",
    ):
        assert words in str(error.value)


def test_every_published_verdict_is_reproduced(shared_data):
    """4 models x 659 solutions: `is_correct` of each, and the totals of shared/data/README.md."""
    with gzip.open(shared_data("gsm8k/example_model_solutions.jsonl.gz"), "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    questions = [Question(row["question"], marked_number(row["ground_truth"])) for row in rows]
    assert len(rows) == 659
    for model, right in RIGHT.items():
        grades = grade(questions, {row["question"]: row[model]["solution"] for row in rows})
        for mode in ("marked", "last_number"):
            assert [item.is_correct(mode) for item in grades] == [row[model]["is_correct"] for row in rows]
        figures = gsm8k_figures([[one] for one in grades])
        assert round(figures["marked"]["value"] * 659) == right
        assert figures["marked"]["low"] < right / 659 < figures["marked"]["high"]


def test_every_gold_answer_is_read(shared_data):
    """The test part, 659 questions, and the training part, 7,473: each marks its number, a whole one."""
    test = read_questions(shared_data("gsm8k/test.jsonl.gz"))
    train = read_questions(shared_data("gsm8k/train.jsonl.gz"))
    assert (len(test), len(train)) == (659, 7473)
    assert all(question.gold == question.gold.to_integral_value() for question in test + train)
    assert sum(question.gold < 0 for question in test + train) == 3
    assert test[0].gold == 70000
