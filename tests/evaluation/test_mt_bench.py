import gzip
import hashlib
import json
import math
import re
from fractions import Fraction
from itertools import permutations, product
from statistics import median

import pytest

from srlm.errors import DataError
from srlm.evaluation.mt_bench import (
    AGGREGATES,
    WRONG_REFERENCES,
    Grade,
    mt_bench,
    mt_bench_table,
    read_grades,
    read_questions,
    turn_means,
    wrong_references,
)

MEANS = {"mistral-orpo": (6.675, 5.0377, 5.8589), "mistral-orpo-mix": (6.4313, 5.5750, 6.0031)}
WRONG = {(one.question, one.turn): one for one in WRONG_REFERENCES}
CATEGORIES = {81: "writing", 111: "math", 112: "math"}


@pytest.fixture(scope="module")
def categories(shared_data):
    return {one.number: one.category for one in read_questions(shared_data("mt_bench/question.jsonl"))}


@pytest.fixture(scope="module")
def grades(shared_data):
    return read_grades(shared_data("mt_bench/model_judgment_gpt-4_single.jsonl.gz"))


@pytest.mark.parametrize("model", MEANS)
def test_the_means_of_the_recorded_judgments_come_out(grades, categories, model):
    found = mt_bench(grades.by_model[model], categories)
    assert tuple(round(found[key]["value"], 4) for key in ("turn_1", "turn_2", "both")) == MEANS[model]
    assert found["unreadable"] == (model == "mistral-orpo")
    assert found["grades"] == (320 if model == "mistral-orpo" else 160)
    assert found["missing"] == []
    assert found["both"]["num"] == 80
    assert found["both"]["low"] < found["both"]["value"] < found["both"]["high"]
    assert json.loads(json.dumps(found)) == found


def test_nothing_of_the_file_is_lost(grades):
    assert (grades.num, grades.faults) == (480, ())
    assert sum(map(len, grades.by_model.values())) == 480


def test_groups_of_categories_are_the_means_of_their_grades(grades, categories):
    chosen = grades.by_model["mistral-orpo"]
    found = mt_bench(chosen, categories)
    assert sorted(found["categories"]) == sorted(name for names in AGGREGATES.values() for name in names)
    for group, names in AGGREGATES.items():
        scores = [one.score for one in chosen if categories[one.question] in names and one.score is not None]
        assert found["aggregates"][group]["both"]["value"] == pytest.approx(sum(scores) / len(scores))
        assert found["aggregates"][group]["both"]["num"] == 10 * len(names)
    assert all(found["categories"][name]["turn_2"]["num"] == 10 for name in found["categories"])


def test_a_grade_that_could_not_be_read_is_counted_and_left_out():
    found = mt_bench(
        [Grade(81, 1, 8), Grade(81, 1, None), Grade(111, 1, 4), Grade(111, 2, None)], CATEGORIES, ()
    )
    assert (found["turn_1"]["value"], found["turn_2"]["value"], found["both"]["value"]) == (6, None, 6)
    assert (found["grades"], found["unreadable"]) == (4, 2)
    assert found["missing"] == [[81, 2], [112, 1], [112, 2]]
    assert found["aggregates"]["math, coding, reasoning"]["both"] == {
        "value": 4,
        "low": None,
        "high": None,
        "num": 1,
    }
    assert "–" in mt_bench_table({"M1": found})


def test_a_wrong_reference_spoils_its_turn_and_those_after_it():
    grades = [Grade(question, turn, 5 + turn) for question in CATEGORIES for turn in (1, 2)]
    only_second = [one for one in WRONG_REFERENCES if (one.question, one.turn) == (111, 2)]
    found = mt_bench(grades, CATEGORIES, only_second)
    assert found["wrong_references"] == [[111, 2]]
    assert [found["sound_references"][key]["num"] for key in ("turn_1", "turn_2")] == [3, 2]
    only_first = [one for one in WRONG_REFERENCES if (one.question, one.turn) == (111, 1)]
    assert mt_bench(grades, CATEGORIES, only_first)["sound_references"]["both"]["num"] == 2
    assert mt_bench(grades, CATEGORIES)["wrong_references"] == [[111, 1], [111, 2]]


def test_the_order_of_the_grades_changes_nothing():
    grades = [Grade(question, turn, (question * turn) % 10 + 1) for question in range(20) for turn in (1, 2)]
    assert turn_means(grades) == turn_means(grades[::-1])


def test_a_question_without_a_category_is_refused():
    with pytest.raises(DataError, match="grades of the questions 7"):
        mt_bench([Grade(7, 1, 5.0)], CATEGORIES)


