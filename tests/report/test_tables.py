"""Tables as plain rows: a run's figures with intervals, the paper's beside them, and what is not there."""

import pytest
from pages import alpaca, bench, estimate, harness, match, model, page, watched

from srlm.monitors.signals import significant
from srlm.report import paper, tables
from srlm.report.cells import NO_DATA, NOT_MEASURED, Cell, Table
from srlm.report.lineage import Link
from srlm.report.render import render
from srlm.report.rows import ModelRow, RoundRow, TrainingRow

NAMES = ("report.md", "report.html")


def column(table: Table, head: str) -> dict[str, Cell]:
    """A column's cells by the names of the rows."""
    place = table.columns.index(head) - 1
    return {name: cells[place] for name, cells in table.rows}


def test_every_row_of_every_table_is_as_long_as_its_head():
    given = page(
        models=[model("M0"), model("M1", calibration=[{"grade": 3, "answers": 2, "place": estimate(0.4)}])],
        results={
            "duel": (
                "head_to_head",
                {"M1": {"against": {"M0": match("M1", "M0", (4, 2, 2), estimate(0.6))}}},
            ),
            "mt_bench": ("mt_bench", {"M1": bench(4.0, 6.0)}),
            "harness": ("harness", {"M1": harness(arc={"acc": estimate(0.3, 0.2, 0.4)})}),
        },
        signals={"KL to M1": {"M2": watched(0.2)}},
        grades={"M2": {3: 4, 5: 1}},
        trainings=[TrainingRow("M2/dpo", {"items": 1}, [{"loss": 0.7}])],
    )
    for name, table in tables.tables(given).items():
        assert table.title, name
        for row, cells in table.rows:
            assert len(cells) == len(table.columns) - 1, (name, row)


def test_a_judges_figures_stand_with_intervals_beside_the_papers():
    given = model(
        "M1",
        coverage=estimate(0.95, 0.9, 0.98),
        pairwise={"half": estimate(0.6, 0.551, 0.649)},
        longer_wins={"pairwise": {"half": estimate(0.52, 0.47, 0.57)}},
        top_best={"share": estimate(None)},
        top=10,
        answers=101,
    )
    table = tables.judging(page(models=[given]))
    assert column(table, "Pairs right")["M1"] == Cell("60.0 %", "[55, 65]", "78.7 %")
    assert column(table, "Readable")["M1"] == Cell("95.0 %", "[90, 98]")
    assert column(table, "Longer wins")["M1"] == Cell("52.0 %", "[47, 57]")
    assert column(table, "10-best")["M1"].text == NO_DATA  # no answer got the top grade
    assert column(table, "Kendall")["M1"] == Cell(NOT_MEASURED, "", "0.253")
    assert "of 101 held-out answers" in table.note
    assert [name for name, _ in table.rows] == ["M1", "paper’s SFT", "paper’s M2", "paper’s M3"]
    assert column(table, "Pairs right")["paper’s M3"] == Cell("81.7 %")


def test_the_papers_tables_are_printed_where_nothing_was_measured():
    for name in NAMES:
        text = render(page(), name, {})
        for said in ("47.7 / 39.8 / 12.5", "66 / 16 / 18", "20.4 %", "7.25", "53.1 %", "6,942", "2552"):
            assert said in text, (name, said)
        for suite in ("head_to_head", "alpaca_eval", "mt_bench", "harness"):
            assert f"Not measured in this run (suite {suite})" in text
        assert "No comparisons by people yet in this run" in text
        assert "None" not in text


def test_every_figure_of_the_paper_is_in_a_table():
    shown = {cell.text for table in tables.tables(page()).values() for _, row in table.rows for cell in row}
    shown |= {cell.text for _, row in tables.ablations().rows for cell in row}
    for figures in (
        paper.PAIRWISE,
        paper.FIVE_BEST,
        paper.EXACT_MATCH,
        paper.ALPACA_EVAL,
        *paper.NLP.values(),
    ):
        assert {f"{value:.1f} %" for value in figures.values()} <= shown
    for figures in (paper.SPEARMAN, paper.KENDALL):
        assert {f"{value:.3f}" for value in figures.values()} <= shown
    for matches in (paper.HEAD_TO_HEAD, paper.HUMANS):
        assert {" / ".join(map(str, outcomes)) for outcomes in matches.values()} <= shown
    assert {"541 and 429", "29 %", "26.6 %", "3,964", "1092"} <= shown


