import ast
import json
from pathlib import Path

import jinja2
import pytest
import yaml

from srlm.errors import DataError
from srlm.evaluation.multiple_choice import LETTERS, Question, read_questions, write_task

COLOURS = ["red", "green", "blue"]
GOOD = {"question": "Which?", "choices": COLOURS, "answer": 0}
MMLU_HEADER = "question,choice0,choice1,choice2,choice3,answer\n"
TRUTHFUL_HEADER = "Type,Category,Question,Best Answer,Correct Answers,Incorrect Answers,Source\n"


def written(tmp_path, text, name="questions.jsonl"):
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def lines(*values):
    return "".join(json.dumps(value) + "\n" for value in values)


def fault(path):
    with pytest.raises(DataError) as error:
        read_questions(path)
    return error.value.why


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"answer": 0}, 0),
        ({"answer": 2}, 2),
        ({"answer": "2"}, 2),
        ({"answer": "C"}, 2),
        ({"answer": "blue"}, 2),
        ({"answerKey": "B"}, 1),
        ({"label": 1}, 1),
        ({"gold": 2}, 2),
        ({"answer": 0, "answerKey": "B", "label": 2}, 0),
        ({"choices": {"text": COLOURS, "label": ["A", "B", "C"]}, "answerKey": "C"}, 2),
        ({"choices": {"text": COLOURS, "label": ["1", "2", "3"]}, "answerKey": "1"}, 0),
        ({"choices": {"text": COLOURS, "label": ["1", "2", "3"]}, "answerKey": "3"}, 2),
        ({"choices": {"text": COLOURS, "label": [1, 2, 3]}, "answerKey": "2"}, 1),
        ({"choices": {"text": COLOURS, "label": ["x", "y", "z"]}, "answer": "z"}, 2),
        ({"choices": {"text": COLOURS}, "answer": "B"}, 1),
        ({"choices": {"text": ["B", "A"], "label": ["A", "B"]}, "answerKey": "A"}, 0),
        ({"choices": ["B", "A"], "answer": "A"}, 1),  # a choice's own text goes before its letter
        ({"choices": ["2", "0", "1"], "answer": "1"}, 2),  # and before its place ...
        ({"choices": ["2", "0", "1"], "answer": 1}, 1),  # ... which a number always is
    ],
)
def test_the_answer_is_a_place_a_letter_a_label_or_a_choice(tmp_path, fields, place):
    row = {"question": "Which?", "choices": COLOURS} | fields
    choices = row["choices"]["text"] if isinstance(row["choices"], dict) else row["choices"]
    path = written(tmp_path, lines(row))
    assert read_questions(path) == ([Question("Which?", tuple(choices), place)], "choices")


def test_an_array_reads_as_lines_do_and_the_order_stays(tmp_path):
    rows = [GOOD | {"question": name, "answer": place} for place, name in enumerate("zya")]
    array = written(tmp_path, json.dumps(rows), "questions.json")
    questions, form = read_questions(written(tmp_path, lines(*rows)))
    assert read_questions(array) == (questions, form)
    assert [(one.text, one.answer) for one in questions] == [("z", 0), ("y", 1), ("a", 2)]


def test_two_to_twenty_six_choices_are_taken(tmp_path):
    rows = [GOOD | {"choices": list("ab"), "answer": 1}, GOOD | {"choices": list(LETTERS), "answer": "Z"}]
    questions, _ = read_questions(written(tmp_path, lines(*rows)))
    assert [(len(one.choices), one.answer) for one in questions] == [(2, 1), (26, 25)]


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ("{", "not JSON"),
        ("7", "not a JSON object (a number)"),
        (lines(GOOD | {"question": " "}), "`question` is missing, empty or not text"),
        (lines(GOOD | {"question": 5}), "`question` is missing, empty or not text"),
        (lines({"choices": COLOURS, "answer": 0}), "`question` is missing, empty or not text"),
        (lines({"question": "Which?", "answer": 0}), "`choices` is missing or not a list of texts"),
        (lines(GOOD | {"choices": "red"}), "`choices` is missing or not a list of texts"),
        (lines(GOOD | {"choices": ["red", 2]}), "`choices` is missing or not a list of texts"),
        (lines(GOOD | {"choices": {"label": ["A"]}}), "`choices` is missing or not a list of texts"),
        (lines(GOOD | {"choices": ["red"]}), "2 to 26 choices (1 choices)"),
        (lines(GOOD | {"choices": [*LETTERS, "+"]}), "2 to 26 choices (27 choices)"),
        (lines({"question": "Which?", "choices": COLOURS}), "its answer is none of the choices (None)"),
        (lines(GOOD | {"answer": 3}), "none of the choices (3)"),
        (lines(GOOD | {"answer": -1}), "none of the choices (-1)"),
        (lines(GOOD | {"answer": "D"}), "none of the choices ('D')"),
        (lines(GOOD | {"answer": "AB"}), "none of the choices ('AB')"),
        (lines(GOOD | {"answer": ""}), "none of the choices"),
        (lines(GOOD | {"answer": "gre"}), "none of the choices"),
        (lines(GOOD | {"choices": ["False", "True"], "answer": True}), "none of the choices (True)"),
        (lines({"question": "Which?", "choices": ["None", "All"]}), "none of the choices (None)"),
        (lines(GOOD | {"answer": 1.0}), "none of the choices"),
        (
            lines(GOOD | {"choices": {"text": COLOURS, "label": ["1", "2", "3"]}, "answer": "0"}),
            "none of the choices",
        ),
    ],
)
def test_a_bad_line_is_named_with_its_reason(tmp_path, bad, words):
    path = written(tmp_path, lines(GOOD) + bad.strip() + "\n" + lines(GOOD))
    why = fault(path)
    assert "1 of its lines" in why
    assert why.split(" questions\n")[1].startswith("    2: ")
    assert words in why