GOOD = {"question_id": 81, "model": "m", "turn": 1, "score": 7}
BAD = [
    ({**GOOD, "turn": 3}, "turn is not 1 or 2 (3)"),
    ({**GOOD, "score": 11}, "score is not from 1 to 10 (11)"),
    ({**GOOD, "score": 0}, "score is not from 1 to 10 (0)"),
    ({**GOOD, "score": "7"}, "score is not a number ('7')"),
    ({**GOOD, "score": math.nan}, "score is not from 1 to 10 (nan)"),
    ({"question_id": 81, "model": "m", "turn": 1}, "score is missing"),
    ({**GOOD, "question_id": "81"}, "question_id is not a whole number ('81')"),
    ({**GOOD, "model": None}, "model is not a text"),
    ([], "the record is not an object"),
]


def test_every_bad_record_is_named_and_counted(tmp_path):
    records = [GOOD, *(record for record, _ in BAD), {**GOOD, "score": -1}, {**GOOD, "score": None}]
    path = tmp_path / "judgments.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(record) + "\n" for record in records).encode()))
    found = read_grades(path)
    assert [one.score for one in found.by_model["m"]] == [7, None, None]
    assert [(fault.number, str(fault)) for fault in found.faults] == [
        (number, reason) for number, (_, reason) in enumerate(BAD, 2)
    ]
    assert found.num == len(records)


def test_bad_questions_and_references_are_refused(tmp_path):
    path = tmp_path / "file.jsonl"
    path.write_text('{"question_id": 1, "category": "math", "turns": ["a"]}\n{"question_id": 2}\n')
    with pytest.raises(DataError, match="record 2: category is not a text"):
        read_questions(path)
    with pytest.raises(DataError, match="record 1: choices has no turns"):
        wrong_references(path)
    path.write_text('{"question_id": 1, "category": "math", "turns": ["a"]}\n' * 2)
    with pytest.raises(DataError, match="1 stand a second time"):
        read_questions(path)


def test_a_corrected_reference_is_not_flagged(tmp_path):
    path = tmp_path / "references.jsonl"
    path.write_text(json.dumps({"question_id": 111, "choices": [{"turns": ["3", "5 pi"]}]}) + "\n")
    assert wrong_references(path) == []


# --- Every wrong reference is worked out again ---


@pytest.fixture(scope="module")
def references(shared_data):
    path = shared_data("mt_bench/reference_answer_gpt-4.jsonl")
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return {row["question_id"]: row["choices"][0]["turns"] for row in rows}


def defined(references, question, turn):
    """What a reference's program defines. Only the very text that was read through is ever run."""
    text = references[question][turn - 1]
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == WRONG[question, turn].digest
    names = {}
    exec(re.search(r"```python\n(.*?)(?:# Example usage|```)", text, re.S)[1], names)  # noqa: S102
    return names


def test_the_published_references_are_flagged(shared_data):
    found = wrong_references(shared_data("mt_bench/reference_answer_gpt-4.jsonl"))
    assert sorted(found, key=lambda one: (one.question, one.turn)) == list(WRONG_REFERENCES)


def test_101_nobody_is_behind_the_last(references):
    for runners in range(2, 9):
        places = range(1, runners + 1)
        may_be_overtaken = {place for place in places if place + 1 in places}
        assert set(places) - may_be_overtaken == {runners}
    assert "your position remains the same, which is second to last" in references[101][1]


@pytest.mark.parametrize(("turn", "each_has", "stated"), [(1, 1, "only one brother"), (2, 2, "two brothers")])
def test_104_david_is_one_of_his_sisters_brothers(references, turn, each_has, stated):
    boys = [*(f"brother {n}" for n in range(each_has - 1)), "David"]
    family = [*boys, "sister 1", "sister 2", "sister 3"]
    brothers = {name: [boy for boy in boys if boy != name] for name in family}
    assert all(len(brothers[f"sister {n}"]) == each_has for n in (1, 2, 3))
    assert len(brothers["David"]) == each_has - 1
    assert stated in references[104][turn - 1]


def test_105_alice_is_the_secretary(references):
    found = set()
    for cars in permutations(("yellow", "green", "purple", "red", "blue")):
        for people in permutations(("Alice", "Bert", "Cheryl", "David", "Enid")):
            at, car = people.index, cars.index
            if (
                (cars[0], cars[4], cars[3], people[4]) == ("red", "purple", "yellow", "David")
                and cars[at("Enid")] == "green"
                and abs(at("Alice") - at("David")) == 1
                and min(car("red"), car("green")) < car("blue") < max(car("red"), car("green"))
                and min(at("Cheryl"), at("Enid")) < at("Bert") < max(at("Cheryl"), at("Enid"))
            ):
                found.add((people[3], cars))
    assert found == {("Alice", ("red", "blue", "green", "yellow", "purple"))}
    assert "The name of the secretary is Cheryl" in references[105][0]


def test_107_a_is_three_generations_above_z(references):
    generation = {"A": 0}
    generation["B"] = generation["A"] + 1
    generation["C"] = generation["B"] + 1
    generation["D"] = generation["C"] - 1
    generation["E"] = generation["D"] + 1
    generation["X"] = generation["E"] - 1
    generation["Y"] = generation["X"] + 1
    generation["Z"] = generation["Y"] + 1
    assert generation["Z"] == 3
    assert "A is four generations above Z" in references[107][1]


