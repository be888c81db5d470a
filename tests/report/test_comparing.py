"""Runs side by side: who is who, what was set otherwise, what came of it, and what nobody measured."""

from pathlib import Path

from pages import alpaca, bench, estimate, harness, match, model, page, watched

from srlm.monitors.yardsticks import FROZEN_WIN_RATE
from srlm.report import comparing
from srlm.report.cells import NOT_MEASURED, SAME, Cell, Table
from srlm.report.comparing import Comparison, compare_runs, labels
from srlm.report.figures import compared_figures
from srlm.report.render import write_comparison
from srlm.report.rows import RoundRow

WINS = FROZEN_WIN_RATE.format("M1")


def cells(table: Table, head: str) -> dict[tuple[str, str], Cell]:
    """A column's cells by run and model."""
    place = table.columns.index(head) - 1
    return {(run, row[0].text): row[place] for run, row in table.rows}


def plain(name="a"):
    """A run that nobody watched: its gates are off."""
    return page(name=name, models=[model("M1"), model("M2", pairwise={"half": estimate(0.6, 0.5, 0.7)})])


def measured(name="b"):
    duels = {
        "M1": {"against": {"M0": match("M1", "M0", (6, 0, 2), estimate(0.75, 0.6, 0.9))}},
        "M2": {"against": {"M1": match("M2", "M1", (4, 2, 2), estimate(0.625))}},
    }
    return page(
        name=name,
        models=[model("M0"), model("M1"), model("M2")],
        rounds=[RoundRow("M2", 3, 9, {}, 12, 36, {}, 2, 1234, {})],
        results={
            "duel": ("head_to_head", {"M0": {}} | duels),
            "alpaca": ("alpaca_eval", {"M2": alpaca(12.5, 10.25)}),
            "bench": ("mt_bench", {"M2": bench(4.0, 6.0)}),
            "nlp": ("harness", {"M2": harness(arc={"acc": estimate(0.3, 0.2, 0.4)})}),
        },
        signals={WINS: {"M2": watched(0.4, 0.3, 0.44, "worse")}},
    )


def test_a_run_that_was_not_watched_has_its_rows():
    measured_, watched_ = Comparison([plain(), measured()], {}).tables
    rows = [(run, row[0].text) for run, row in measured_.rows]
    assert rows == [("a", "M1"), ("a", "M2"), ("b", "M0"), ("b", "M1"), ("b", "M2")]
    assert cells(measured_, "Pairs right")["a", "M2"] == Cell("60.0 %", "[50, 70]")
    assert cells(measured_, "Characters")["a", "M2"].text == "1,300"
    assert cells(watched_, WINS)["a", "M2"].text == NOT_MEASURED
    assert cells(watched_, WINS)["a", "M1"].text == SAME
    assert cells(watched_, WINS)["b", "M2"] == Cell("0.400", "[0.300, 0.440]", alarm=True)


def test_suites_stand_where_one_run_has_them():
    table, _ = Comparison([plain(), measured()], {}).tables
    found = {head: cells(table, head) for head in table.columns[2:]}
    assert found["AlpacaEval, %"]["b", "M2"] == Cell("12.5", "[8, 16]")
    assert found["AlpacaEval at equal length, %"]["b", "M2"] == Cell("10.2", "± 3.9")
    assert found["AlpacaEval at equal length, %"]["a", "M2"].text == NOT_MEASURED
    assert found["MT-Bench"]["b", "M2"] == Cell("5.00", "[4.00, 6.00]")
    assert found["Mean of the NLP tests"]["b", "M2"] == Cell("30.0 %", "[20, 40]")
    assert found["Mean of the NLP tests"]["a", "M2"].text == NOT_MEASURED
    assert found["Head to head: win rate over M1"]["b", "M2"].text == "62.5 %"
    assert found["Head to head: win rate over M1"]["b", "M0"] == Cell("25.0 %", "[10, 40]")
    assert found["Pairs"]["b", "M2"].text == "1,234"


def test_what_is_missing_is_named_and_has_no_column():
    comparison = Comparison([plain()], {})
    (table,) = comparison.tables  # no signal at all
    assert table.columns == ("Run", "Model", "Answer tokens", "Characters", "Pairs right")
    (nowhere,) = comparison.missing
    for title in ("AlpacaEval, %", "MT-Bench", "Mean of the NLP tests", "Pairs", *comparing.COMPARED):
        assert title in nowhere
    assert "Characters" not in nowhere


def test_equal_names_are_told_apart_by_their_parents():
    assert labels([Path("/x/one/run"), Path("/x/two/run")]) == ["one/run", "two/run"]
    nested = [Path("/x/run"), Path("/y/x/run"), Path("/x/b")]
    assert labels(nested) == ["/x/run", "y/x/run", "/x/b"]
    assert labels([Path("/x/a"), Path("/x/b")]) == ["a", "b"]


def test_a_run_given_twice_is_compared_once(monkeypatch, tmp_path):
    monkeypatch.setattr(comparing, "collect", lambda folder: page(config={"seed": folder.name}))
    comparison = compare_runs([tmp_path / "a", tmp_path / "b", tmp_path / "b/../a"])
    assert [one.name for one in comparison.pages] == ["a", "b"]
    assert comparison.settings == {"seed": ["a", "b"]}


def test_nothing_set_otherwise_leaves_no_table_head(monkeypatch, tmp_path):
    monkeypatch.setattr(comparing, "collect", lambda folder: plain())
    markdown, html = write_comparison([tmp_path / "a", tmp_path / "b"], tmp_path / "out")
    said = markdown.read_text().partition("## What was set otherwise")[2].partition("##")[0]
    assert said.split() == ["Nothing."]
    assert "| a | M2 | 90 | 1,300 | 60.0 % [50, 70] |" in markdown.read_text()
    assert "The paper’s ablations" in markdown.read_text()
    assert "541 and 429" in html.read_text()


def test_the_curve_of_win_rates_has_its_intervals_and_needs_only_one_run():
    (curve,) = compared_figures([plain(), measured()])
    assert "<figcaption>Win rate over M1 by the frozen judge" in curve
    without = measured()
    bare = watched(0.4)
    without.signals[WINS]["M2"] = bare
    (dot,) = compared_figures([plain(), without])
    assert curve.count("<path") == dot.count("<path")
    assert curve != dot  # the bar of the interval has a length
    assert compared_figures([plain()]) == []