def test_all_bad_lines_are_in_one_error(tmp_path):
    rows = [GOOD, GOOD | {"answer": 9}, GOOD, GOOD | {"choices": []}]
    path = written(tmp_path, "\n" + lines(*rows) + "{\n")
    why = fault(path)
    assert "3 of its lines" in why
    assert [part for part in ("    2: ", "    3: ", "    4: ", "    5: ", "    6: ") if part in why] == [
        "    3: ",
        "    5: ",
        "    6: ",
    ]


def test_mmlu_with_a_header_counts_from_0(tmp_path):
    text = MMLU_HEADER + 'One?,a,b,c,d,0\n"Two, on\ntwo lines?",a,"b, c",c,d,3\n'
    questions, form = read_questions(written(tmp_path, "\ufeff" + text, "mmlu.csv"))
    assert form == "letters"
    assert questions == [
        Question("One?", ("a", "b", "c", "d"), 0),
        Question("Two, on\ntwo lines?", ("a", "b, c", "c", "d"), 3),
    ]


def test_mmlu_without_a_header_has_letters(tmp_path):
    questions, form = read_questions(written(tmp_path, "One?,a,b,c,d,B\n\nTwo?,e,f,g,h,D \n", "mmlu.csv"))
    assert form == "letters"
    assert [(one.text, one.choices[one.answer]) for one in questions] == [("One?", "b"), ("Two?", "h")]


def test_the_bad_rows_of_an_mmlu_file_are_named_by_the_lines_of_the_file(tmp_path):
    text = MMLU_HEADER + '"One\nquestion?",a,b,c,d,0\nTwo?,a,b,c,d,E\nThree?,a,b,c,1\n ,a,b,c,d,0\n'
    why = fault(written(tmp_path, text, "mmlu.csv"))
    assert "3 of its lines" in why
    assert "    4: its answer is none of the choices ('E')" in why
    assert "    5: it has not the six columns" in why
    assert "    6: it needs a question" in why


def test_truthfulqa_has_the_best_answer_against_the_incorrect_ones(tmp_path):
    row = 'Adversarial,Myths,"What, then?",No thing,No thing; None,It grows; ; You die ;,https://a.example\n'
    questions, form = read_questions(written(tmp_path, TRUTHFUL_HEADER + row, "truthful.csv"))
    assert (questions, form) == ([Question("What, then?", ("No thing", "It grows", "You die"), 0)], "choices")


def test_the_bad_rows_of_a_truthfulqa_file_are_named(tmp_path):
    rows = "t,c,Why?,So,So,No,s\nt,c,Why?,So,So, ; ,s\nt,c,,So,So,No,s\nt,c,Why?\n"
    why = fault(written(tmp_path, TRUTHFUL_HEADER + rows, "truthful.csv"))
    assert "3 of its lines" in why
    assert "    3: it needs a question and 2 to 26 choices (1 choices)" in why
    assert "    4: " in why
    assert "    5: " in why


@pytest.mark.parametrize("text", ["", "\n", MMLU_HEADER, TRUTHFUL_HEADER])
def test_a_csv_that_holds_no_question_is_refused(tmp_path, text):
    assert "no questions" in fault(written(tmp_path, text, "mmlu.csv"))


@pytest.mark.parametrize("row", [b'Two?,"a"a,b,c,d,A\n', b'Two?,"a,b,c,d,A\n', b"Two?,\xff,b,c,d,A\n"])
def test_a_broken_csv_is_refused_whole(tmp_path, row):
    path = tmp_path / "mmlu.csv"
    path.write_bytes(b"One?,a,b,c,d,A\n" + row)
    assert "cannot be read" in fault(path)


@pytest.mark.parametrize("name", ["none.csv", "none.jsonl"])
def test_a_missing_file_is_refused(tmp_path, name):
    with pytest.raises(DataError, match="cannot be read"):
        read_questions(tmp_path / name)


