"""The commands about seeds and judges, as a user calls them; text from the scripted engine."""

import gzip
import json
import re

import pytest
from click.testing import CliRunner

from srlm.cli import main
from srlm.judging.rubric import load_rubric
from srlm.records import Judgment
from srlm.seeds import RankedPrompt
from srlm.store.jsonl import read_records

SCRIPTED = "engine.kind=scripted"


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)

    return call


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


@pytest.fixture
def answers(tmp_path):
    lines = [{"prompt": f"What is thing {n}?", "response": f"It is {n}.", "own": n} for n in range(7)]
    lines.insert(2, {"prompt": True, "response": "x"})
    path = write(tmp_path / "answers.jsonl", lines)
    path.write_text(path.read_text() + "{broken\n")
    return path


def test_judge_scores_a_file_and_keeps_its_lines(cli, tiny, answers, tmp_path):
    result = cli("judge", answers, SCRIPTED, "judge.samples=2", "--model", tiny.path, "--out", "out")
    assert result.exit_code == 0
    assert "7 responses judged" in result.output
    assert "line 3: prompt is not a text but true or false: left out" in result.output
    assert "line 9: not JSON" in result.output
    lines = [json.loads(line) for line in (tmp_path / "out/judged.jsonl").read_text().splitlines()]
    assert [line["judgment"]["line"] for line in lines] == list(range(1, 10))
    assert [line.get("own") for line in lines] == [0, 1, None, 2, 3, 4, 5, 6, None]
    for line in lines:
        assert (line["judgment"]["score"] is None) == (line["judgment"]["fault"] is not None)
    judgment = lines[0]["judgment"]
    assert judgment["score"] == sum(judgment["scores"]) / 2
    assert judgment["rubric"] == load_rubric("additive").version


