"""The whole loop on a tiny model: text from the scripted engine, every training real."""

import json
import shutil
from contextlib import contextmanager

import pytest
from click.testing import CliRunner
from safetensors.torch import load_file

from conftest import tiny_overrides
from srlm.cli import main
from srlm.engines.scripted import ScriptedEngine
from srlm.errors import DataError, RunChanged, TrainingError
from srlm.evaluation.suites.tables import saved_figures
from srlm.loop import run_loop, step_names
from srlm.recipes import load, override
from srlm.records import Example, Judgment, Likelihood, Pair, Prompt, Response, seed_for
from srlm.report import write_report
from srlm.seeds import load_seed
from srlm.stages.demonstrations import spreads_of
from srlm.store.jsonl import read_records
from srlm.store.run import open_run
from srlm.store.states import run_states, saved_config, states


class Counting:
    """Watches a run and remembers which steps were made and which skipped."""

    def __init__(self):
        self.made, self.skipped = [], []

    def begin(self, step, done, total): ...

    def advance(self, step, done, total, note=""): ...

    def end(self, step, state, skipped):
        (self.skipped if skipped else self.made).append(step)


def scripted(monkeypatch, script):
    """Let every engine of the loop say what the script says."""

    @contextmanager
    def opened(section, model, **_):
        yield ScriptedEngine(script, name=model.digest)

    for place in ("srlm.loop", "srlm.engines.opening", "srlm.evaluation.panel", "srlm.monitors.monitor"):
        monkeypatch.setattr(f"{place}.open_engine", opened)


def judging(reply):
    """A script whose judge always gives one reply."""
    plain = ScriptedEngine()._script
    return lambda request, draw: reply if request.purpose == "judgment" else plain(request, draw)


def test_three_models_and_real_pairs_in_both_rounds(finished):
    folder, config, outcome = finished
    assert outcome.model.name == "M3"
    assert [state["step"] for state in run_states(folder)] == step_names(config, ranks_alone=False)
    weights = [load_file(folder / name / "model/model.safetensors") for name in ("M1", "M2", "M3")]
    for one, other in [(0, 1), (1, 2)]:
        assert any((weights[one][name] != weights[other][name]).any() for name in weights[one])
    for name in ("M2", "M3"):
        assert len(list(read_records(folder / name / "pairs.jsonl", Pair))) >= 1
    for name in ("M0", "M1", "M2", "M3"):
        figures = json.loads((folder / name / "evaluation/figures.json").read_text())
        assert sum(figures["judge"]["pairs"].values()) > 50
        assert figures["heldout_loss"] > 0
        assert figures["answers"]["num"] > 0


def test_every_pair_can_be_traced_to_its_prompt_responses_and_judgments(finished):
    folder, config, _ = finished
    prompts = {item.id: item for item in read_records(folder / "M2/prompts.jsonl", Prompt)}
    responses = {item.id: item for item in read_records(folder / "M2/responses.jsonl", Response)}
    judgments = {item.response_id: item for item in read_records(folder / "M2/judgments.jsonl", Judgment)}
    assert len(responses) == len(judgments) == len(prompts) * config.responses.samples
    for pair in read_records(folder / "M2/pairs.jsonl", Pair):
        assert pair.prompt == prompts[pair.prompt_id].text
        assert pair.chosen == responses[pair.chosen_id].text
        assert pair.rejected_score == judgments[pair.rejected_id].score
        siblings = [
            judgments[key].score for key, item in responses.items() if item.prompt_id == pair.prompt_id
        ]
        assert pair.chosen_score == max(siblings)
        assert pair.rejected_score == min(siblings)


