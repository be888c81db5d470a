"""The first screen: what the verdict rests on, the lineage, the line to reproduce, and what is missing."""

import shlex

import pytest

from srlm.config import flatten
from srlm.monitors.signals import Signal
from srlm.monitors.yardsticks import AGREEMENT, FROZEN_WIN_RATE
from srlm.recipes import load
from srlm.report.evidence import evidence, unfinished
from srlm.report.lineage import Link, ancestors, called, in_order, lineage
from srlm.report.missing import missing
from srlm.report.reproducing import command


def figure(value, low=None, high=None, num=40, alarm=None):
    return Signal("any", None, "share", value, low, high, num, "", alarm)


def watched(answers, judges, names=("M1", "M2", "M3")):
    return {
        FROZEN_WIN_RATE.format("M1"): dict.fromkeys(names, answers),
        AGREEMENT.format("M1"): dict.fromkeys(names, judges),
    }


@pytest.mark.parametrize(
    ("answers", "judges", "said"),
    [
        (figure(0.7, 0.6, 0.8), figure(0.1, 0.02, 0.2), "M3 answers better than M1 (70.0 % [60, 80] of"),
        (figure(0.3, 0.2, 0.4), figure(-0.1, -0.2, -0.02), "and judges worse (-10.0 points [-20, -2] of"),
        (figure(0.5, 0.4, 0.6), figure(0.0, -0.1, 0.1), "is not shown to answer better or worse than M1"),
        (figure(0.0), figure(0.0), "M3 answers worse than M1 (0.0 % of"),  # lost on every prompt
        (figure(0.0, num=4), figure(0.0), "is not shown to answer"),  # too few to say
    ],
)
def test_the_verdict_follows_the_intervals(answers, judges, said):
    assert said in evidence(watched(answers, judges))


def test_the_verdict_is_of_the_last_watched_model_and_counts_all_alarms():
    calm = figure(0.5, 0.4, 0.6)
    signals = watched(calm, calm, ("M1", "M2")) | {"length": {"M2": figure(2.0, alarm="long"), "M3": calm}}
    assert evidence(signals).startswith("M2 ")  # M3 is trained, and its answers are not judged yet
    assert evidence(signals).endswith("1 alarm, of M2.")
    both = signals | watched(calm, calm)
    assert evidence(both).startswith("M3 ")
    assert evidence(both).endswith("1 alarm, of M2.")
    assert evidence(watched(calm, calm)).endswith("No alarm.")
    assert evidence(watched(calm, calm, ("M1",))) == ""


def test_an_unfinished_run_says_where_it_is():
    open_, done = {"step": "M1/sft", "done": False}, {"step": "M1/eft", "done": True}
    assert "at work on, or stopped in, M1/sft" in unfinished([done, open_])
    assert "between two steps" in unfinished([{"step": "M0/x", "done": False, "unread": "empty"}, done])


def test_models_come_of_each_other():
    assert ancestors("M3") == ["M0", "M1", "M2", "M3"]
    assert ancestors("SFT") == ["M0", "SFT"]
    assert sorted(["M10", "M2", "SFT", "M0"], key=in_order) == ["M0", "SFT", "M2", "M10"]
    assert called({"M2/dpo": {"digest": "0123456789abcdefgh"}}, "M2") == "M2 0123456789abcdef"
    assert called({}, "M2") == "M2"


def test_the_lineage_tells_the_data_so_far_as_it_is_known():
    done = {"M1/eft": {"records": 2}, "M2/prompts": {"records": 1200}, "M2/pairs": {"records": 7}}
    found = lineage(done, {"M1/sft": {"items": 5}, "M2/dpo": {"items": 7}})
    assert found == [
        Link("M0", "M1", "SFT", ("3 IFT", "2 EFT")),
        Link("M1", "M2", "DPO", ("1,200 prompts", "7 pairs")),
    ]
    assert lineage({}, {"M1/sft": {"items": 5}})[0].data == ("5 examples",)
    assert lineage(done, {"M1/sft": {"items": None}})[0].data == ()
    assert lineage({}, {"SFT/sft": {"items": 5}})[0] == Link("M0", "SFT", "SFT", ("5 IFT",))


def test_what_was_not_measured_is_named_model_by_model():
    """A suite is known by its name, not by its kind."""
    config = {
        "evaluation.suites": [{"suite": "mt_bench", "name": "short"}, {"suite": "ifeval", "name": ""}],
        "gates.preset": "warn",
    }
    names = ["M0", "M1", "M2"]
    done = {f"{name}/{part}": {} for name in names for part in ("evaluation/answers", "evaluation/figures")}
    done |= {"M1/eft": {}, "M1/sft": {}, "M2/dpo": {}}
    done |= {f"{name}/evaluation/short/figures": {} for name in names[:2]}
    results = {"short": ("mt_bench", {"M0": {}, "M1": {}})}
    found = missing(done, config, names, results, {"x": {"M1": 0}}, voted=False)
    assert found == [
        "head-to-head of the models: not measured (suite head_to_head)",
        "AlpacaEval, raw and length-controlled: not measured (suite alpaca_eval)",
        "the panel of NLP tasks: not measured (suite harness)",
        "MT-Bench of M2: not measured (suite short)",
        "ifeval: not measured (suite ifeval)",
        "signals of M2: not watched yet",
        "human votes: none",
    ]
    assert missing(done, config, names, results, {"x": {"M1": 0}}, voted=True) == found[:-1]


def test_only_a_run_that_was_told_so_is_not_watched_on_purpose():
    said = [
        missing({}, {"gates.preset": preset}, ["M0", "M1"], {}, {}, voted=True) for preset in ("off", "warn")
    ]
    assert "signals of reward hacking: not watched (gates.preset=off)" in said[0]
    assert "signals of reward hacking: not watched yet" in said[1]


@pytest.mark.parametrize(
    ("recipe", "overrides"),
    [
        ("smollm2", []),
        ("smollm2", ["judge.samples=5", "prompts.writer=", "dpo.learning_rate=1e-4", "report_to=[wandb]"]),
        ("smollm2", ["engine.kind=scripted", "model.name='a folder; with $signs and \"quotes\"'"]),
        ("smollm2", ["model.name='1e-6'", "data.ranked=[builtin, 'my file.jsonl']"]),
        (
            "smollm2",
            ["evaluation.suites=[{suite: gsm8k, name: short, data: tests.jsonl}]", "sft.lora={rank: 4}"],
        ),
        ("smollm2", ["servers.big={base_url: 'http://localhost:1/v1', model: big}", "judge.judge=big"]),
    ],
)
def test_the_line_to_reproduce_makes_the_same_config(recipe, overrides):
    config = load(recipe, overrides).config
    program, verb, name, *given = shlex.split(command(flatten(config.model_dump(mode="json"))))
    assert (program, verb, name) == ("srlm", "run", recipe)
    assert load(name, given).config == config
    assert len(given) < 20  # of more than a hundred keys
    assert command({}) == ""
