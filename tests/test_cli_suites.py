"""``srlm eval SUITE`` as a user calls it; text from the scripted engine, or from a server on loopback."""

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from scipy.stats import binomtest

from fake_server import serving, status
from srlm.cli import main
from srlm.config import Suite, section_types
from srlm.evaluation.alpaca import alpaca_eval, read_annotations
from srlm.records import Comparison, Judgment, Response
from srlm.store.jsonl import read_records

SCRIPTED = "engine.kind=scripted"
COMPARING = """---
choices: [A, B, tie]
verdict: "Score: {}"
---
<i>{{instruction}}</i> <a>{{first}}</a> <b>{{second}}</b> Score: <A, B or tie>
"""


@pytest.fixture
def cli(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        return CliRunner().invoke(main, [str(argument) for argument in arguments], catch_exceptions=False)

    return call


@pytest.fixture
def other(tiny, tmp_path):
    """The tiny model again, of other bytes and so with other scripted answers."""
    folder = tmp_path / "other"
    shutil.copytree(tiny.path, folder)
    (folder / "more.json").write_text("{}")
    return folder


def write(path, lines):
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def figures(folder):
    (path,) = (path for path in Path(folder).glob("*.json") if path.stem not in {"run", "config"})
    return json.loads(path.read_text())


@pytest.fixture
def prompts(tmp_path):
    return write(tmp_path / "prompts.jsonl", [{"prompt": f"Name {n} birds."} for n in range(2, 14)])


def test_every_suite_has_a_command_whose_help_names_its_keys(cli):
    kinds = [kind for kind in section_types().values() if issubclass(kind, Suite)]
    assert len(kinds) == 8
    for kind in kinds:
        name = kind.model_fields["suite"].default
        shown = cli("eval", name.replace("_", "-"), "--help").output
        assert all(f"{key}=" in shown for key in kind.model_fields if key != "suite")
        assert ("--judge" in shown) == kind.judged


def test_head_to_head_asks_both_orders_and_keeps_everything(cli, tiny, other, prompts, tmp_path):
    words = ("eval", "head-to-head", SCRIPTED, f"prompts={prompts}", "--model", tiny.path, "--model", other)
    result = cli(*words, "--judge", tiny.path, "--out", "out", "evaluation.judge.justify=false")
    assert result.exit_code == 0, result.output
    found = figures("out")["models"]["other"]["against"]["model"]
    compared = list(
        read_records(tmp_path / "out/other/evaluation/head_to_head/comparisons_model.jsonl", Comparison)
    )
    assert len(compared) == 24
    assert {(one.first_id, one.second_id) for one in compared} == {
        (one.second_id, one.first_id) for one in compared
    }
    assert found["wins"] + found["ties"] + found["losses"] == found["prompts"] == 12
    assert found["sign_test"] == binomtest(found["wins"], found["wins"] + found["losses"]).pvalue
    assert "other against model" in result.output
    assert figures("out")["made_with"]["srlm"]
    assert figures("out")["settings"]["prompts"] == str(prompts)


def test_a_stopped_evaluation_goes_on(cli, tiny, other, prompts, tmp_path):
    words = ("eval", "head-to-head", SCRIPTED, f"prompts={prompts}", "block=2", "--model", tiny.path)
    words = (*words, "--model", other, "--judge", tiny.path, "evaluation.judge.block=4", "--out")
    cli(*words, "whole")
    part = tmp_path / "part/other/evaluation/head_to_head"
    shutil.copytree(tmp_path / "whole", tmp_path / "part")
    for name in ("figures", "against_model"):
        (part / f"{name}.json").unlink()
        (part / f"{name}.step.json").unlink()
    state = json.loads((part / "comparisons_model.step.json").read_text())
    lines = (part / "comparisons_model.jsonl").read_bytes().splitlines(keepends=True)
    kept = b"".join(lines[:8])
    state.update(done=False, blocks=2, records=8, bytes=len(kept), progress=[8, 24])
    (part / "comparisons_model.step.json").write_text(json.dumps(state))
    (part / "comparisons_model.jsonl").write_bytes(kept + b"half a li")
    assert cli(*words, "part").exit_code == 0
    assert (part / "comparisons_model.jsonl").read_bytes() == b"".join(lines)
    assert figures("part")["models"] == figures("whole")["models"]


def test_other_settings_in_the_same_folder_are_refused(cli, tiny, prompts):
    words = ("eval", "diversity", SCRIPTED, f"prompts={prompts}", "--model", tiny.path, "--out", "out")
    assert cli(*words, "max_tokens=8").exit_code == 0
    refused = cli(*words, "max_tokens=9")
    assert refused.exit_code == 2
    assert "evaluation.suites.diversity.max_tokens: 8 then, 9 now" in refused.output
    assert "choose another --out" in refused.output


def test_a_rubric_with_grades_decides_by_the_higher_grade(cli, tiny, other, prompts, tmp_path):
    words = ("eval", "head-to-head", SCRIPTED, f"prompts={prompts}", "rubric=additive", "--judge", tiny.path)
    words = (*words, "--model", tiny.path, "--model", other, "--out", "out")
    assert cli(*words).exit_code == 0
    scores, said = {}, {}
    for name in ("model", "other"):
        folder = tmp_path / "out" / name / "evaluation/head_to_head"
        for item in read_records(folder / "judgments.jsonl", Judgment):
            scores[item.response_id] = item.score
        said[name] = {item.prompt_id: item for item in read_records(folder / "answers.jsonl", Response)}
    found = figures("out")["models"]["other"]["against"]["model"]["by_prompt"]
    for prompt, ours in said["other"].items():
        difference = scores[ours.id] - scores[said["model"][prompt].id]
        assert found[prompt] == ("win" if difference > 0 else "loss" if difference < 0 else "tie")
    assert {"win", "loss"} <= set(found.values())


def test_answer_files_take_part_in_any_order(cli, prompts, tiny, tmp_path):
    texts = [json.loads(line)["prompt"] for line in prompts.read_text().splitlines()]
    ours = write(tmp_path / "ours.jsonl", [{"prompt": text, "response": text[::-1]} for text in texts[::-1]])
    theirs = write(tmp_path / "theirs.jsonl", [{"instruction": text, "output": ""} for text in texts])
    words = ("eval", "head-to-head", SCRIPTED, f"prompts={prompts}", "--judge", tiny.path, "--out", "out")
    result = cli(*words, "--answers", ours, "--answers", theirs)
    assert result.exit_code == 0, result.output
    assert figures("out")["models"]["theirs"]["against"]["ours"]["prompts"] == 12


def test_an_answer_file_that_lacks_prompts_is_refused_with_their_names(cli, prompts, tiny, tmp_path):
    texts = [json.loads(line)["prompt"] for line in prompts.read_text().splitlines()]
    ours = write(tmp_path / "ours.jsonl", [{"prompt": text, "response": "x"} for text in texts[2:]])
    result = cli("eval", "diversity", f"prompts={prompts}", "--answers", ours, "--out", "out")
    assert result.exit_code == 2
    assert "2 of the 12 prompts have none in it: `Name 2 birds.`, `Name 3 birds.`" in result.output


def test_a_judge_that_answers_neither_is_counted(cli, tiny, other, prompts, tmp_path):
    rubric = tmp_path / "odd.md"
    rubric.write_text(COMPARING)  # the scripted judge writes "Score: 3", which is none of A, B, tie
    words = ("eval", "head-to-head", SCRIPTED, f"prompts={prompts}", f"rubric={rubric}")
    result = cli(*words, "--model", tiny.path, "--model", other, "--judge", tiny.path, "--out", "out")
    assert result.exit_code == 0, result.output
    found = figures("out")["models"]["other"]["against"]["model"]
    assert found["unreadable"] == found["prompts"] == 12
    assert found["win_rate"]["value"] is None
    assert sum(found["reasons"].values()) == 24


def test_labels_divide_the_wins(cli, tiny, other, prompts):
    words = ("eval", "head-to-head", SCRIPTED, f"prompts={prompts}", "labels=true", "--judge", tiny.path)
    words = (*words, "evaluation.judge.justify=false", "--model", tiny.path, "--model", other, "--out", "out")
    result = cli(*words)
    groups = figures("out")["models"]["other"]["against"]["model"]["by_label"]
    assert sum(group["prompts"] for group in groups["complexity"].values()) == 12
    assert len(groups["category"]) > 1
    assert "complexity" in result.output


BASELINE = [{"instruction": f"Explain {n}.", "output": f"{n} is " + "very " * n + "good."} for n in range(20)]


def test_alpaca_eval_from_a_model_to_both_win_rates(cli, tiny, tmp_path):
    baseline = write(tmp_path / "baseline.jsonl", BASELINE)
    words = ("eval", "alpaca-eval", SCRIPTED, f"baseline={baseline}", "evaluation.judge.justify=false")
    result = cli(*words, "--model", tiny.path, "--judge", tiny.path, "--out", "out")
    assert result.exit_code == 0, result.output
    found = figures("out")["models"]["model"]
    compared = read_records(tmp_path / "out/model/evaluation/alpaca_eval/comparisons.jsonl", Comparison)
    chances = {(one.first_id, one.second_id): one.probabilities for one in compared}
    answers = {
        one.prompt: one
        for one in read_records(tmp_path / "out/model/evaluation/alpaca_eval/answers.jsonl", Response)
    }
    total, lines = 0.0, []
    for row in BASELINE:
        ours = answers[row["instruction"]].id
        (first,) = (value for key, value in chances.items() if key[0] == ours)
        (turned,) = (value for key, value in chances.items() if key[1] == ours)
        share = ((first[0] + first[2] / 2) / sum(first) + (turned[1] + turned[2] / 2) / sum(turned)) / 2
        total += share
        text = answers[row["instruction"]].text
        one = {"instruction": row["instruction"], "output_1": row["output"], "output_2": text}
        lines.append(one | {"preference": 1 + share})
    assert found["win_rate"] == pytest.approx(100 * total / 20)
    same = alpaca_eval(read_annotations(write(tmp_path / "annotations.jsonl", lines)))
    assert found["length_controlled"]["win_rate"] == pytest.approx(same["length_controlled"]["win_rate"])
    assert "20 of 20" in result.output
    again = cli("eval", "alpaca-annotations", tmp_path / "annotations.jsonl")
    assert f"{found['win_rate']:.2f}" in again.output


def test_a_limit_is_spread_over_the_baseline_and_keeps_positions(cli, tiny, tmp_path):
    baseline = write(tmp_path / "baseline.jsonl", BASELINE)
    hard = tmp_path / "hard.csv"
    hard.write_text("index,instruction_difficulty\n" + "".join(f"{n},{n / 10}\n" for n in range(20)))
    words = ("eval", "alpaca-eval", SCRIPTED, f"baseline={baseline}", "limit=5", f"difficulty={hard}")
    cli(*words, "evaluation.judge.justify=false", "--model", tiny.path, "--judge", tiny.path, "--out", "out")
    found = figures("out")["models"]["model"]
    answers = read_records(tmp_path / "out/model/evaluation/alpaca_eval/answers.jsonl", Response)
    assert [one.prompt for one in answers] == [f"Explain {n}." for n in (0, 4, 8, 12, 16)]
    assert found["length_controlled"]["difficulty_by"] == "position"
    assert found["records"] == 5


QUESTIONS = [
    {"question_id": 81 + n, "category": category, "turns": [f"First {n}?", f"Second {n}?"]}
    for n, category in enumerate(["writing", "math", "stem"])
]


def test_mt_bench_shows_the_judge_both_turns_and_the_references(cli, tiny, tmp_path):
    questions = write(tmp_path / "question.jsonl", QUESTIONS)
    references = write(
        tmp_path / "reference.jsonl",
        [{"question_id": 82, "choices": [{"turns": ["the first truth", "the second truth"]}]}],
    )
    with serving() as server:
        words = ("eval", "mt-bench", SCRIPTED, f"questions={questions}", f"references={references}")
        words = (*words, f"servers.judge.base_url={server.url}", "servers.judge.model=j", "--judge", "judge")
        result = cli(*words, "--model", tiny.path, "--out", "out")
        asked = [body["messages"][-1]["content"] for body in server.bodies]
    assert result.exit_code == 0, result.output
    answers = list(read_records(tmp_path / "out/model/evaluation/mt_bench/answers.jsonl", Response))
    assert len(asked) >= len(answers) == 6
    (second,) = {text for text in asked if "Second 1?" in text}
    assert "First 1?" in second
    assert answers[2].text in second
    assert "the first truth" in second
    assert "the second truth" in second
    (first,) = {text for text in asked if "First 1?" in text and "Second 1?" not in text}
    assert "the first truth" in first
    assert "the second truth" not in first
    assert not any("truth" in text for text in asked if "0?" in text)
    assert figures("out")["models"]["model"]["grades"] == 6


def test_mt_bench_takes_no_answer_file(cli, tmp_path, tiny):
    questions = write(tmp_path / "question.jsonl", QUESTIONS)
    answers = write(tmp_path / "answers.jsonl", [{"prompt": "First 0?", "response": "x"}])
    words = ("eval", "mt-bench", SCRIPTED, f"questions={questions}", "--judge", tiny.path, "--out", "out")
    result = cli(*words, "--answers", answers)
    assert result.exit_code == 2
    assert "the second depends on the answer to the first" in result.output


IFEVAL = [
    {
        "key": n,
        "prompt": f"Say {n} without a comma.",
        "instruction_id_list": ["punctuation:no_comma"],
        "kwargs": [{}],
    }
    for n in range(4)
]


def test_ifeval_counts_an_empty_answer_as_a_fail(cli, tmp_path):
    data = write(tmp_path / "input.jsonl", IFEVAL)
    said = ["fine", "no, not", "", "fine"]
    answers = write(
        tmp_path / "answers.jsonl",
        [{"prompt": line["prompt"], "response": text} for line, text in zip(IFEVAL, said, strict=True)],
    )
    result = cli("eval", "ifeval", f"data={data}", "--answers", answers, "--out", "out")
    assert result.exit_code == 0, result.output
    found = figures("out")["models"]["answers"]
    assert found["strict"]["prompt"]["value"] == 0.5
    assert found["empty"] == 1


def test_answers_get_points_from_a_program_of_ones_own(cli, tiny, tmp_path):
    (tmp_path / "p.jsonl").write_text("".join(f'{{"prompt": "Say {word}."}}\n' for word in ("one", "two")))
    (tmp_path / "a.jsonl").write_text(
        '{"prompt": "Say one.", "response": "one"}\n{"prompt": "Say two.", "response": "no"}\n'
    )
    keys = ("eval", "checked", "prompts=p.jsonl", "checker=test_cli_suites:says")
    result = cli(*keys, "--answers", "a.jsonl", "--out", "out")
    assert result.exit_code == 0, result.output
    assert "% right       50.00" in result.output
    result = cli(*keys, SCRIPTED, "samples=4", "--model", tiny.path, "--out", "more")
    assert "8 answers to 2 prompts" in result.output
    assert "% pass@4" in result.output
    assert cli(*keys[:3], "checker=nowhere:says", "--answers", "a.jsonl", "--out", "bad").exit_code == 2


def says(prompt: str, response: str) -> float:
    return float(response in prompt)


def test_gsm8k_takes_answers_to_bare_questions_and_gives_pass_at_k(cli, tiny, tmp_path):
    rows = [{"question": f"What is {n} and {n}?", "answer": f"Twice. #### {2 * n}"} for n in range(4)]
    data = write(tmp_path / "test.jsonl", rows)
    answers = write(
        tmp_path / "ours.jsonl",
        [{"question": row["question"], "answer": "#### 4" if n else ""} for n, row in enumerate(rows)],
    )
    result = cli("eval", "gsm8k", f"data={data}", "--answers", answers, "--out", "out")
    assert result.exit_code == 0, result.output
    assert figures("out")["models"]["ours"]["marked"]["value"] == 0.25
    words = ("eval", "gsm8k", SCRIPTED, f"data={data}", "samples=4", "--model", tiny.path, "--out", "more")
    assert cli(*words).exit_code == 2
    assert cli(*words, "temperature=1").exit_code == 0
    assert set(figures("more")["models"]["model"]["pass_at"]) == {"1", "2", "4"}


def test_a_prompt_too_long_for_the_model_loses_and_is_counted(cli, tiny, tmp_path):
    data = write(
        tmp_path / "input.jsonl", [IFEVAL[0], IFEVAL[1] | {"prompt": "word " * 3000 + "without a comma."}]
    )
    words = ("eval", "ifeval", f"data={data}", "max_tokens=8", "--model", tiny.path, "--out", "out")
    result = cli(*words, "engine.device=cpu")
    assert result.exit_code == 0, result.output
    found = figures("out")["models"]["model"]
    assert found["unanswered"] == found["empty"] == 1
    assert found["prompts"] == 2


def test_diversity_measures_kl_to_the_first_model(cli, tiny, other, prompts, tmp_path):
    import torch
    from safetensors.torch import load_file, save_file

    weights = load_file(other / "model.safetensors")
    moved = {name: value + 0.05 * torch.randn_like(value) for name, value in weights.items()}
    save_file(moved, other / "model.safetensors", metadata={"format": "pt"})
    words = ("eval", "diversity", f"prompts={prompts}", "limit=3", "max_tokens=6", "engine.device=cpu")
    result = cli(*words, "--model", tiny.path, "--model", other, "--out", "out")
    assert result.exit_code == 0, result.output
    found = figures("out")["models"]
    assert found["model"]["kl"] == {}
    assert found["other"]["kl"]["model"]["value"] > 0
    assert found["other"]["answers"] == 6
    assert "KL to model" in result.output


def test_a_server_can_answer_and_one_that_dies_costs_nothing(cli, prompts, tmp_path):
    words = ("eval", "diversity", f"prompts={prompts}", "samples=1", "block=3", "engine.kind=openai")
    words = (*words, "engine.model=m", "engine.max_retries=0", "engine.concurrency=1")
    with serving() as server:
        assert cli(*words, f"engine.base_url={server.url}", "--out", "whole").exit_code == 0
    with serving(lambda number, body: status(503) if number >= 7 else None) as server:
        address = f"engine.base_url={server.url}"
        stopped = cli(*words, address, "--out", "part")
        assert stopped.exit_code == 2
        kept = tmp_path / "part/m/evaluation/diversity/answers.jsonl"
        assert len(kept.read_text().splitlines()) == 6
        server.plan = lambda number, body: None
        assert cli(*words, address, "--out", "part").exit_code == 0
    assert figures("part")["models"] == figures("whole")["models"]
    whole = tmp_path / "whole/m/evaluation/diversity/answers.jsonl"
    assert kept.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("diversity", "--out", "out"), "no model is named"),
        (("diversity", "limt=3", "--model", "TINY", "--out", "out"), "limt: no such key"),
        (("ifeval", "--model", "TINY", "--out", "out"), "data: Field required"),
        (("head-to-head", "--model", "TINY", "--out", "out"), "add --judge"),
        (("head-to-head", "--model", "TINY", "--judge", "TINY", "--out", "out"), "two contestants"),
        (("diversity", "references=x", "--model", "TINY", "--out", "out"), "no contestant has that name"),
        (("diversity", "name=../x", "--model", "TINY", "--out", "out"), "name: String should match"),
        (("harness", "engine.kind=scripted", "tasks=x", "--model", "TINY", "--out", "out"), "kind=local"),
        (("ifeval", "data=nowhere.jsonl", "--model", "TINY", "--out", "out"), "cannot be read"),
        (("diversity", "--model", "TINY", "--model", "TINY", "--out", "out"), "would be called"),
        (
            ("diversity", "engine.kind=openai", "engine.model=m", "--model", "TINY", "--out", "o"),
            "of its own",
        ),
        (
            ("alpaca-eval", "baseline=b", "--model", "TINY", "--judge", "TINY", "--out", "out"),
            "cannot be read",
        ),
        (("harness", "tasks=nowhere.jsonl", "--model", "TINY", "--out", "out"), "cannot be read"),
    ],
)
def test_bad_input_gets_three_parts(cli, tiny, words, said, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = cli("eval", *(str(tiny.path) if word == "TINY" else word for word in words))
    assert result.exit_code == 2
    assert said in result.output
    assert "Why:" in result.output
    assert "What to do:" in result.output


def test_who_could_not_be_asked_loses_whatever_the_judge_says(cli, tiny, tmp_path):
    """A judge that likes silence best, and a prompt that only fits the other."""
    texts = ["Name a bird.", "word " * 3000, "Name a fish."]
    prompts = write(tmp_path / "prompts.jsonl", [{"prompt": text} for text in texts])
    theirs = write(tmp_path / "theirs.jsonl", [{"prompt": text, "response": "A heron."} for text in texts])
    words = ("eval", "head-to-head", f"prompts={prompts}", "engine.device=cpu", "max_tokens=4")
    with serving() as server:
        server.plan = lambda number, body: status(200, silence(body))
        judge = (f"servers.j.base_url={server.url}", "servers.j.model=j", "--judge", "j")
        result = cli(*words, *judge, "--model", tiny.path, "--answers", theirs, "--out", "out")
        asked = len(server.bodies)
    assert result.exit_code == 0, result.output
    found = figures("out")["models"]["theirs"]["against"]["model"]
    assert asked == 4
    assert list(found["by_prompt"].values())[1] == "win"
    assert found["prompts"] == 3
    assert figures("out")["models"]["model"]["unanswered"] == 1


def silence(body):
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "Verdict: tie"},
    }
    return {"choices": [choice], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


def test_a_question_too_long_counts_as_much_as_any_other(cli, tiny, tmp_path):
    rows = [{"question": f"What is {n}?", "answer": f"#### {n}"} for n in range(3)]
    rows.append({"question": "word " * 3000, "answer": "#### 1"})
    data = write(tmp_path / "test.jsonl", rows)
    words = ("eval", "gsm8k", f"data={data}", "samples=4", "temperature=1", "max_tokens=4")
    assert cli(*words, "engine.device=cpu", "--model", tiny.path, "--out", "out").exit_code == 0
    found = figures("out")["models"]["model"]
    assert (found["solutions"], found["unanswered"]) == (16, 1)
    assert set(found["pass_at"]) == {"1", "2", "4"}


def test_other_references_are_judged_again(cli, tiny, tmp_path):
    questions = write(tmp_path / "question.jsonl", QUESTIONS)
    references = tmp_path / "reference.jsonl"
    words = ("eval", "mt-bench", SCRIPTED, f"questions={questions}", f"references={references}")
    words = (*words, "--judge", tiny.path, "--model", tiny.path, "--out", "out")
    write(references, [{"question_id": 82, "choices": [{"turns": ["one", "two"]}]}])
    assert cli(*words).exit_code == 0
    write(references, [{"question_id": 82, "choices": [{"turns": ["one", "three"]}]}])
    refused = cli(*words)
    assert refused.exit_code == 2
    assert "mt_bench/judgments" in refused.output


def test_what_was_measured_and_by_whom_is_written_down(cli, tiny, other, prompts):
    words = ("eval", "head-to-head", SCRIPTED, f"prompts={prompts}", "--model", tiny.path, "--model", other)
    assert cli(*words, "--judge", tiny.path, "--out", "out").exit_code == 0
    found = figures("out")
    assert found["contestants"]["other"]["model"] == str(other)
    assert found["contestants"]["other"]["digest"] != found["contestants"]["model"]["digest"]
    assert found["judge"]["digest"] == tiny.digest
    assert found["win_matrix"]["models"] == ["model", "other"]
    assert "scipy" in found["made_with"]["packages"]


def test_a_server_takes_part_beside_a_model(cli, tiny, prompts):
    words = ("eval", "diversity", f"prompts={prompts}", "limit=2", "max_tokens=4", "engine.device=cpu")
    with serving() as server:
        given = (f"servers.big.base_url={server.url}", "servers.big.model=b", "--model", "big")
        assert cli(*words, *given, "--model", tiny.path, "references=", "--out", "out").exit_code == 0
    assert list(figures("out")["models"]) == ["big", "model"]
    assert figures("out")["contestants"]["big"]["server"] == server.url


def test_a_step_that_made_nothing_takes_another_server(cli, prompts):
    words = ("eval", "diversity", f"prompts={prompts}", "engine.kind=openai", "engine.model=m")
    words = (*words, "engine.max_retries=0", "--out", "out")
    assert cli(*words, "engine.base_url=http://127.0.0.1:9/v1").exit_code == 2
    with serving() as server:
        assert cli(*words, f"engine.base_url={server.url}").exit_code == 0


def test_a_loops_run_is_no_place_for_results(cli, tiny, prompts, tmp_path):
    (tmp_path / "runs/mine/M1/model").mkdir(parents=True)
    (tmp_path / "runs/mine/M1/sft.step.json").write_text("{}")
    words = ("eval", "diversity", f"prompts={prompts}", "--model", tiny.path, "--out", "runs/mine")
    refused = cli(*words)
    assert refused.exit_code == 2
    assert "a run of the loop" in refused.output