def test_109_west_is_to_the_right_of_who_faces_south(references):
    compass = ["north", "east", "south", "west"]
    right_of = {facing: compass[(n + 1) % 4] for n, facing in enumerate(compass)}
    assert [facing for facing, right in right_of.items() if right == "west"] == ["south"]
    assert "Suresh was facing north" in references[109][1]


def test_111_the_triangle_has_an_area_and_a_circle(references):
    (ax, ay), (bx, by), (cx, cy) = (0, 0), (-1, 1), (3, 3)
    area = Fraction(abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)), 2)
    squares = [
        (px - qx) ** 2 + (py - qy) ** 2
        for (px, py), (qx, qy) in [((ax, ay), (bx, by)), ((bx, by), (cx, cy)), ((cx, cy), (ax, ay))]
    ]
    assert area == 3
    assert Fraction(math.prod(squares), 16) / area**2 == 5  # the radius, squared
    assert "The area of the triangle is 0" in references[111][0]
    assert "there is no circumscribed circle" in references[111][1]


def test_113_who_likes_green_does_not_dislike_both(references):
    students = {
        (True, True): 22,
        (True, False): 58 - 22,
        (False, True): 45 - 22,
        (False, False): 19,
    }  # blue, green
    assert sum(students.values()) == 100
    assert sum(num for likes, num in students.items() if likes[1] and not any(likes)) == 0
    assert "approximately 51.11%" in references[113][1]


def test_114_one_throw_of_36_is_below_3(references):
    throws = [one + other for one, other in product(range(1, 7), repeat=2)]
    assert sum(total >= 3 for total in throws) == 35
    assert sum(total >= 3 or total % 2 == 0 for total in throws) == 36
    assert "34/36 = 17/18" in references[114][0]
    assert "0.944 or 94.4%" in references[114][1]


def test_120_the_root_is_2(references):
    def f(x):
        return 4 * x**3 - 9 * x - 14

    assert f(2) == 0
    assert f(1.65) < -10
    assert 8**2 - 4 * 4 * 7 < 0  # f is (x - 2)(4 x^2 + 8 x + 7): no other real root
    assert all(f(x) == (x - 2) * (4 * x**2 + 8 * x + 7) for x in range(-5, 5))
    assert "x ≈ 1.65" in references[120][1]


def test_125_the_highest_common_ancestor_is_not_the_lowest(references):
    """In the reference's own tree 6 and 4 have the common ancestors 5 and 3, the root."""
    names = defined(references, 125, 1)
    node = names["TreeNode"]
    six, four = node(6), node(4)
    root = node(3, node(5, six, node(2, node(7), four)), node(1, node(0), node(8)))
    assert names["find_hca"](root, six, four).value == 5
    names = defined(references, 125, 2)
    node = names["TreeNode"]
    one, other = node(5), node(6)
    assert names["find_hca"](node(1, [node(2, [one, other]), node(3)]), one, other).value == 2


def test_126_the_median_by_one_walk_through_both(references):
    def by_walking(one, other):
        """Linear time; the same few variables whatever the sizes."""
        size, i, j = len(one) + len(other), 0, 0
        before = now = 0
        for _ in range(size // 2 + 1):
            before = now
            if j == len(other) or (i < len(one) and one[i] <= other[j]):
                now, i = one[i], i + 1
            else:
                now, j = other[j], j + 1
        return now if size % 2 else (before + now) / 2

    for sizes in product(range(5), repeat=2):
        for values in product(range(3), repeat=sum(sizes)) if 0 < sum(sizes) < 7 else ():
            one, other = sorted(values[: sizes[0]]), sorted(values[sizes[0] :])
            assert by_walking(one, other) == median([*one, *other])
    assert references[126][0].startswith("It's not possible")


def test_127_two_counters_do_not_find_the_two_commonest(references):
    values = [0, 0, 1, 2, 3, 1]
    assert [values.count(value) for value in range(4)] == [2, 2, 1, 1]
    assert set(defined(references, 127, 2)["top_two_elements"](values)) == {0, 3}


@pytest.mark.parametrize(
    ("turn", "children", "name"), [(1, 2, "full_binary_trees"), (2, 3, "full_ternary_trees")]
)
def test_128_full_trees_are_counted_as_none(references, turn, children, name):
    def trees(vertices):
        if vertices <= 1:
            return vertices
        split = product(range(1, vertices), repeat=children)
        return sum(math.prod(map(trees, part)) for part in split if sum(part) == vertices - 1)

    by_reference = defined(references, 128, turn)[name]
    sizes = [children + 1, 2 * children + 1]
    assert [trees(size) for size in sizes] == ([1, 2] if children == 2 else [1, 3])
    assert [by_reference(size) for size in sizes] == [0, 0]
