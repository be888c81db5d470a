"""Runs paired: differences by hand, other prompts said in words, seeds as the unit, a page that escapes."""

import dataclasses
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from pages import model, page, watched
from scipy import stats

from srlm.cli import main
from srlm.evaluation.suites.head_to_head import VALUE
from srlm.judging.eft import as_responses
from srlm.monitors.yardsticks import FROZEN_WIN_RATE
from srlm.records import Comparison, Judgment, Prompt, Response
from srlm.report import compare_runs, comparison_text, write_pages
from srlm.report.by_prompt import Measure, judged_right, measures
from srlm.report.comparing import Comparison as Beside
from srlm.report.pairing import apart, by_setting, pairing
from srlm.report.reading import Reading
from srlm.seeds import RankedAnswer, RankedPrompt


def answers(folder: Path, step: str, tokens: dict[str, list[int]]) -> None:
    """Answers of so many tokens, by prompt."""
    path = folder / f"{step}.jsonl"
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        Response(
            id=f"{prompt}{draw}",
            prompt_id=Prompt.of(prompt, (), 0).id,
            prompt=prompt,
            draw=draw,
            text=f"<b>{prompt}</b>",
            num_tokens=num,
            finish="stop",
        ).model_dump_json()
        for prompt, draws in tokens.items()
        for draw, num in enumerate(draws)
    ]
    path.write_text("\n".join(lines) + "\n")


def answered(folder: Path, tokens: dict[str, list[int]], name="a", **given):
    """A page of a run with answers of M1 and M2 to held-out prompts."""
    for step in ("M1/evaluation/answers", "M2/evaluation/answers"):
        answers(folder, step, tokens)
    done = {f"M{n}/evaluation/answers": {"records": sum(map(len, tokens.values()))} for n in (1, 2)}
    given = {"models": [model("M1"), model("M2")]} | given
    return dataclasses.replace(page(name=name, **given), reading=Reading(folder, done, []))


def test_a_paired_difference_is_that_by_hand(tmp_path):
    first = answered(tmp_path / "a", {"p": [10, 20], "q": [30], "r": [5]})
    other = answered(tmp_path / "b", {"p": [25], "q": [30, 34], "r": [1]}, "b")
    (table,) = (found := pairing([first, other])).tables
    rows = {(row[1][0].text, row[1][1].text): row for row in table.rows}
    name, cells = rows["Answer tokens", "M2"]
    assert name == "b – a"
    # p: 25 - 15 = 10, q: 32 - 30 = 2, r: 1 - 5 = -4
    assert [cell.text for cell in cells[2:]] == ["16.7", "19.3", "+2.67", "2 / 0 / 1", "3"]
    ((label, one), _) = found.apart["Answer tokens"][::-1]
    assert label == "b M2"
    assert one.value == pytest.approx((10 + 2 - 4) / 3)
    assert -4 <= one.low < one.value < one.high <= 10
    assert cells[4].interval.startswith(f"[{one.low:+.2f}, +")
    ended = rows["Answers that ended", "M1"][1]
    assert [ended[2].text, ended[4].text, ended[4].interval] == ["100.0 %", "+0.00", ""]


def test_other_prompts_are_said_and_not_paired(tmp_path):
    first = answered(tmp_path / "a", {"p": [10], "q": [30]})
    other = answered(tmp_path / "b", {"p": [25], "s": [30], "t": [2]}, "b")
    found = pairing([first, other])
    assert not found.tables
    assert (
        "Answer tokens of M2: a and b were asked different prompts "
        "(1 in both, 1 only in the first, 2 only in the second), not paired." in found.refused
    )
    assert found.refused[0] in Beside([first, other], {}).missing


def test_pairs_are_judged_by_prompt_and_an_unread_one_has_no_part():
    def line(prompt, places):
        texts = [RankedAnswer(text=f"{prompt} {n}", rank=place) for n, place in enumerate(places)]
        return RankedPrompt(prompt=prompt, answers=texts)

    ranked = [line("p", (1, 2, 3)), line("q", (1, 2)), line("even", (1, 1))]
    scores = iter([3.0, 3.0, 4.0, None, 2.0, 1.0, 1.0])
    judged = [
        Judgment.model_construct(response_id=item.id, score=next(scores)) for item in as_responses(ranked)
    ]
    found = judged_right(judged, ranked)
    # p: first and second tie (1/2), both below the third (0, 0); q: one is not read
    assert list(found.values.values()) == [pytest.approx(0.5 / 3)]
    assert len(found.asked) == 2