def test_the_matrix_holds_each_match_from_both_sides():
    won = match("M2", "M1", (4, 2, 2), estimate(0.625, 0.5, 0.7))
    results = {"M0": {}, "M1": {"against": {}}, "M2": {"against": {"M1": won}}}
    table = tables.matrix(results)
    assert table.columns == ("Model", "M1", "M2")  # M0 met nobody
    assert column(table, "M1")["M2"] == Cell("62.5 %", "[50, 70]", "71.9 %")  # 55.5 + 32.8 / 2
    assert column(table, "M2")["M1"] == Cell("37.5 %", "[30, 50]", "28.1 %")
    assert column(table, "M2")["M2"].text == tables.SAME
    assert tables.matrix({}).rows == ()


def test_a_match_of_which_nothing_could_be_read_is_no_tie():
    table = tables.head_to_head({"M2 against M1": match("M2", "M1", (0, 0, 0), estimate(None))})
    assert column(table, "Win / tie / loss")["M2 against M1"] == Cell(NO_DATA, "", "55.5 / 32.8 / 11.7")
    assert column(table, "Win rate")["M2 against M1"].text == NO_DATA


def test_alpaca_eval_is_raw_and_at_equal_length():
    table = tables.alpaca_eval({"M1": alpaca(12.5, 10.25)})
    assert column(table, "Win rate")["M1"] == Cell("12.5", "[8, 16]", "9.9 %")
    assert column(table, "At equal length")["M1"] == Cell("10.2", "± 3.9")
    unread = alpaca(12.5, 10.25) | {"length_controlled": None, "interval": estimate(None)}
    assert column(tables.alpaca_eval({"M1": unread}), "At equal length")["M1"].text == NO_DATA


def test_mt_bench_has_a_row_for_every_category():
    table = tables.mt_bench_categories({"M1": bench(4.0, 6.0), "M2": bench(5.0)})
    assert table.columns == ("Category", "M1", "M2")
    assert [name for name, _ in table.rows] == ["math, coding, reasoning", "writing", "math"]
    assert column(table, "M1")["math"] == Cell("6.00", "[5.00, 7.00]")
    assert column(table, "M2")["math"].text == NOT_MEASURED


def test_the_panel_has_a_row_for_every_task_and_the_papers_tests():
    found = harness(
        arc={"acc": estimate(0.3, 0.2, 0.4), "acc_norm": estimate(0.35)}, pi={"acc": estimate(0.5)}
    )
    table = tables.nlp({"M0": found, "M1": harness(arc={"acc": estimate(0.25)})})
    assert table.columns == ("Test", "M0", "M1", "M3")
    assert column(table, "M0")["arc acc"] == Cell("30.0 %", "[20, 40]")
    assert column(table, "M1")["pi acc"].text == NOT_MEASURED
    assert column(table, "M0")["mean of the tasks"].text == "40.0 %"
    assert column(table, "M3")["paper’s ARC-Challenge"].text == "53.1 %"


def test_the_mean_of_the_harness_is_of_first_metrics_outside_of_groups():
    found = harness(
        a={"acc": estimate(0.4, 0.3, 0.5), "acc_norm": estimate(0.9, 0.8, 1.0)},
        b={"none": estimate(0.1) | {"num": 0}, "exact": estimate(0.6, 0.52, 0.7)},
        part={"acc": estimate(0.0, 0.0, 0.1)},
    )
    found["tasks"]["part"]["part_of"] = "b"
    mean = tables.harness_mean(found)
    assert mean["value"] == pytest.approx(0.5)
    assert mean["low"] == pytest.approx(0.5 - (0.1**2 + 0.08**2) ** 0.5 / 2)
    assert mean["high"] == pytest.approx(0.5 + (0.1**2 + 0.1**2) ** 0.5 / 2)
    assert tables.harness_mean({}) is None