def test_the_third_round_shows_what_the_second_was_judged_most_unequal_on(tiny, tmp_path, monkeypatch):
    def copied(section, model, *inputs, folder, target, **_):
        shutil.copytree(model.path, target)
        folder.mkdir(parents=True, exist_ok=True)
        summary = {"heldout_loss": None, "heldout_loss_before": None, "steps": 1}
        (folder / "summary.json").write_text(json.dumps(summary))
        (folder / "log.jsonl").touch()
        return target

    monkeypatch.setattr("srlm.loop.train_sft", copied)
    monkeypatch.setattr("srlm.loop.train_dpo", copied)
    keys = ["prompts.demonstrate=hard", "prompts.count=8", "prompts.block=2"]
    config = load("smollm2", [*tiny_overrides(tiny.path), *keys]).config
    with open_run(tmp_path / "run", config) as run:
        run_loop(config, run)
    folder = tmp_path / "run"
    before = list(read_records(folder / "M2/prompts.jsonl", Prompt))
    spreads = spreads_of(config.prompts, read_records(folder / "M2/judgments.jsonl", Judgment))
    assert len(spreads) == 8
    hard = set(sorted(spreads, key=lambda key: (-spreads[key], key))[:2])
    for made in read_records(folder / "M3/prompts.jsonl", Prompt):
        assert {item.id for item in before} & set(made.demonstrations) == hard
    given = [json.loads((folder / f"M{t}/prompts.step.json").read_text())["given"]["inputs"] for t in (2, 3)]
    assert [len(inputs) for inputs in given] == [4, 5]
    with open_run(folder, config) as run:
        assert run_loop(config, run).model.name == "M3"


def test_each_round_trains_on_its_own_pairs_with_the_round_before_as_reference(finished):
    folder, _, _ = finished
    for name, before in (("M2", "M1"), ("M3", "M2")):
        job = json.loads((folder / name / "dpo/job.json").read_text())
        assert job["model"] == str(folder / before / "model")
        trained = list(read_records(folder / name / "dpo/data.jsonl", Pair))
        assert trained == list(read_records(folder / name / "pairs.jsonl", Pair))
        log = [json.loads(line) for line in (folder / name / "dpo/log.jsonl").read_text().splitlines()]
        assert log[0]["loss"] == pytest.approx(0.6931, abs=0.1)


def test_prompts_of_round_two_do_not_repeat_round_one(finished):
    folder, _, _ = finished
    texts = [
        item.text for name in ("M2", "M3") for item in read_records(folder / name / "prompts.jsonl", Prompt)
    ]
    assert len(set(texts)) == len(texts)


def test_a_finished_run_does_nothing_again(finished):
    folder, config, outcome = finished
    seen = Counting()
    with open_run(folder, config, progress=seen) as run:
        assert run_loop(config, run) == outcome
    assert not seen.made
    assert len(seen.skipped) == len(run_states(folder))


def test_the_report_shows_every_round_and_escapes_what_the_model_wrote(finished):
    folder, _, _ = finished
    markdown, page = write_report(folder)
    for text in (markdown.read_text(), page.read_text()):
        for name in ("M0", "M1", "M2", "M3", "judge.samples", "Longer wins"):
            assert name.lower() in text.lower()
    assert "<script" not in page.read_text()


