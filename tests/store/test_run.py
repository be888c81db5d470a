import errno
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from srlm.config import Config, PromptsSection, ResponsesSection
from srlm.engines.scripted import ScriptedEngine
from srlm.errors import RunChanged, RunError, RunLocked
from srlm.records import Prompt, Response
from srlm.stages.responses import respond
from srlm.store.blocks import Block
from srlm.store.run import open_run
from srlm.store.states import run_states

PROMPTS = [Prompt.of(f"How does machine {n} work in detail?", (), n) for n in range(7)]
CONFIG = Config(responses=ResponsesSection(block=2))


class Killed(Exception):
    pass


def stage_that_dies(after):
    def stage(section, engine, prompts, *, seed, resume):
        for number, block in enumerate(respond(section, engine, prompts, seed=seed, resume=resume)):
            if number == after:
                raise Killed
            yield block

    return stage


def make(run, stage=respond):
    return run.records("M2/responses", Response, stage, run.config.responses, ScriptedEngine(), PROMPTS)


def test_a_stopped_step_continues_to_the_same_bytes(tmp_path):
    with open_run(tmp_path / "whole", CONFIG) as run:
        whole = make(run)
    with open_run(tmp_path / "cut", CONFIG) as run, pytest.raises(Killed):
        make(run, stage_that_dies(2))
    path = tmp_path / "cut/M2/responses.jsonl"
    path.write_bytes(path.read_bytes() + b'{"id": "a torn li')  # what a kill in the middle of a write leaves
    with open_run(tmp_path / "cut", CONFIG) as run:
        cut = make(run)
    assert cut.path.read_bytes() == whole.path.read_bytes()
    assert cut.digest == whole.digest
    assert len(cut) == 28
    assert len(list(cut)) == 28