def test_suites_give_their_values_by_prompt(tmp_path):
    tokens = {"p": [1, 2], "q": [3]}
    for suite in ("own", "alpaca"):
        answers(tmp_path, f"M2/evaluation/{suite}/answers", tokens)
    ids = {prompt: Prompt.of(prompt, (), 0).id for prompt in tokens}
    said = [
        ("p0", "theirs", "first"),
        ("theirs", "p0", "tie"),
        ("q0", "other", None),
        ("other", "q0", "first"),
    ]
    lines = [
        Comparison(
            id=f"{one} {two}", prompt_id=ids["p" if "p0" in (one, two) else "q"], first_id=one, second_id=two,
            rubric="r", verdict=verdict, reason=None, reply="",
        ).model_dump_json()
        for one, two, verdict in said
    ]  # fmt: skip
    (tmp_path / "M2/evaluation/alpaca/comparisons.jsonl").write_text("\n".join(lines) + "\n")
    results = {
        "own": ("checked", {"M2": {"by_prompt": [[1.0, 4.0], [2.0]]}}),
        "maths": ("gsm8k", {"M2": {"grades": [
            {"question": "x", "is_correct": True}, {"question": "x", "is_correct": False}]}}),
        "orders": ("ifeval", {"M2": {"verdicts": [{"key": 7, "strict": [True, False]}]}}),
        "duel": ("head_to_head", {"M2": {"against": {"M1": {"by_prompt": {"p": "tie", "q": "unreadable"}}}}}),
        "alpaca": ("alpaca_eval", {"M2": {}}),
        "bench": ("mt_bench", {"M2": {}}),
    }  # fmt: skip
    steps = ("M2/evaluation/own/answers", "M2/evaluation/alpaca/answers")
    done = {step: {"records": 3} for step in steps} | {"M2/evaluation/alpaca/comparisons": {"records": 4}}
    found = measures(dataclasses.replace(page(results=results), reading=Reading(tmp_path, done, [])))
    values = {title: row["M2"].values for title, row in found.items()}
    assert values["own: points"] == {ids["p"]: 2.5, ids["q"]: 2.0}
    assert values["maths: right"] == {"x": 0.5}
    assert values["orders: all followed"] == {"7": 0.0}
    assert values["duel: win over its M1"] == {"p": VALUE["tie"]}
    assert values["alpaca: win over the baseline"] == {ids["p"]: 0.75}
    assert found["alpaca: win over the baseline"]["M2"].asked == set(ids.values())
    assert not any(title.startswith("bench") for title in found)


def setting(folder, name, beta, seed, tokens):
    wins = {FROZEN_WIN_RATE.format("M1"): {"M2": watched(0.5 + beta / 10)}}
    config = {"dpo.beta": beta, "seed": seed}
    return answered(folder / name, tokens, name, config=config, signals=wins)


def test_seeds_of_a_setting_are_the_unit(tmp_path):
    runs = [
        setting(tmp_path, f"b{beta}/seed{seed}", beta, seed, {"p": [10 + seed], "q": [20 + extra]})
        for beta, extras in ((1, (0, 0, 0)), (3, (2, 4, 12)))
        for seed, extra in enumerate(extras)
    ]
    found = pairing(runs)
    assert list(found.seeds) == ["b1", "b3"]
    differences, means = found.tables
    rows = dict(differences.rows)
    tokens = rows["b3 – b1: Answer tokens"]
    changes = [1.0, 2.0, 6.0]
    interval = stats.ttest_1samp(changes, 0).confidence_interval()
    assert [cell.text for cell in tokens] == ["+3.000", tokens[1].text, "3", "+1.00 +2.00 +6.00"]
    assert tokens[0].interval == f"[{interval.low:+.3f}, {interval.high:+.3f}]"
    assert float(tokens[1].text) == pytest.approx(stats.ttest_1samp(changes, 0).pvalue, rel=0.05)
    assert f"b3 – b1: {FROZEN_WIN_RATE.format('M1')}" in rows
    assert [(name, cells[0].text, cells[1].text) for name, cells in means.rows][::3] == [
        ("b1", "M1", "3"),
        ("b3", "M2", "3"),
    ]
    assert Beside(runs, {}).name == "2 settings, 3 seeds"


