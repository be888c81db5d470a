import dataclasses
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from srlm.evaluation.head_to_head import head_to_head
from srlm.evaluation.judge_quality import ScoredPrompt, judge_quality
from srlm.monitors.signals import Signal
from srlm.records import Comparison, Prompt, Response
from srlm.report.collect import Page
from srlm.report.costs import Cost, Training, costs
from srlm.report.evidence import findings
from srlm.report.lineage import Link
from srlm.report.reading import Reading
from srlm.report.render import render
from srlm.report.rows import ModelRow, RoundRow, TrainingRow, suite_results
from srlm.report.samples import Sample, Side

HOSTILE = '</pre><script>alert("x")</script>\n# Heading\n| a | b |\n```\n{{ page.name }}'


def judged(right: int, wrong: int, longer: int) -> dict[str, Any]:
    """Figures of a judge of pairs: so many right and wrong, and in so many is the better one longer."""
    places = (0, 1)
    return judge_quality(
        [
            ScoredPrompt(
                (9, 5) if n * 271 % (right + wrong) < longer else (5, 9),  # as good as independent of right
                places,
                (4.0, 2.0) if n < right else (2.0, 4.0),
            )
            for n in range(right + wrong)
        ]
    )


def match() -> dict[str, Any]:
    """Eight prompts: four won, two tied, two lost."""
    prompts = [Prompt.of(f"Prompt {n}", (), n) for n in range(8)]
    couples = [
        tuple(Response.given(f"{who}{n}", prompt, f"{who} {n}") for who in ("ours", "theirs"))
        for n, prompt in enumerate(prompts)
    ]
    said = ["first"] * 4 + ["tie"] * 2 + ["second"] * 2
    turned = {"first": "second", "second": "first", "tie": "tie"}
    compared = [
        Comparison(
            id=f"{one.id} {other.id}",
            prompt_id=one.prompt_id,
            first_id=one.id,
            second_id=other.id,
            rubric="r@1",
            verdict=verdict,
            reason=None,
            reply="",
        )
        for (ours, theirs), word in zip(couples, said, strict=True)
        for one, other, verdict in ((ours, theirs, word), (theirs, ours, turned[word]))
    ]
    return head_to_head(("M2", "M1"), couples, compared)


def alpaca() -> dict[str, Any]:
    interval = {"value": 12.5, "low": 8.0, "high": 17.0, "num": 8}
    level = {"win_rate": 10.25, "standard_error": 2.0}
    counts = {"wins": 1, "losses": 7, "draws": 0, "win_rate": 12.5}
    return {
        "records": 8,
        "usable": 8,
        "unreadable": 0,
        "missing": 0,
        "faults": [],
        "empty": 0,
        "unanswered": 0,
        "win_rate": 12.5,
        "standard_error": 3.0,
        "interval": interval,
        "discrete": counts,
        "length": {"model": 900.0, "baseline": 1000.0},
        "length_controlled": level,
    }


SIGNAL = Signal("KL <i>to</i> M1", "kl", "nats", 0.75, 0.7, 0.8, 12, "above 0.5", "it <b>ran</b> away")


def page() -> Page:
    figures = {
        "judge": judged(right=1, wrong=1, longer=0) | {"mean_score": 3.25},
        "answers": {"num": 1, "tokens": 12, "characters": 50, "ended": 1.0},
        "heldout_loss": None,
    }
    return Page(
        reading=Reading(Path("runs/demo"), {}, ["MT-Bench: not measured"]),
        name="demo",
        verdict="M2 is trained.",
        evidence="M2 <i>answers</i> better.",
        findings=["M2 <b>judges</b> well."],
        lineage=[Link("M0", "M1", "SFT", ("3 IFT", "2 EFT")), Link("M1", "M2", "DPO", ("1 pairs",))],
        best="M2",
        models=[ModelRow("M0", figures)],
        results={
            "head_to_head": ("head_to_head", {"M1": {"against": {}}, "M2": {"against": {"M1": match()}}}),
            "alpaca_eval": ("alpaca_eval", {"M2": alpaca()}),
        },
        people={},
        signals={"KL <i>to</i> M1": {"M2": SIGNAL}},
        taught="12 answers scored by people",
        rounds=[
            RoundRow(
                name="M2",
                prompts=3,
                attempts=9,
                dropped={"cut off": 6},
                responses=12,
                replies=36,
                unreadable={"truncated": 8, "no score": 1},
                flagged=2,
                pairs=1,
                no_pair={"tie": 2, "unscored": 1},
            )
        ],
        trainings=[
            TrainingRow(
                "M2/dpo",
                {"items": 1, "steps": 2, "left_out_too_long": 0, "seconds": 3.0, "peak_memory_gib": 5.25},
                [{"step": 1, "loss": 0.7, "tokens": 90}, {"step": 2, "loss": 0.6, "tokens": 90}],
            )
        ],
        grades={"M2": {4: 3, 5: 1}},
        samples=[
            Sample("pairs", "M2", HOSTILE, (Side("chosen", HOSTILE, "chosen"), Side("rejected", "")), {})
        ],
        costs=[Cost("M1/sft", 61.4, 1228.0, 5.25, 0.251)],
        memory=1.25,
        machine={"srlm": "0.1.0", "packages": {"torch": "2.13.0"}},
        config={"judge.samples": 3},
        origins={"judge.samples": "recipe"},
        command="srlm run smollm2 judge.samples=3",
    )


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes = [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]