def test_a_finished_step_is_not_done_again(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        first = make(run)
        assert make(run, stage_that_dies(0)) == first


def test_a_changed_key_is_refused_by_name(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        make(run)
    changed = Config(responses=ResponsesSection(block=2, temperature=0.9))
    with (
        pytest.raises(RunChanged, match=r"responses.temperature: 0.7 then, 0.9 now"),
        open_run(tmp_path, changed),
    ):
        pass
    assert json.loads((tmp_path / "config.json").read_text())["config"]["responses"]["temperature"] == 0.7


def test_a_key_of_a_step_not_begun_may_change(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        make(run)
    changed = Config(responses=ResponsesSection(block=2), prompts=PromptsSection(count=9))
    with open_run(tmp_path, changed) as run:
        make(run, stage_that_dies(0))


def test_a_key_that_only_trades_memory_and_time_may_change(tmp_path):
    def train(section, *, folder, target, seed, report, report_to, launcher):
        target.mkdir(parents=True)
        return target

    with open_run(tmp_path, CONFIG) as run:
        run.model("M1/sft", train, CONFIG.sft)
    less = CONFIG.sft.model_copy(update={"micro_tokens": 128, "gradient_checkpointing": True})
    config = CONFIG.model_copy(update={"sft": less})
    with open_run(tmp_path, config) as run:
        assert run.model("M1/sft", train, config.sft).name == "M1"
    other = CONFIG.model_copy(update={"sft": CONFIG.sft.model_copy(update={"epochs": 9.0})})
    with pytest.raises(RunChanged, match=r"sft\.epochs: 1.0 then, 9.0 now"), open_run(tmp_path, other):
        pass


def test_changed_inputs_are_refused(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        make(run)
        with pytest.raises(RunChanged, match="an input"):
            run.records(
                "M2/responses", Response, respond, run.config.responses, ScriptedEngine(), PROMPTS[:3]
            )


def test_redo_forgets_a_step_and_all_after_it(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        make(run)
        run.result("M2/figures", lambda: {"a": 1})
    with open_run(tmp_path, CONFIG, redo="M2/responses"):
        assert not list(tmp_path.glob("M2/*"))
    with pytest.raises(RunError, match="no such step"), open_run(tmp_path, CONFIG, redo="M9/pairs"):
        pass


def test_redo_with_a_forgotten_override_removes_nothing(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        make(run)
        run.result("M2/figures", lambda: {"a": 1})
    other = CONFIG.model_copy(update={"responses": ResponsesSection(block=3)})
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunChanged), open_run(tmp_path, other, redo="M2/figures"):
        pass
    assert sorted(tmp_path.rglob("*")) == before
    with open_run(tmp_path, other, redo="M2/responses") as run:  # what changed is remade
        assert len(make(run)) == 28


def test_redo_of_a_training_removes_its_checkpoints_and_model(tmp_path):
    def train(section, *, folder, target, seed, report, report_to, launcher):
        assert not folder.exists()
        assert not target.exists()
        folder.mkdir(parents=True)
        target.mkdir(parents=True)
        return target

    with open_run(tmp_path, CONFIG) as run:
        run.model("M1/sft", train, CONFIG.sft)
    (tmp_path / "M1/.sft.forgotten").mkdir()  # what a kill in the middle of an earlier redo leaves
    with open_run(tmp_path, CONFIG, redo="M1/sft") as run:
        run.model("M1/sft", train, CONFIG.sft)
    assert sorted(path.name for path in (tmp_path / "M1").iterdir()) == ["model", "sft", "sft.step.json"]


def test_machines_and_versions_that_worked_on_a_run_are_all_kept(tmp_path, monkeypatch):
    for revision in ("one", "one", "two"):
        monkeypatch.setattr("srlm.store.machine._git_revision", lambda revision=revision: revision)
        with open_run(tmp_path, CONFIG):
            pass
    made = json.loads((tmp_path / "run.json").read_text())
    assert made["git"] == "two"
    assert [item["git"] for item in made["earlier"]] == ["one"]


def test_another_version_is_refused(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        make(run)
    machine = json.loads((tmp_path / "run.json").read_text())
    (tmp_path / "run.json").write_text(json.dumps(machine | {"srlm": "0.0.1"}))
    with pytest.raises(RunChanged, match=r"made by srlm 0.0.1"), open_run(tmp_path, CONFIG):
        pass


def test_a_second_process_is_refused(tmp_path):
    code = (
        "import sys\nfrom pathlib import Path\nfrom srlm.config import Config\n"
        "from srlm.errors import RunLocked\n"
        "from srlm.store.run import open_run\n"
        "try:\n    with open_run(Path(sys.argv[1]), Config()): pass\n"
        "except RunLocked as error: print(error)"
    )
    with open_run(tmp_path, CONFIG):
        told = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
        )
    assert "another process is working on it" in told.stdout


def test_a_full_disk_says_what_is_safe(tmp_path, monkeypatch):
    class Full(io.FileIO):
        def write(self, data):
            if super().tell() > 3000:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[:1000])  # as the system does: less than was asked

    with open_run(tmp_path, CONFIG) as run:
        with pytest.raises(Killed):
            make(run, stage_that_dies(1))
        with (
            monkeypatch.context() as patch,
            pytest.raises(RunError, match="everything up to the last block or checkpoint is safe"),
        ):
            plain = Path.open

            def opened(self, mode="r", **kwargs):
                return Full(self, "a") if mode == "ab" else plain(self, mode, **kwargs)

            patch.setattr("pathlib.Path.open", opened)
            make(run)
        assert len(make(run)) == 28


def test_an_edited_record_file_is_named_with_its_line(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        records = make(run)
    records.path.write_text('{"id": 3}\n')
    with pytest.raises(RunError, match="line 1"):
        list(records)


def test_states_are_in_order_and_count(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        make(run)
        run.result("M2/figures", lambda: {"a": 1})
    states = run_states(tmp_path)
    assert [state["step"] for state in states] == ["M2/responses", "M2/figures"]
    assert states[0]["progress"] == [7, 7]
    assert states[0]["records"] == 28
    with pytest.raises(RunError, match="no run"):
        run_states(tmp_path / "nowhere")


def test_run_json_records_versions_and_hardware(tmp_path):
    with open_run(tmp_path, CONFIG):
        pass
    machine = json.loads((tmp_path / "run.json").read_text())
    assert {"srlm", "packages", "cores", "memory_gib", "gpus", "git"} <= set(machine)
    assert "torch" in machine["packages"]


def test_a_block_may_be_empty(tmp_path):
    with open_run(tmp_path, CONFIG) as run:
        made = run.records(
            "M2/prompts",
            Prompt,
            lambda section, *, seed, resume: iter([Block([], 0, 3, {"kept": 0})]),
            run.config.prompts,
        )
    assert list(made) == []


def test_locked_is_a_run_error():
    assert issubclass(RunLocked, RunError)