def test_seeds_on_other_prompts_are_said(tmp_path):
    runs = [
        setting(tmp_path, f"b{beta}s{seed}", beta, seed, {"p": [seed], ("q" if beta == 1 else "r"): [2]})
        for beta in (1, 3)
        for seed in (0, 1)
    ]
    found = pairing(runs)
    assert not any("tokens" in name for name, _ in found.tables[0].rows)
    assert any("seed 1, were asked different prompts" in line for line in found.refused)


def test_the_same_run_twice_is_no_other_seed():
    runs = [page(name=name, config={"seed": 0, "iterations": 2}) for name in ("a", "b")]
    assert list(by_setting(runs)) == ["a", "b"]
    named = [page(name=name, config={"dpo.beta": beta, "seed": seed}) for name, beta, seed in (
        ("a", 1, 1), ("b", 1, 0), ("c", 2, 0))]  # fmt: skip
    assert {name: list(seeds) for name, seeds in by_setting(named).items()} == {
        "dpo.beta=1": [0, 1],
        "dpo.beta=2": [0],
    }


def test_one_setting_on_several_seeds_has_its_means(tmp_path):
    runs = [setting(tmp_path, f"plain/seed{seed}", 1, seed, {"p": [10 * seed]}) for seed in range(4)]
    comparison = Beside(runs, {"seed": [0, 1, 2, 3]})
    (means,) = comparison.pairing.tables
    assert means.rows[0][0] == "plain"
    assert means.rows[0][1][2].text == "15"
    assert comparison.name == "1 setting, 4 seeds"
    assert not comparison.otherwise.rows


def test_one_path_writes_text_and_pages_and_names_are_escaped(tmp_path):
    first = answered(tmp_path / "a", {"p": [10, 20], "q": [30], "r": [5]}, "<i>a")
    other = answered(tmp_path / "b", {"p": [25], "q": [30, 34], "r": [1]}, "b|c")
    comparison = Beside([first, other], {"dpo.beta": ["<script>", 2]}, ("Not here: a run.",))
    text = comparison_text(comparison)
    assert "+2.67" in text
    assert "Not here: a run." in text
    markdown, html = write_pages(comparison, tmp_path / "out")
    assert "+2.67" in markdown.read_text()
    assert "b\\|c – <i>a" in markdown.read_text()
    shown = html.read_text()
    assert "<i>a" not in shown
    assert "<script>" not in shown
    assert "<figcaption>Answer tokens: above &lt;i&gt;a" in shown


def test_measures_without_a_prompt_in_common_have_a_reason():
    one, other = Measure({"p": 1.0}, frozenset("pq")), Measure({"q": 1.0}, frozenset("pq"))
    assert "no prompt for which both" in apart(one, other)
    assert apart(one, one) == ""


def test_runs_on_the_disk_are_compared(finished, tmp_path):
    twin = tmp_path / "twin"
    shutil.copytree(finished[0], twin, symlinks=True)
    saved = json.loads((twin / "config.json").read_text())
    saved["config"]["dpo"]["beta"] = 0.7
    (twin / "config.json").write_text(json.dumps(saved))
    asked = ["compare", str(finished[0]), str(twin), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(main, asked)
    assert result.exit_code == 0, result.output
    for said in ("Answer tokens", "Pairs judged right", "+0.00", "dpo.beta", "What came of it"):
        assert said in result.output
    assert "cannot be read" not in result.output
    assert "<td>Pairs judged right</td>" in (tmp_path / "out/comparison.html").read_text()
    comparison = compare_runs([finished[0]])
    assert not comparison.pairing.tables