def test_html_escapes_everything_that_a_model_wrote():
    html = render(page(), "report.html", {})
    parsed = Tags()
    parsed.feed(html)
    assert "script" not in parsed.tags
    assert not [name for name in parsed.attributes if name.startswith("on")]
    assert "&lt;script&gt;" in html
    assert "{{ page.name }}" in html  # a template in a text is never filled


def test_html_needs_nothing_from_elsewhere():
    html = render(page(), "report.html", {})
    assert "http" not in html.replace("http-equiv", "")
    assert "@import" not in html
    assert "url(" not in html


def test_costs_say_how_near_a_step_came_to_the_limit():
    """1,000 tokens of a million parameters are 2 GFLOP; of what another engine wrote nothing is said."""
    summary = {"peak_memory_gib": 5.0, "utilisation": 0.3, "machine_gflops": 10.0, "parameters": 1_000_000}
    trainings = {"M2/dpo": Training(90.0, summary)}
    counts = {"M2/responses": {"tokens": 1000}, "M2/judgments": {"tokens": 70}, "M2/dpo": {}}
    states = [{"step": step, "seconds": 2.0, "done": True, "counts": found} for step, found in counts.items()]
    responses, judgments, dpo = costs(states, trainings, local=True)
    assert responses.share == pytest.approx(0.1)
    assert judgments == Cost("M2/judgments", 2.0, 70, None, None)
    assert dpo == Cost("M2/dpo", 2.0, 90.0, 5.0, 0.3)
    assert costs(states, trainings, local=False)[0].share is None
    old = {"M2/dpo": Training(90.0, {"peak_memory_gib": 5.0})}  # of an older version
    assert [cost.share for cost in costs(states, old, local=True)] == [None, None, None]
    assert "25.1 %" in render(page(), "report.html", {})


def test_markdown_keeps_a_models_text_inside_its_block():
    text = render(page(), "report.md", {})
    assert "\n# Heading" not in text
    assert "    # Heading" in text
    assert "    (empty)" in text


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_rates_are_shown_and_missing_figures_are_dashes(name):
    text = render(page(), name, {})
    assert "50.0 %" in text  # accuracy
    assert "25.0 %" in text  # unreadable replies, 9 of 36
    assert "2 tie, 1 unscored" in text
    assert "8 truncated, 1 no score" in text
    assert "6 cut off" in text
    assert "–" in text
    assert "None" not in text


def test_an_unfinished_run_without_rounds_is_shown():
    empty = dataclasses.replace(page(), rounds=[], models=[], trainings=[])
    for name in ("report.md", "report.html"):
        assert "M2 is trained." in render(empty, name, {})


def model(name: str, right: int, longer: int = 200, of: int = 400) -> ModelRow:
    answers = {"num": 10, "tokens": 90.4, "characters": 300, "ended": 0.65}
    figures = {"judge": judged(right, of - right, longer), "answers": answers, "heldout_loss": 3.0}
    return ModelRow(name, figures)


def test_findings_say_whether_the_judge_beats_the_longer_answer():
    """Of 400 pairs about half differ, so two standard errors of the difference are 0.07: 8 points clear the
    line, 2 do not; and 52 % is not above chance.
    """
    good, _ = findings([model("M0", 200), model("M1", 220), model("M2", 240, longer=208)])
    assert "right on 60.0 % of 400 held-out pairs, after 55.0 % of M1" in good
    assert "prove little" not in good
    for right, longer in ((240, 232), (208, 160), (159, 200)):
        said, _ = findings([model("M0", 200), model("M1", 220), model("M2", right, longer)])
        assert "prove little" in said
    silent, answers = findings([model("M0", 200), model("M1", 220), model("M2", 0, of=0)])
    assert "no readable score" in silent
    assert "from 90 tokens to 90" in answers
    assert findings([model("M0", 200)]) == []
    assert findings([model("M0", 200), model("SFT", 200)]) == []


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_judging_is_shown_with_intervals_and_the_longer_line(name):
    figures = {"judge": judged(240, 160, 208) | {"mean_score": 3.0}, "heldout_loss": 3.0}
    figures["answers"] = {"num": 10, "tokens": 90.4, "characters": 300, "ended": 0.65}
    text = render(dataclasses.replace(page(), models=[ModelRow("M1", figures)]), name, {})
    low, high = re.search(r"60\.0 %(?: |<br><small>)\[(\d+), (\d+)\]", text).groups()
    assert (int(low), int(high)) == (55, 64)  # 60 ± 4.8 by the normal approximation
    assert "52.0 %" in text
    assert "M1 learned judging from 12 answers scored by people" in text


