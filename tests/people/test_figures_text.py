"""The figures in a terminal: every column stands under its head, and nothing that is missing is a number."""

from srlm.people.asking import CHOICES, Answer, Item, Vote
from srlm.people.judges import judge_figures, judge_verdicts
from srlm.people.results import comparison_figures, rating_figures
from srlm.people.tables import figures_text

PAIRS = [
    Item(f"p{n}", "?", (Answer("M3", f"a{n}", "long" * (n + 1)), Answer("M1", f"b{n}", "short")))
    for n in range(4)
]
ALONE = [Item(f"p{n}", "?", (Answer("M1", f"a{n}", "x" * n),)) for n in range(4)]


def test_a_match_has_a_line_and_every_annotator_one(tmp_path):
    votes = [
        Vote(item.id, who, CHOICES[choice])
        for item, both in zip(PAIRS, ((0, 1), (4, 4), (2, 2), (0, 4)), strict=True)
        for who, choice in enumerate(both, 1)
    ]
    judged = judge_figures(PAIRS, votes, judge_verdicts(tmp_path, PAIRS))
    text = figures_text(comparison_figures(PAIRS, votes), judged)
    head, row = text.splitlines()[:2]
    assert row.split()[:3] == ["M3", "against", "M1"]
    for title, value in (("win %", "25.0"), ("tie %", "50.0"), ("loss %", "25.0"), ("prompts", "4")):
        end = head.index(title) + len(title)
        assert row[:end].endswith(value), title
    assert "50.0 [" in row
    assert "4 × answers of M3: M3/watch/own.jsonl is not there" in text
    assert "own: each answer by its own model" in text
    assert [line.split() for line in text.splitlines()[-2:]] == [
        ["1", "4", "0", "0", "of", "0"],
        ["2", "4", "0", "0", "of", "0"],
    ]
    assert "None" not in text
    assert "nan" not in text


def test_a_model_has_a_line_with_its_mean_grade(tmp_path):
    votes = [Vote(item.id, 1, str(n)) for n, item in enumerate(ALONE)]
    judged = judge_figures(ALONE, votes, judge_verdicts(tmp_path, ALONE))
    text = figures_text(rating_figures(ALONE, votes), judged)
    assert text.splitlines()[1].split()[:2] == ["M1", "1.50"]
    assert "Spearman" in text
    assert "None" not in text


def test_a_study_without_votes_has_dashes():
    for text in (figures_text(comparison_figures(PAIRS, [])), figures_text(rating_figures(ALONE, []))):
        assert "–" in text
        assert "None" not in text
    assert figures_text(comparison_figures([], []))