def test_the_shared_files_are_read(shared_data):
    truthful, form = read_questions(shared_data("truthfulqa/TruthfulQA.csv"))
    assert form == "choices"
    assert {one.answer for one in truthful} == {0}
    anatomy, form = read_questions(shared_data("mmlu/dev/anatomy_dev.csv"))
    assert (len(anatomy), form) == (5, "letters")


# --- Task files ---


QUESTIONS = [
    Question(" What's {{ this }}? ", ("it's", 'a "b"\n{% if %}', "c\\d"), 2),
    Question("Why?", ("so", "not"), 0),
]


def rendered(template, row):
    """As the harness renders it."""
    environment = jinja2.Environment(  # noqa: S701  no page of the web
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    return environment.from_string(template).render(**row)


def task_of(path):
    task = yaml.safe_load(path.read_text("utf-8"))
    (data,) = task["dataset_kwargs"]["data_files"].values()
    return task, [json.loads(line) for line in Path(data).read_text("utf-8").splitlines()]


@pytest.mark.parametrize("form", ["choices", "letters"])
def test_a_task_file_finds_its_questions_and_their_answers(tmp_path, monkeypatch, form):
    monkeypatch.chdir(tmp_path)
    path = write_task(Path("new/tasks"), "mine", QUESTIONS, form)
    monkeypatch.chdir("/")
    task, rows = task_of(tmp_path / path)
    assert (task["task"], task["dataset_path"], task["output_type"]) == ("mine", "json", "multiple_choice")
    assert task["test_split"] in task["dataset_kwargs"]["data_files"]
    assert task["fewshot_split"] in task["dataset_kwargs"]["data_files"]
    assert [row[task["doc_to_target"]] for row in rows] == [2, 0]
    metrics = {metric["metric"]: metric for metric in task["metric_list"]}
    assert list(metrics) == (["acc", "acc_norm"] if form == "choices" else ["acc"])
    assert all(one["aggregation"] == "mean" and one["higher_is_better"] for one in metrics.values())


def test_of_the_choices_form_the_texts_themselves_are_weighed(tmp_path):
    task, rows = task_of(write_task(tmp_path, "mine", QUESTIONS, "choices"))
    assert rendered(task["doc_to_text"], rows[0]) == "Question:  What's {{ this }}? \nAnswer:"
    for question, row in zip(QUESTIONS, rows, strict=True):
        weighed = ast.literal_eval(rendered(task["doc_to_choice"], row))
        assert tuple(weighed) == question.choices


def test_of_the_letters_form_the_choices_are_shown_and_their_letters_weighed(tmp_path):
    task, rows = task_of(write_task(tmp_path, "mine", QUESTIONS, "letters"))
    assert rendered(task["doc_to_text"], rows[0]) == (
        "What's {{ this }}?\nA. it's\nB. a \"b\"\n{% if %}\nC. c\\d\nAnswer:"
    )
    assert rendered(task["doc_to_text"], rows[1]) == "Why?\nA. so\nB. not\nAnswer:"
    assert [ast.literal_eval(rendered(task["doc_to_choice"], row)) for row in rows] == [
        ["A", "B", "C"],
        ["A", "B"],
    ]


def test_the_questions_of_a_task_can_be_read_again(tmp_path):
    write_task(tmp_path, "mine", QUESTIONS, "letters")
    assert read_questions(tmp_path / "mine.jsonl") == (QUESTIONS, "choices")


# --- What is still wrong ---


def test_the_place_of_an_mmlu_row_is_no_choice(tmp_path):
    path = written(tmp_path, MMLU_HEADER + "One?,8,2,24,120,2\n", "mmlu.csv")
    assert read_questions(path)[0][0].answer == 2


def test_a_label_without_a_choice_is_no_answer(tmp_path):
    choices = {"text": ["a", "b"], "label": ["A", "B", "C"]}
    assert "1: " in fault(written(tmp_path, lines(GOOD | {"choices": choices, "answer": "C"})))


def test_labels_that_are_no_list_are_a_bad_line(tmp_path):
    choices = {"text": ["a", "b"], "label": 5}
    assert "1: " in fault(written(tmp_path, lines(GOOD | {"choices": choices, "answer": "A"})))


def test_a_place_of_thousands_of_digits_is_a_bad_line(tmp_path):
    assert "1: " in fault(written(tmp_path, lines(GOOD | {"answer": "9" * 5000})))


def test_a_row_of_seven_columns_is_a_bad_line(tmp_path):
    assert "2: " in fault(written(tmp_path, MMLU_HEADER + "Which, one?,0,1,2,3,1\n", "mmlu.csv"))


def test_a_truthfulqa_row_without_a_best_answer_is_a_bad_line(tmp_path):
    assert "2: " in fault(written(tmp_path, TRUTHFUL_HEADER + "t,c,Why?,,So,No; Never,s\n", "truthful.csv"))


def test_a_question_with_half_a_character_is_a_bad_line(tmp_path):
    assert "1: " in fault(written(tmp_path, lines(GOOD | {"question": "\ud800"})))
