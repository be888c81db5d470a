"""Training in stretches: the same weights as in one go, and the model before the first that does not win."""

import json

import pytest
from safetensors.torch import load_file
from test_training import DPO, EXAMPLES, PAIRS, SFT, assert_same

from srlm.config import Config, DpoSection, InlineLauncherSection
from srlm.engines.scripted import ScriptedEngine
from srlm.evaluation import checkpoints
from srlm.evaluation.checkpoints import CheckpointJudge, apart, checkpoint_judge
from srlm.models import folder_digest
from srlm.records import Prompt
from srlm.training.launch import train_dpo, train_sft


class Judge:
    """Says in turn which win rate each checkpoint has."""

    digest = "judge"

    def __init__(self, *rates, fails=()):
        self._rates, self._fails, self.asked, self.made = list(rates), list(fails), [], {}

    def __call__(self, candidate, before):
        self.made.setdefault(candidate.name, []).append((candidate / "config.json").stat().st_mtime_ns)
        if self._fails and self._fails.pop(0):
            raise KeyboardInterrupt
        assert sorted(path.name for path in candidate.parent.glob("step-?")) == [before.name, candidate.name]
        self.asked.append((folder_digest(candidate), folder_digest(before)))
        return {"win_rate": self._rates.pop(0), "prompts": 4}


def trained(tiny, folder, judge=None, section=SFT, **habits):
    section = section.model_copy(update={"eval_steps": 1, "dropout": 0.1, **habits})
    train, data = (train_dpo, PAIRS) if isinstance(section, DpoSection) else (train_sft, EXAMPLES)
    places = {"folder": folder / "training", "target": folder / "model"}
    train(section, tiny, data, EXAMPLES[:2], judge, **places, launcher=InlineLauncherSection())
    lines = folder / "training/selection.jsonl"
    found = [json.loads(line) for line in lines.read_text().splitlines()] if lines.exists() else []
    return load_file(folder / "model/model.safetensors"), found


@pytest.mark.parametrize("section", [SFT, DPO], ids=["sft", "dpo"])
def test_when_all_win_stretches_end_where_one_go_does(tiny, tmp_path, section):
    """Four steps of SFT; dropout, optimiser and the cosine go on as if nothing had been."""
    whole, _ = trained(tiny, tmp_path / "one", section=section)
    steps = json.loads((tmp_path / "one/training/summary.json").read_text())["steps"]
    parts, lines = trained(tiny, tmp_path / "two", Judge(*[0.75] * (steps - 1)), section)
    assert_same(parts, whole, tolerance=0)
    assert [line["steps"] for line in lines] == list(range(1, steps + 1))
    assert lines[-1]["ends"]
    assert not (tmp_path / "two/training/candidates").exists()
    logged = (tmp_path / "two/training/log.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in logged] == list(range(1, steps + 1))


@pytest.mark.parametrize("rate", [0.5, 0.2, None], ids=["a tie", "a loss", "unread"])
def test_the_first_that_does_not_win_ends_it_and_the_one_before_is_kept(tiny, tmp_path, rate):
    judge = Judge(0.75, rate)
    found, lines = trained(tiny, tmp_path, judge)
    assert [line["won"] for line in lines] == [True, True, False]
    assert [(line["stop_at"], line["against"]) for line in lines] == [(1, None), (2, 1), (3, 2)]
    assert folder_digest(tmp_path / "model") == judge.asked[1][1]
    assert json.loads((tmp_path / "training/summary.json").read_text())["steps"] == 2
    whole, _ = trained(tiny, tmp_path / "whole")
    assert any((found[name] != whole[name]).any() for name in found)


def test_a_killed_comparison_is_made_again_and_nothing_else(tiny, tmp_path):
    judge = Judge(0.75, 0.75, 0.75, fails=[False, True])
    with pytest.raises(KeyboardInterrupt):
        trained(tiny, tmp_path, judge)
    assert len((tmp_path / "training/selection.jsonl").read_text().splitlines()) == 2
    found, lines = trained(tiny, tmp_path, judge)
    first, again = judge.made["step-3"]
    assert first == again  # the model itself was not trained again
    assert [line["steps"] for line in lines] == [1, 2, 3, 4]
    whole, _ = trained(tiny, tmp_path / "whole")
    assert_same(found, whole, tolerance=0)


def test_without_a_judge_of_checkpoints_nothing_stops():
    assert checkpoint_judge(Config(), {}, []) is None
    judged = Config.model_validate({"dpo": {"eval_steps": 5}, "evaluation": {"judge": {"model": "someone"}}})
    assert isinstance(checkpoint_judge(judged, {}, []), CheckpointJudge)
    with pytest.raises(ValueError, match=r"set evaluation\.judge\.model"):
        Config.model_validate({"sft": {"eval_steps": 5}})


def test_what_chooses_checkpoints_measures_nothing_else():
    prompts = [Prompt.of(f"Tell me about number {n}.", (), n) for n in range(12)]
    assert apart(Config(), prompts) == ([], prompts)
    judged = Config.model_validate({"dpo": {"eval_steps": 5}, "evaluation": {"judge": {"model": "someone"}}})
    chosen, measured = apart(judged, prompts)
    assert (len(chosen), len(measured)) == (4, 8)
    assert sorted(prompt.text for prompt in [*chosen, *measured]) == sorted(item.text for item in prompts)
    assert chosen != prompts[:4]
    assert apart(judged, prompts[::-1])[0] == chosen  # the prompts decide, not their order


def test_checkpoints_are_compared_on_the_same_prompts_in_both_orders(tiny, tmp_path, monkeypatch):
    """The judge prefers `better` on three of four prompts, and what stands first on the last: 3.5 of 4."""

    def answer(name):
        return lambda request, draw: f"{name} {request.conversation[-1].content}"

    def verdict(request, draw):
        text = request.conversation[-1].content
        first = text.partition("<response_a>")[2].partition("</response_a>")[0]
        return f"Reasons.\nVerdict: {'A' if 'number 3' in text or 'better' in first else 'B'}"

    def opened(section, model, **_):
        return Opened(ScriptedEngine(answer(model.path.name), name=model.name))

    class Opened:
        def __init__(self, engine):
            self._engine = engine

        def __enter__(self):
            return self._engine

        def __exit__(self, *_):
            return None

    monkeypatch.setattr(checkpoints, "open_engine", opened)
    monkeypatch.setattr(checkpoints, "open_named", lambda *_: Opened(ScriptedEngine(verdict)))
    for name in ("better", "worse"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name)
    config = Config.model_validate({"dpo": {"eval_steps": 5}, "evaluation": {"judge": {"model": "someone"}}})
    prompts = [Prompt.of(f"Tell me about number {n}.", (), n) for n in range(4)]
    judge = CheckpointJudge(config, {}, prompts)
    found = judge(tmp_path / "better", tmp_path / "worse")
    assert (found["wins"], found["ties"], found["losses"]) == (3, 1, 0)
    assert found["win_rate"] == pytest.approx(3.5 / 4)