def test_small_signals_keep_three_digits_and_an_alarm_is_a_word():
    given = page(
        signals={"KL to M1": {"M2": watched(0.002, 0.0012, 0.003), "M3": watched(0.75, alarm="away")}}
    )
    table = tables.signals(given)
    assert column(table, "M2")["KL to M1"] == Cell("0.00200", "[0.00120, 0.00300]")
    assert column(table, "M3")["KL to M1"] == Cell("0.750", alarm=True)
    assert "0.750 **alarm**" in render(given, "report.md", {})
    assert '<td class="alarm">0.750<br>alarm</td>' in render(given, "report.html", {})


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.0, "0"),
        (0.0355, "0.0355"),
        (-1.5, "-1.50"),
        (12.34, "12.3"),
        (15523.6, "15,524"),
        (1e-12, "0.000000"),
    ],
)
def test_three_significant_digits_without_an_exponent(value, said):
    assert significant(value) == said


def test_pairs_stand_beside_the_papers():
    row = RoundRow("M2", 3, 9, {}, 12, 36, {"truncated": 9}, 2, 1234, {"tie": 2})
    table = tables.rounds(page(rounds=[row]))
    assert column(table, "Pairs")["M2"] == Cell("1,234", "", "3,964")
    assert column(table, "Pairs")["paper’s M3"].text == "6,942"
    assert column(table, "Prompts kept of attempts")["M2"].text == "3 of 9"
    assert column(table, "Unreadable")["M2"].text == "25.0 %"


def test_figures_have_their_numbers():
    """Grades, calibration, and losses and log-probabilities on the way."""
    row = model("M1", calibration=[{"grade": 4, "answers": 3, "place": estimate(0.3, 0.2, 0.4)}])
    other = model("M2", calibration=[{"grade": 5, "answers": 3, "place": estimate(0.1)}])
    log = [{"loss": 0.7 - n / 10, "chosen_logprob": -200.0 - n} for n in range(5)]
    given = page(
        models=[row, other], grades={"M2": {4: 3, 5: 1}, "M3": {}}, trainings=[TrainingRow("M2/dpo", {}, log)]
    )
    made = tables.tables(given)
    assert column(made["calibration"], "M1")["4"] == Cell("0.30", "[0.20, 0.40]")
    assert column(made["calibration"], "M2")["4"].text == "never given"
    assert made["grades"].rows == (("M2", (Cell("75.0 %"), Cell("25.0 %"), Cell("4"))),)
    assert column(made["curves"], "50 %") == {
        "M2/dpo loss": Cell("0.500"),
        "M2/dpo chosen logprob": Cell("-202"),
    }
    for name in NAMES:
        text = render(given, name, {})
        assert "never given" in text
        assert "M2/dpo chosen logprob" in text


def test_what_an_older_run_lacks_is_said_in_words():
    given = page(
        models=[ModelRow("M1", {"judge": {}})],
        trainings=[TrainingRow("M1/sft", {"items": 3, "steps": 2}, [])],
    )
    made = tables.tables(given)
    assert column(made["judging"], "Pairs right")["M1"].text == NOT_MEASURED
    assert column(made["answering"], "Held-out loss")["M1"].text == NOT_MEASURED
    assert column(made["training"], "Peak memory, GiB")["M1/sft"].text == NOT_MEASURED
    assert column(made["training"], "First loss")["M1/sft"].text == NOT_MEASURED
    assert column(made["training"], "Items")["M1/sft"].text == "3"


def test_a_name_cannot_leave_its_cell():
    given = page(results={"harness": ("harness", {"M1": harness(**{"a|b <i>": {"acc": estimate(0.5)}})})})
    assert "| a\\|b <i> acc | 50.0 % |" in render(given, "report.md", {})
    assert "a|b &lt;i&gt; acc</th>" in render(given, "report.html", {})


def test_both_pages_print_the_same_figures():
    given = page(models=[model("M1", pairwise={"half": estimate(0.6, 0.55, 0.65)})])
    assert "60.0 % [55, 65] *paper 78.7 %*" in render(given, "report.md", {})
    html = '60.0 %<br><small>[55, 65]</small><br><em class="paper">paper 78.7 %</em>'
    assert html in render(given, "report.html", {})


def test_the_best_model_is_marked_in_the_lineage_of_both_pages():
    given = page(
        best="M2", lineage=[Link("M0", "M1", "SFT", ("3 IFT",)), Link("M1", "M2", "DPO", ("1 pairs",))]
    )
    text = render(given, "report.md", {})
    assert "- M1 → M2 by DPO: 1 pairs (best)\n" in text
    assert "3 IFT\n" in text