def test_suites_are_run_on_every_model_and_one_can_be_added_later(tiny_config, tiny, tmp_path):
    data = tmp_path / "input.jsonl"
    task = {"key": 1, "prompt": "Say it.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}
    data.write_text(json.dumps(task) + "\n")
    duel = {"suite": "head_to_head", "rubric": "additive", "labels": True, "limit": 6}
    first = [duel, {"suite": "diversity", "limit": 4}]
    given = {"sft_baseline": True, "judge": {"model": str(tiny.path)}, "suites": first}
    config = override(tiny_config, ["iterations=2"], {"evaluation": given})
    with open_run(tmp_path / "run", config) as run:
        run_loop(config, run)
    names = ["SFT", "M0", "M1", "M2"]
    folders = {name: tmp_path / "run" / name / "evaluation" for name in names}
    figures = saved_figures(folders["M2"] / "head_to_head/figures.json")
    assert sorted(figures["against"]) == sorted(names[:-1])
    assert {found["prompts"] for found in figures["against"].values()} == {6}
    assert all((folder / "diversity/figures.json").exists() for folder in folders.values())
    watched = Counting()
    given["suites"] = [*first, {"suite": "ifeval", "data": str(data)}]
    config = override(tiny_config, ["iterations=2"], {"evaluation": given})
    with open_run(tmp_path / "run", config, progress=watched) as run:
        run_loop(config, run)
    wanted = [(name, [f"evaluation/ifeval/{part}" for part in PARTS]) for name in names]
    follows = {"M1": ["monitors"], "M2": ["monitors"]}  # figures of figures, made anew
    made = [f"{name}/{step}" for name, steps in wanted for step in [*steps, *follows.get(name, [])]]
    assert watched.made == made
    begun = {state["step"] for state in run_states(tmp_path / "run")}
    assert set(step_names(config, ranks_alone=False)) <= begun
    shown = write_report(tmp_path / "run")[0].read_text()
    assert "ifeval" in shown
    assert "M2 against SFT" in shown


def test_a_baseline_that_comes_later_meets_those_that_are_there(tiny_config, tiny, tmp_path):
    suites = [{"suite": "head_to_head", "rubric": "additive", "limit": 4}]
    given = {"judge": {"model": str(tiny.path)}, "suites": suites}
    for baseline in (False, True):
        watched = Counting()
        config = override(tiny_config, ["iterations=1"], {"evaluation": {**given, "sft_baseline": baseline}})
        with open_run(tmp_path / "run", config, progress=watched) as run:
            run_loop(config, run)
    assert {step.split("/")[0] for step in watched.made} == {"SFT", "M0", "M1"}
    again = ("M1/sft", "M0/evaluation/head_to_head/answers", "M1/evaluation/head_to_head/judgments")
    assert not set(again) & set(watched.made)
    assert "M1/evaluation/head_to_head/against_SFT" in watched.made
    assert "M1/evaluation/head_to_head/against_M0" not in watched.made


def test_redo_of_a_suite_forgets_no_model(tiny_config, tiny, tmp_path):
    suites = [{"suite": "diversity", "limit": 2}]
    config = override(tiny_config, ["iterations=2"], {"evaluation": {"suites": suites}})
    with open_run(tmp_path / "run", config) as run:
        run_loop(config, run)
    watched = Counting()
    with open_run(tmp_path / "run", config, progress=watched, redo="M0/evaluation/diversity/answers") as run:
        run_loop(config, run)
    assert {step.split("/", 1)[1].split("/")[1] for step in watched.made} == {"diversity"}
    assert {step.split("/")[0] for step in watched.made} == {"M0", "M1", "M2"}


def by_model(monkeypatch, scripts):
    """Let every engine of the loop say what the script of its model says, else that of M0."""

    @contextmanager
    def opened(section, model, **_):
        yield ScriptedEngine(scripts.get(model.name, scripts["M0"]), name=model.digest)

    for place in ("srlm.loop", "srlm.engines.opening", "srlm.evaluation.panel", "srlm.monitors.monitor"):
        monkeypatch.setattr(f"{place}.open_engine", opened)


def of_variety(request, draw):
    """A judge that counts different words, and a writer that has them."""
    if request.purpose == "judgment":
        said = request.conversation[-1].content.partition("<response>")[2].partition("</response>")[0]
        return f"Words.\nScore: {min(5, len(set(said.split())) // 3)}"
    return ScriptedEngine()._script(request, draw)


def in_loops(request, draw):
    said = of_variety(request, draw)
    return (
        said
        if request.purpose in {"judgment", "prompt"}
        else " ".join(said.split()[: 3 + 3 * (draw % 2)] * 20)
    )


@pytest.mark.parametrize("preset", ["strict", "warn", "off"])
def test_a_model_that_collapses_is_rolled_back(preset, tiny, tmp_path, monkeypatch):
    """M2's answers go in loops: M1 as the judge says so, and the best model is M1."""
    last, status = ("M2", 4) if preset == "strict" else ("M3", 0)
    by_model(monkeypatch, {"M0": of_variety, "M2": in_loops})
    given = [*tiny_overrides(tiny.path), f"gates.preset={preset}", "dpo.epochs=0.4"]
    ran = CliRunner().invoke(main, ["run", "smollm2", *given, "--runs", str(tmp_path), "--name", "run"])
    folder = tmp_path / "run"
    assert ran.exit_code == status, ran.output
    ended = json.loads((folder / "outcome.json").read_text())
    assert (folder / last / "model/model.safetensors").exists()
    assert (folder / "M3").exists() == (last == "M3")
    if preset == "off":
        assert not list(folder.glob("M*/monitors.json"))
        assert not (folder / "best").exists()
        return
    assert "M1 as the judge prefers the answers of M1" in ran.output
    kept = signals_of(folder / "M2")
    assert kept["repetition in answers, above M1's"]["alarm"]
    assert kept["win rate over M1 by the frozen judge"]["value"] < 0.1
    assert "M2:" in (folder / "report/report.md").read_text().partition("## Judging")[0]
    if preset == "strict":
        assert ended["action"] == "roll_back"
        assert "M1 as the judge prefers the answers of M1" in ended["verdict"]
        assert ended["best"] == "M1"
        assert f"srlm chat {folder / 'M1'}\n" in ran.output
        assert (folder / "best").resolve() == (folder / "M1").resolve()
        assert load_file(folder / "best/model/model.safetensors")
        again = CliRunner().invoke(main, ["run", "smollm2", *given, "--runs", str(tmp_path), "--name", "run"])
        assert again.exit_code == status  # the same command says the same


def signals_of(model):
    return {item["name"]: item for item in json.loads((model / "monitors.json").read_text())["signals"]}


def twice_as_long(request, draw):
    said = of_variety(request, draw)
    return f"{said} {ScriptedEngine()._script(request, draw + 1)}" if request.purpose == "response" else said


def says_all_twice(request, draw):
    """As long as others' answers, with half as many different words."""
    said = of_variety(request, draw)
    words = said.split()
    return " ".join(words[: (len(words) + 1) // 2] * 2) if request.purpose == "response" else said


def strict_run(tiny, folder, *more):
    given = [*tiny_overrides(tiny.path), "gates.preset=strict", "dpo.epochs=0.4", *more]
    ran = CliRunner().invoke(main, ["run", "smollm2", *given, "--runs", str(folder), "--name", "run"])
    return ran, json.loads((folder / "run/outcome.json").read_text())


def test_answers_that_grow_stop_a_strict_run(tiny, tmp_path, monkeypatch):
    by_model(monkeypatch, {"M0": of_variety, "M2": twice_as_long})
    ran, ended = strict_run(tiny, tmp_path)
    assert ran.exit_code == 3, ran.output
    assert (ended["action"], ended["best"]) == ("stop", "M1")
    assert "answers to the same prompts have grown by more than half since M1" in ended["verdict"]
    assert not (tmp_path / "run/M3").exists()


def test_a_model_behind_the_best_is_rolled_back_though_it_is_no_worse_than_m1(tiny, tmp_path, monkeypatch):
    by_model(monkeypatch, {"M0": says_all_twice, "M2": of_variety})
    ran, ended = strict_run(tiny, tmp_path)
    assert ran.exit_code == 4, ran.output
    assert (ended["action"], ended["best"]) == ("roll_back", "M2")
    assert "prefers the answers of the best model" in ended["verdict"]
    kept = {
        item["name"]: item for item in json.loads((tmp_path / "run/M3/monitors.json").read_text())["signals"]
    }
    assert kept["win rate over M1 by the frozen judge"]["alarm"] is None
    assert kept["win rate over the best model by the frozen judge"]["value"] < 0.3


def test_m1_is_the_frozen_judge_of_its_own_answers_whoever_judges_the_rounds(tiny, tmp_path, monkeypatch):
    """Another judge says 1 or 2 of everything, M1 itself 5: M2, which answers as M1 does, wins half."""
    other = tmp_path / "judge"
    shutil.copytree(tiny.path, other)

    def grudging(request, draw):
        said = of_variety(request, draw)
        return f"Score: {1 + seed_for(said) % 2}" if request.purpose == "judgment" else said

    def generous(request, draw):
        return "Score: 5" if request.purpose == "judgment" else of_variety(request, draw)

    by_model(monkeypatch, {"M0": generous, str(other): grudging})
    ran, _ = strict_run(tiny, tmp_path, f"judge.judge={other}")
    folder = tmp_path / "run"
    assert ran.exit_code == 0, ran.output
    scores = {
        kind: {item.score for item in read_records(folder / f"M1/watch/{kind}.jsonl", Judgment)}
        for kind in ("own", "frozen")
    }
    assert scores["frozen"] == {5}
    assert max(scores["own"]) < 5
    kept = signals_of(folder / "M2")
    assert kept["win rate over M1 by the frozen judge"]["value"] == 0.5
    config = saved_config(folder)
    assert [state["step"] for state in run_states(folder)] == step_names(config, ranks_alone=False)


PARTS = ("answers", "figures")


@pytest.mark.parametrize(
    ("reply", "reason"), [("Score: 3", "tie"), ("I would rather not judge.", "unscored")]
)
def test_a_judge_that_separates_nothing_ends_the_run_with_a_verdict(
    tiny_config, tmp_path, monkeypatch, reply, reason
):
    scripted(monkeypatch, judging(reply))
    with open_run(tmp_path, tiny_config) as run:
        outcome = run_loop(tiny_config, run)
    assert outcome.model.name == "M1"
    assert f"6 {reason}" in outcome.verdict
    assert "M2 was not trained" in outcome.verdict
    assert (tmp_path / "M1/model/model.safetensors").exists()
    assert not (tmp_path / "M2/dpo").exists()
    signals = json.loads((tmp_path / "M2/monitors.json").read_text())["signals"]
    assert {item["name"]: item["value"] for item in signals}["prompts without a pair"] == 1.0
    figures = json.loads((tmp_path / "M1/evaluation/figures.json").read_text())["judge"]
    assert figures["unreadable"] == (1.0 if reason == "unscored" else 0.0)
    markdown, _ = write_report(tmp_path)
    assert reason in markdown.read_text()


@pytest.fixture
def ranks_alone(tiny_config, tmp_path):
    """A config whose ranked answers have no score: three answers a prompt, good, fair and bad."""
    lines = [
        {
            "prompt": f"How do I mend thing number {n}?",
            "split": "heldout" if n < 4 else "train",
            "answers": [
                {"text": f"{word} advice on {n}.", "rank": rank} for rank, word in enumerate(QUALITY)
            ],
        }
        for n in range(12)
    ]
    path = tmp_path / "ranked.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    data = tiny_config.data.model_copy(update={"ranked": (str(path),)})
    return tiny_config.model_copy(update={"data": data, "iterations": 1})


QUALITY = {"Good": 5, "Fair": 3, "Bad": 0}


def of_quality(request, draw):
    """A judge that sees quality, but is wrong in its first draw and of every fourth prompt."""
    text = request.conversation[-1].content
    if request.purpose != "judgment":
        return "An answer."
    score = next((score for word, score in QUALITY.items() if f"{word} advice" in text), 2)
    wrong = draw == 0 or any(f"on {n}." in text for n in (4, 8))
    return f"I looked at it.\nScore: {5 - score if wrong else score}"


def test_ranked_answers_without_scores_are_scored_by_the_sft_baseline(ranks_alone, tmp_path, monkeypatch):
    """Of 8 training prompts the judge is wrong about 2; the other 6 agree from the second draw on.

    18 answers agree, 6 of each score: a cap of 0.4 leaves them alone, one of 0.3 allows 0.3 / 0.7 * 12 = 5.
    """
    scripted(monkeypatch, of_quality)
    config = ranks_alone.model_copy(update={"eft": ranks_alone.eft.model_copy(update={"max_share": 0.3})})
    with open_run(tmp_path / "run", config) as run:
        outcome = run_loop(config, run)
    folder = tmp_path / "run"
    assert outcome.model.name == "M1"
    assert [state["step"] for state in run_states(folder)] == step_names(config, ranks_alone=True)
    counts = next(state for state in run_states(folder) if state["step"] == "M1/eft")["counts"]
    assert counts == {
        "prompts": 8,
        "kept": 6,
        "dropped: order": 2,
        "score 5 before the cap": 6,
        "score 3 before the cap": 6,
        "score 0 before the cap": 6,
        "score 5 after the cap": 5,
        "score 3 after the cap": 6,
        "score 0 after the cap": 6,
        "labelled by agreement": 17,
    }
    taught = list(read_records(folder / "M1/eft.jsonl", Example))
    assert {item.response for item in taught} == {f"I looked at it.\nScore: {n}" for n in (5, 3, 0)}
    trained = list(read_records(folder / "M1/sft/data.jsonl", Example))
    assert sum(item.kind == "eft" for item in trained) == 17
    assert not any(item.kind == "eft" for item in read_records(folder / "SFT/sft/data.jsonl", Example))
    assert json.loads((folder / "M1/sft/job.json").read_text())["model"] == str(config.model.name)
    markdown, _ = write_report(folder)
    said = markdown.read_text()
    assert "17 answers scored by the SFT baseline" in said
    assert "kept 6 of 8 prompts" in said
    assert (
        "scores 0 to 5 before the cap of the commonest: 6, 0, 0, 6, 0, 6; after it: 6, 0, 0, 6, 0, 5" in said
    )
    assert "| SFT |" in said


def test_a_baseline_that_agrees_with_nobody_says_what_to_do(ranks_alone, tmp_path, monkeypatch):
    scripted(monkeypatch, judging("Score: 3"))
    with open_run(tmp_path / "run", ranks_alone) as run, pytest.raises(DataError, match="--scores rank"):
        run_loop(ranks_alone, run)
    assert (tmp_path / "run/SFT/model/model.safetensors").exists()


def test_a_model_that_writes_no_usable_prompt_ends_the_run_with_a_verdict(tiny_config, tmp_path, monkeypatch):
    scripted(monkeypatch, lambda request, draw: "No." if request.purpose == "prompt" else "Text.\nScore: 2")
    with open_run(tmp_path, tiny_config) as run:
        outcome = run_loop(tiny_config, run)
    assert "no prompts were kept" in outcome.verdict


def test_a_training_that_fails_loses_nothing(tiny_config, tmp_path):
    short = tiny_config.model_copy(update={"dpo": tiny_config.dpo.model_copy(update={"max_length": 16})})
    with open_run(tmp_path, short) as run, pytest.raises(TrainingError, match=r"raise dpo\.max_length"):
        run_loop(short, run)
    with pytest.raises(RunChanged, match="--redo M2/dpo"), open_run(tmp_path, tiny_config):
        pass
    seen = Counting()
    config = tiny_config.model_copy(update={"iterations": 2})
    with open_run(tmp_path, config, progress=seen, redo="M2/dpo") as run:
        assert run_loop(config, run).model.name == "M2"
    assert "M2/judgments" in seen.skipped
    assert "M2/dpo" in seen.made


def test_what_later_papers_add_to_a_round_is_trained_on(tiny_config, tiny, tmp_path, monkeypatch):
    keys = [
        "pairs.rank_by=judge",
        "pairs.labels=spa",
        "pairs.earlier=1",
        "judge_training.methods=[meta, self_taught, replay]",
    ]
    keys += ["judge_training.share=0.49", "dpo.batch_size=8", "engine.kind=local"]
    keys += ["judge_training.max_tokens=8", "evaluation.answers.max_tokens=4", "gates.preset=off"]
    config = load("smollm2", [*tiny_overrides(tiny.path), *keys]).config
    plain = ScriptedEngine()._script

    def prefers(request, draw):
        """Of two judgments the one that comes first in the alphabet, wherever it stands."""
        text = request.conversation[0].content
        if "<judgment_a>" not in text:
            return plain(request, draw)
        first, second = (text.split(f"<judgment_{side}>")[1].strip() for side in "ab")
        return f"Verdict: {'A' if first < second else 'B'}"

    scripted(monkeypatch, prefers)
    with open_run(tmp_path / "run", config) as run:
        run_loop(config, run)
    added = ("meta_judgments", "judge_pairs", "worse_responses", "worse_judgments", "likelihoods")
    in_order = [step for step in step_names(config, ranks_alone=False) if step.startswith("M3/")]
    assert in_order[3:8] == [f"M3/{step}" for step in added]
    made = {state["step"] for state in states(tmp_path / "run")}
    assert made == set(step_names(config, ranks_alone=False))
    said = list(read_records(tmp_path / "run/M2/likelihoods.jsonl", Likelihood))
    assert all(len(one.nats) == 2 for one in said)  # M1 and M0
    assert all(len(one.nats) == 3 for one in read_records(tmp_path / "run/M3/likelihoods.jsonl", Likelihood))
    pairs, again = (
        {pair.id for pair in read_records(tmp_path / "run" / name / "pairs.jsonl", Pair)}
        for name in ("M2", "M3")
    )
    trained = [pair.id for pair in read_records(tmp_path / "run/M3/dpo/data.jsonl", Pair)]
    assert sorted(trained) == sorted([*pairs, *again])
    about = {pair.id for pair in read_records(tmp_path / "run/M2/judge_pairs.jsonl", Pair)}
    beside = list(read_records(tmp_path / "run/M2/dpo/beside_pairs.jsonl", Pair))
    assert beside
    assert {pair.about for pair in beside} == {"judging"}
    assert {pair.id for pair in beside} <= about


def test_without_eft_m1_learns_from_instructions_alone(tiny_config, tmp_path):
    config = tiny_config.model_copy(update={"eft": tiny_config.eft.model_copy(update={"teach": False})})
    with open_run(tmp_path / "run", config) as run:
        run_loop(config, run)
    kinds = {item.kind for item in read_records(tmp_path / "run/M1/sft/data.jsonl", Example)}
    assert kinds == {"ift"}
    assert not (tmp_path / "run/M1/eft.jsonl").exists()
    assert (tmp_path / "run/M3/model").exists() or (tmp_path / "run/M2/pairs.step.json").exists()


def test_temporal_anchors_come_from_m1_and_from_one_step_ahead(tiny, tmp_path, monkeypatch):
    keys = ["pairs.opponents=temporal", "gates.preset=off", "evaluation.answers.max_tokens=4"]
    keys += ["judge_training.methods=replay", "judge_training.share=0.3", "dpo.batch_size=8"]
    config = load("smollm2", [*tiny_overrides(tiny.path), *keys]).config
    scripted(monkeypatch, ScriptedEngine()._script)
    with open_run(tmp_path / "run", config) as run:
        run_loop(config, run)
    made = {state["step"] for state in states(tmp_path / "run")}
    assert made == set(step_names(config, ranks_alone=False))
    pairs = list(read_records(tmp_path / "run/M3/pairs.jsonl", Pair))
    sides = {
        name: {one.id for one in read_records(tmp_path / f"run/M3/{name}.jsonl", Response)}
        for name in ("ahead_responses", "anchor_responses")
    }
    assert pairs
    assert {pair.chosen_id for pair in pairs} <= sides["ahead_responses"]
    assert {pair.rejected_id for pair in pairs} <= sides["anchor_responses"]
    taught = {item.id for item in read_records(tmp_path / "run/M1/eft.jsonl", Example)}
    again = list(read_records(tmp_path / "run/M3/dpo/beside_examples.jsonl", Example))
    assert len(again) == len(pairs) * 2 // 6  # two of eight
    assert {item.id for item in again} <= taught
    page, *_ = write_report(tmp_path / "run")
    assert page.exists()


def test_spin_learns_from_the_seeds_answers_in_every_round(tiny, tmp_path, monkeypatch):
    keys = ["pairs.opponents=spin", "gates.preset=off", "evaluation.answers.max_tokens=4", "prompts.count=5"]
    config = load("smollm2", [*tiny_overrides(tiny.path), *keys]).config
    scripted(monkeypatch, ScriptedEngine()._script)
    with open_run(tmp_path / "run", config) as run:
        run_loop(config, run)
    answers = {item.prompt: item.response for item in load_seed(config.data).instructions}
    for name in ("M2", "M3"):
        pairs = list(read_records(tmp_path / f"run/{name}/pairs.jsonl", Pair))
        assert len(pairs) == 5
        assert all(pair.chosen == answers[pair.prompt] for pair in pairs)


def test_m1_may_judge_where_a_baseline_is_measured_before_it(tiny_config, tmp_path):
    config = override(tiny_config, ["judge.judge=M1", "evaluation.sft_baseline=true", "iterations=1"])
    with open_run(tmp_path / "run", config) as run:
        run_loop(config, run)
    made = [state["step"] for state in states(tmp_path / "run")]
    assert set(made) == set(step_names(config, ranks_alone=False))
    digests = {
        name: json.loads((tmp_path / f"run/{name}/evaluation/judgments.step.json").read_text())["given"][
            "inputs"
        ][0]
        for name in ("SFT", "M0", "M1")
    }
    assert len(set(digests.values())) == 1  # one judge for all