def test_suites_are_shown_as_they_are_printed():
    html = render(page(), "report.html", {})
    assert "<summary>alpaca_eval</summary>" in html
    assert '12.5<br><small>[8, 17]</small><br><em class="paper">paper 15.4 %</em>' in html
    assert "± 3.9" in html  # 1.96 standard errors
    assert "## Suites" in render(page(), "report.md", {})


def test_the_tables_of_suites_follow_the_config(tmp_path):
    suites = [{"suite": "ifeval", "name": "short"}, {"suite": "gsm8k", "name": ""}]
    estimate = {"value": 0.5, "low": None, "high": None, "num": 2}
    found = {"questions": 2, "solutions": 2, "empty": 0, "unmarked": 1, "pass_at": {"1": estimate}}
    folder = tmp_path / "M1/evaluation/gsm8k"
    folder.mkdir(parents=True)
    (folder / "figures.json").write_text(json.dumps(found | {"marked": estimate, "last_number": estimate}))
    reading = Reading(tmp_path, {"M1/evaluation/gsm8k/figures": {}}, [])
    results = suite_results(reading, suites, ["M0", "M1"])
    assert list(results) == ["gsm8k"]
    assert not reading.missing
    tables = dataclasses.replace(page(), results=results).suites
    assert "M1: GSM8K: 2 questions" in tables["gsm8k"]
    assert "50.00" in tables["gsm8k"]


def test_a_suite_of_another_version_costs_only_itself(tmp_path):
    folder = tmp_path / "M1/evaluation/gsm8k"
    folder.mkdir(parents=True)
    (folder / "figures.json").write_text("{}")
    reading = Reading(tmp_path, {"M1/evaluation/gsm8k/figures": {}}, [])
    assert suite_results(reading, [{"suite": "gsm8k", "name": ""}], ["M1"]) == {}
    (said,) = reading.missing
    assert said.startswith("M1/evaluation/gsm8k/figures.json cannot be read (it has no ")


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_the_line_to_reproduce_and_the_memory_are_told(name):
    text = render(page(), name, {})
    assert "srlm run smollm2 judge.samples=3" in text
    assert "held at most 1.2 GiB" in text


@pytest.mark.parametrize("name", ["report.md", "report.html"])
def test_alarms_stand_at_the_top_and_signals_in_a_table(name):
    text = render(page(), name, {})
    said = "it <b>ran</b> away" if name == "report.md" else "it &lt;b&gt;ran&lt;/b&gt; away"
    assert text.index(said) < text.index("## Judging" if name == "report.md" else 'id="judging"')
    assert re.search(r"0\.750(?: |<br><small>)\[0\.700, 0\.800\]", text)
    calm = dataclasses.replace(page(), signals={"x": {"M2": dataclasses.replace(SIGNAL, alarm=None)}})
    assert "Alarms" not in render(calm, name, {})


def test_the_papers_figures_stand_beside_the_runs():
    figures = {"judge": judged(240, 160, 208) | {"mean_score": 3.0}, "heldout_loss": 3.0}
    figures["answers"] = {"num": 10, "tokens": 90.4, "characters": 300, "ended": 0.65}
    html = render(dataclasses.replace(page(), models=[ModelRow("M1", figures)]), "report.html", {})
    assert "paper 78.7 %" in html
    assert "paper 1092" in html
    assert "55.5 / 32.8 / 11.7" in html  # M2 against M1
    assert "50 / 25 / 25" in html


def test_lineage_and_what_is_missing_are_told():
    text = render(page(), "report.md", {})
    assert "- M0 → M1 by SFT: 3 IFT, 2 EFT" in text
    assert "MT-Bench: not measured" in text
    html = render(page(), "report.html", {})
    assert '<div class="model best">M2' in html


def test_every_row_and_column_of_a_table_has_a_heading():
    """What axe-core asks of tables and of regions that scroll."""
    html = render(page(), "report.html", {})
    assert not re.findall(r"<th(?! scope=)", html)
    assert html.count('class="card scroll') == html.count('tabindex="0" role="region" aria-label="')
