"""People's grades as seed data: scores, justifications, what is left out, and that it can be read again."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srlm.config import SeedSection
from srlm.people.asking import BOTH_BAD, CANNOT_JUDGE, Answer, Item, Vote
from srlm.people.ranked import ranked_lines, rounded_mean
from srlm.seeds.checking import check_file, checked_text
from srlm.seeds.loading import RankedAnswer, load_ranked


def answered(n, text, model="M1", check=""):
    return Item(f"p{n}", f"Prompt {n}?", (Answer(model, f"{model}-{n}-{text}", text),), check)


def graded(item, *grades, notes=()):
    notes = (*notes, *[""] * (len(grades) - len(notes)))
    return [
        Vote(item.id, who, grade, (), note)
        for who, (grade, note) in enumerate(zip(grades, notes, strict=True), 1)
    ]


def lines_of(*said):
    items = [item for item, _ in said]
    return ranked_lines(items, [vote for _, votes in said for vote in votes])


def test_a_line_has_the_rounded_mean_and_the_longest_note_of_that_grade():
    good, poor = answered(0, "A good answer."), answered(0, "A poor one.", "M3")
    lines, left = lines_of(
        (good, graded(good, "3", "4", "4", notes=("Much too long a note.", "Right.", "Right and clear."))),
        (poor, graded(poor, "0", "1", "5", notes=("No.",))),
    )
    assert not left
    (line,) = lines
    assert (line.prompt, line.category, line.split) == ("Prompt 0?", None, None)
    assert line.answers == (
        RankedAnswer(text="A good answer.", score=4, justification="Right and clear.", author="M1"),
        RankedAnswer(text="A poor one.", score=2, justification="", author="M3"),  # nobody gave it a 2
    )
    assert {answer.labelled_by for answer in line.answers} == {"people"}


@pytest.mark.parametrize(
    ("grades", "score"), [([3, 4], 4), ([0, 1], 1), ([4, 5], 5), ([3, 3, 4], 3), ([2], 2), ([0, 0, 1], 0)]
)
def test_a_half_is_rounded_up(grades, score):
    assert rounded_mean(grades) == score


@given(st.lists(st.integers(0, 5), min_size=1))
def test_a_score_is_never_further_than_a_half_from_the_mean(grades):
    mean = sum(grades) / len(grades)
    assert -0.5 <= mean - rounded_mean(grades) < 0.5


def test_answers_of_one_text_are_one_answer_with_all_grades():
    one, same, other = answered(0, "Yes."), answered(0, "Yes. ", "M3"), answered(0, "No.")
    lines, left = lines_of(
        (one, graded(one, "1")),
        (same, graded(same, "4", "4", notes=("Right.",))),
        (other, graded(other, "2")),
    )
    first, second = lines[0].answers
    assert (first.text, first.score, first.author, first.justification) == ("Yes.", 3, "M1, M3", "")
    assert (second.text, second.score) == ("No.", 2)
    assert left == {"merged with another of the same text": 1}


def test_what_is_left_out_is_counted_by_reason():
    one, other = answered(0, "a"), answered(0, "b", "M2")
    lonely, ungraded, check = answered(1, "c"), answered(2, "d"), answered(0, "stray", check="bad")
    empty = answered(0, " ", "M3")
    compared = Item("p3", "Prompt 3?", (Answer("M1", "x", "x"), Answer("M2", "y", "y")))
    twice, again = answered(4, "same"), answered(4, "same", "M2")
    lines, left = lines_of(
        (one, graded(one, "1")),
        (other, graded(other, "2")),
        (lonely, graded(lonely, "3")),
        (ungraded, graded(ungraded, CANNOT_JUDGE)),
        (check, graded(check, "0")),
        (empty, graded(empty, "0")),
        (compared, graded(compared, BOTH_BAD)),
        (twice, graded(twice, "3")),
        (again, graded(again, "3")),
    )
    assert [line.prompt for line in lines] == ["Prompt 0?"]
    assert left == {
        "the only graded answer to its prompt": 2,
        "merged with another of the same text": 1,
        "without a grade": 1,
        "an attention check": 1,
        "an empty text": 1,
        "compared, and not graded": 1,
    }


def test_every_graded_answer_is_in_a_line_or_counted():
    items = [
        answered(n % 3, text, model) for n in range(5) for model in ("M1", "M2") for text in (f"{n % 2}", "x")
    ]
    items = list({item.id: item for item in items}.values())
    lines, left = lines_of(*((item, graded(item, "2")) for item in items))
    assert sum(len(line.answers) for line in lines) + left.total() == len(items)


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), texts, st.integers(0, 5), texts), max_size=12))
def test_lines_are_read_again_as_they_were_written(tmp_path_factory, answers):
    items, votes = [], []
    for n, text, grade, note in answers:
        items.append(answered(n, text))
        votes += graded(items[-1], str(grade), notes=(note,))
    lines, _ = ranked_lines(list({item.id: item for item in items}.values()), votes)
    if not lines:
        return
    path = tmp_path_factory.mktemp("people") / "ranked.jsonl"
    path.write_text("".join(line.model_dump_json() + "\n" for line in lines), "utf-8")
    train, heldout = load_ranked(SeedSection(instructions=("builtin",), ranked=(str(path),)))
    read = {line.prompt: line.answers for line in [*train, *heldout]}
    assert read == {line.prompt: line.answers for line in lines}
    checked = check_file(path)
    assert (checked.num_used, checked.faults) == (len(lines), [])
    assert "ranked answers, our own form" in checked_text(checked)