def test_judge_goes_on_where_it_was_stopped(cli, tiny, answers, tmp_path):
    words = ("judge", answers, SCRIPTED, "judge.block=2", "--model", tiny.path, "--out")
    cli(*words, "whole")
    cli(*words, "cut")
    state = json.loads((tmp_path / "cut/judgments.step.json").read_text())
    path = tmp_path / "cut/judgments.jsonl"
    first = b"".join(path.read_bytes().splitlines(keepends=True)[:2])
    path.write_bytes(path.read_bytes()[: len(first) + 40])  # one block, and a torn line of the next
    state |= {"done": False, "blocks": 1, "records": 2, "bytes": len(first), "digest": None}
    (tmp_path / "cut/judgments.step.json").write_text(json.dumps(state))
    cli(*words, "cut")
    for name in ("judgments.jsonl", "judged.jsonl"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_judge_refuses_to_mix_settings(cli, tiny, answers):
    cli("judge", answers, SCRIPTED, "--model", tiny.path, "--out", "out")
    result = cli("judge", answers, SCRIPTED, "judge.samples=5", "--model", tiny.path, "--out", "out")
    assert result.exit_code == 2
    assert "judge.samples: 3 then, 5 now" in result.output
    assert "choose another --out" in result.output


def test_judge_with_named_fields_and_expected_scores(cli, tiny, tmp_path):
    path = write(tmp_path / "own.jsonl", [{"q": "Why?", "a": "Because."}])
    words = ("judge", path, SCRIPTED, "judge.scoring=expected", "judge.justify=false", "--model", tiny.path)
    result = cli(*words, "--map", "prompt=q", "--map", "response=a", "--out", "out")
    assert result.exit_code == 0, result.output
    judgment = json.loads((tmp_path / "out/judged.jsonl").read_text())["judgment"]
    assert judgment["score"] == judgment["expected"][0]
    assert judgment["outside"] == [pytest.approx(0.1)]
    assert 0 < judgment["variance"] < 6.25
    wrong = cli(*words, "--out", "other")
    assert "no line of it has a prompt and a response" in wrong.output


def test_reparse_reads_stored_replies_again_without_a_model(cli, tiny, answers, tmp_path):
    cli("judge", answers, SCRIPTED, "--model", tiny.path, "--out", "out")
    path = tmp_path / "out/judgments.jsonl"
    stored = list(read_records(path, Judgment))
    same = cli("judge", path, "--reparse")
    assert "7 judgments read again, 0 scores changed" in same.output
    spoilt = [item.model_copy(update={"score": 99.0, "scores": (99.0,) * 3}) for item in stored]
    write(path, [item.model_dump(mode="json") for item in spoilt])
    result = cli("judge", path, "--reparse", "--out", "again.jsonl")
    assert "7 scores changed" in result.output
    assert list(read_records(tmp_path / "again.jsonl", Judgment)) == stored
    other = cli("judge", path, "--reparse", "--rubric", "mt_bench", "--out", "other.jsonl")
    assert "21 no score" in other.output  # nobody wrote [[n]]


def test_reparse_reads_by_the_rubric_that_judged_or_asks_for_it(cli, tiny, answers, tmp_path):
    (tmp_path / "my").mkdir()
    own = tmp_path / "my/additive.md"
    own.write_text(
        '---\nscale: [0, 9]\nverdict: "Score: {}"\n---\n'
        "<i>{{instruction}}</i> <r>{{response}}</r>\nScore: <0 to 9>"
    )
    cli("judge", answers, SCRIPTED, f"judge.rubric={own}", "--model", tiny.path, "--out", "out")
    result = cli("judge", "out/judgments.jsonl", "--reparse")
    assert result.exit_code == 2
    assert "not built in as it was then" in result.output
    again = cli("judge", "out/judgments.jsonl", "--reparse", "--rubric", own)
    assert "0 scores changed" in again.output


def test_options_that_would_be_ignored_are_refused(cli, tiny, answers):
    assert "write judge.rubric=" in cli("judge", answers, "--model", tiny.path, "--rubric", "mt_bench").output
    result = cli("judge", answers, "--reparse", "--model", tiny.path)
    assert "uses no model" in result.output
    own = cli("judge", answers, SCRIPTED, "judge.judge=smollm2-135m-instruct", "--model", tiny.path)
    assert "give that model as --model" in own.output


def test_a_file_that_was_judged_before_is_refused_before_any_work(cli, tiny, tmp_path):
    path = write(tmp_path / "judged.jsonl", [{"prompt": "a", "response": "b", "judgment": {"score": 1}}])
    result = cli("judge", path, SCRIPTED, "--model", tiny.path, "--out", "out")
    assert "`judgment` already" in result.output
    assert not (tmp_path / "out/judgments.jsonl").exists()


def test_an_evaluation_inside_a_runs_folder_is_no_part_of_that_run(cli, tiny, tmp_path):
    from srlm.store.states import run_states

    path = write(tmp_path / "votes.jsonl", VOTES)
    cli("eval", "judge", SCRIPTED, "--model", tiny.path, "--data", path, "--out", "outer")
    cli("eval", "judge", SCRIPTED, "--model", tiny.path, "--data", path, "--out", "outer/inner")
    steps = [state["step"] for state in run_states(tmp_path / "outer")]
    assert steps == ["votes/judgments", "votes/figures"]


def test_the_config_of_the_models_own_run_is_taken_and_no_other_config_json(cli, tiny, tmp_path):
    import shutil

    shutil.copytree(tiny.path, tmp_path / "trained/checkpoint-5")
    (tmp_path / "trained/config.json").write_text("{}")
    path = write(tmp_path / "votes.jsonl", VOTES)
    words = ("eval", "judge", SCRIPTED, "--data", path, "--model")
    assert cli(*words, "trained/checkpoint-5", "--out", "one").exit_code == 0
    cli("eval", "judge", SCRIPTED, "judge.samples=2", "--data", path, "--model", tiny.path, "--out", "run")
    shutil.copytree(tiny.path, tmp_path / "run/M1/model")
    for name in ("run/M1", "run/M1/model"):
        assert cli(*words, name, "--out", name.replace("/", "-")).exit_code == 0
        saved = json.loads((tmp_path / name.replace("/", "-") / "config.json").read_text())
        assert saved["config"]["judge"]["samples"] == 2


def test_judge_needs_a_model_or_reparse(cli, answers):
    result = cli("judge", answers)
    assert result.exit_code == 2
    assert "no model is named" in result.output


VOTES = [
    {"input": f"Say {n}.", "output_1": f"{n} it is.", "output_2": f"No, not {n} again!", "label": 1 + n % 2}
    for n in range(12)
]


def test_eval_judge_prints_the_five_metrics(cli, tiny, tmp_path):
    path = write(tmp_path / "votes.jsonl", VOTES)
    result = cli("eval", "judge", SCRIPTED, "--model", tiny.path, "--data", path, "--out", "out")
    assert result.exit_code == 0, result.output
    for word in (
        "pairwise accuracy",
        "longer wins",
        "5-best",
        "exact match",
        "Spearman",
        "Kendall",
        "similar",
    ):
        assert word.lower() in result.output.lower()
    figures = json.loads((tmp_path / "out/figures.json").read_text())["votes"]
    assert sum(figures["pairs"].values()) == 12
    assert figures["longer_wins"]["pairwise"]["half"]["value"] == 0.5


def test_eval_judge_names_the_lines_it_cannot_use(cli, tiny, tmp_path):
    path = write(
        tmp_path / "votes.jsonl", [*VOTES, {"input": "x", "output_1": "", "output_2": "y", "label": 1}]
    )
    result = cli("eval", "judge", SCRIPTED, "--model", tiny.path, "--data", path, "--out", "out")
    assert "votes.jsonl, line 13" in result.output


def test_eval_judge_takes_held_out_lines_where_lines_name_a_side(cli, tiny, tmp_path):
    lines = [
        {
            "prompt": f"Question {n}?",
            "split": "heldout" if n == 0 else "train",
            "answers": [{"text": "Yes.", "rank": 0}, {"text": "No.", "rank": 1}],
        }
        for n in range(4)
    ]
    path = write(tmp_path / "ranked.jsonl", lines)
    cli("eval", "judge", SCRIPTED, "--model", tiny.path, "--data", path, "--out", "out")
    figures = json.loads((tmp_path / "out/figures.json").read_text())["ranked"]
    assert figures["prompts"] == 1


def test_eval_judge_refuses_two_sets_of_one_name_and_comparing_rubrics(cli, tiny, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (write(tmp_path / side / "votes.jsonl", VOTES) for side in "ab")
    words = ("eval", "judge", SCRIPTED, "--model", tiny.path, "--out", "out", "--data", one)
    assert "two of them are called votes" in cli(*words, "--data", other).output
    assert "compares two responses" in cli(*words, "judge.rubric=pairwise").output


def test_eval_bias_prints_every_probe_with_a_verdict(cli, tiny, tmp_path):
    words = ("eval", "bias", SCRIPTED, "judge.scoring=expected", "judge.justify=false")
    result = cli(*words, "--model", tiny.path, "--prompts", "8", "--out", "out")
    assert result.exit_code == 0, result.output
    for word in ("position", "verbosity", "self-preference", "token: a colon", "injection", "not known"):
        assert word in result.output
    figures = json.loads((tmp_path / "out/bias.json").read_text())
    assert figures["prompts"] == 8
    assert len(figures["probes"]) == 10


def message(key, text, role, **others):
    sound = {"lang": "en", "review_result": True, "deleted": False, "synthetic": False, "replies": []}
    return {"message_id": key, "text": text, "role": role} | sound | others


def tree(number):
    answers = [
        message(f"{number}-{rank}", f"Answer {rank} to {number}.", "assistant", rank=rank)
        for rank in range(3)
    ]
    words = [("apples", "bread", "cheese", "dates")[number // 4**place % 4] for place in range(3)]
    prompt = message(str(number), f"{number}: {' '.join(words)}?", "prompter", replies=answers)
    return {"message_tree_id": str(number), "tree_state": "ready_for_export", "prompt": prompt}


@pytest.fixture
def trees(tmp_path):
    path = tmp_path / "some.trees.jsonl.gz"
    path.write_bytes(gzip.compress("".join(json.dumps(tree(n)) + "\n" for n in range(40)).encode()))
    return path


def test_seed_build_makes_files_that_a_run_takes(cli, trees, tmp_path):
    result = cli("seed", "build", "oasst", trees, "--scores", "rank", "--out", "seed")
    assert result.exit_code == 0, result.output
    assert re.search(r"labelled by people +40 +40 +120", result.output)
    assert re.search(r"paper, to train on +3,200 +1,630", result.output)
    said = re.search(r"srlm run smollm2 (\S+) (\S+) --name", result.output)
    planned = cli("plan", "smollm2", said[1], said[2], "--no-calibrate")
    assert planned.exit_code == 0, planned.output
    assert json.loads((tmp_path / "seed/funnel.json").read_text())["paper"]["eft_train"] == 1630


def test_seed_build_keeps_evaluation_prompts_out(cli, trees, tmp_path):
    avoid = write(
        tmp_path / "evaluation.jsonl", [{"instruction": tree(n)["prompt"]["text"]} for n in range(5)]
    )
    result = cli("seed", "build", "oasst", trees, "--avoid", avoid, "--out", "seed")
    built = (tmp_path / "seed/instructions.jsonl").read_text() + (tmp_path / "seed/ranked.jsonl").read_text()
    assert result.exit_code == 0, result.output
    for n in range(5):
        assert tree(n)["prompt"]["text"] not in built


def test_seed_build_refuses_evaluation_prompts_it_cannot_read(cli, trees, tmp_path):
    avoid = write(tmp_path / "evaluation.jsonl", [{"prompt": "Why?"}, {"id": 3}])
    result = cli("seed", "build", "oasst", trees, "--avoid", avoid, "--out", "seed")
    assert result.exit_code == 2
    assert "line 2" in result.output


def test_seed_score_keeps_what_agrees_and_prints_why(cli, tiny, trees, tmp_path):
    cli("seed", "build", "oasst", trees, "--eft-share", "1", "--out", "seed")
    words = ("seed", "score", "seed/ranked.jsonl", SCRIPTED, "eft.samples=4", "--model", tiny.path)
    result = cli(*words, "--out", "scored")
    assert result.exit_code == 0, result.output
    assert re.search(r"kept: a draw agrees +\d+", result.output)
    assert re.search(r"score +before +after", result.output)
    lines = [
        RankedPrompt.model_validate_json(line)
        for line in (tmp_path / "scored/ranked.jsonl").read_text().splitlines()
    ]
    trained = [line for line in lines if line.split == "train"]
    assert trained
    for line in trained:
        scores = [a.score for a in sorted(line.answers, key=lambda a: a.rank) if a.score is not None]
        assert scores == sorted(scores, reverse=True)
        assert all(a.labelled_by == "agreement" for a in line.answers if a.score is not None)
    assert any(line.split == "heldout" and not line.is_scored for line in lines)


def test_seed_score_says_when_nothing_agrees(cli, tiny, trees):
    cli("seed", "build", "oasst", trees, "--eft-share", "1", "--out", "seed")
    words = ("seed", "score", "seed/ranked.jsonl", SCRIPTED, "eft.max_tokens=1", "--model", tiny.path)
    result = cli(*words, "--out", "scored")
    assert result.exit_code == 0, result.output
    assert "Nothing agreed" in result.output
    assert "Use it" not in result.output


def test_seed_build_preferences_and_check(cli, tmp_path):
    path = write(
        tmp_path / "votes.jsonl", [*VOTES, {"input": "x", "output_1": "", "output_2": "y", "label": 1}]
    )
    result = cli("seed", "build", "preferences", path, "--out", "seed")
    assert result.exit_code == 0, result.output
    assert "llmbar, 12 prompts" in result.output
    lines = (tmp_path / "seed/ranked.jsonl").read_text().splitlines()
    assert [a["rank"] for a in json.loads(lines[0])["answers"]] == [0, 1]
    checked = cli("seed", "check", path)
    assert checked.exit_code == 0, checked.output
    assert "llmbar" in checked.output
    mapped = cli(
        "seed", "check", path, "--map", "prompt=input", "--map", "better=output_1", "--map", "worse=output_2"
    )
    assert mapped.exit_code == 0, mapped.output


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["seed", "build", "oasst", "nowhere.jsonl", "--out", "x"], "cannot be read"),
        (["seed", "check", "nowhere.jsonl"], "cannot be read"),
        (["seed", "check", "empty.jsonl"], "no lines"),
        (["judge", "nowhere.jsonl", "--model", "x"], "cannot be read"),
        (["judge", "empty.jsonl", "--reparse"], "holds no judgments"),
        (["judge", "nowhere.jsonl", "--reparse"], "no such file"),
        (["eval", "judge", "--model", "x", "--data", "nowhere.jsonl", "--out", "y"], "cannot be read"),
    ],
)
def test_bad_input_has_three_parts(cli, tmp_path, words, part):
    (tmp_path / "empty.jsonl").write_text("")
    result = cli(*words)
    assert result.exit_code == 2
    for text in ("Error: ", part, "Why: ", "What to do: "):
        assert text in result.output
