"""Launchers: what each starts, what they refuse before anything starts, and that they decide nothing."""

import json

import pytest
import yaml
from safetensors.torch import load_file
from test_training import EXAMPLES, SFT, assert_same

from srlm.config import (
    AccelerateLauncherSection,
    Config,
    DpoSection,
    InlineLauncherSection,
    LoraSection,
    RayLauncherSection,
    SftSection,
)
from srlm.errors import ConfigError, TrainingError
from srlm.store.run import open_run
from srlm.training.launch import train_sft
from srlm.training.launchers import accelerate
from srlm.training.launchers import ray as ray_train
from srlm.training.launchers.choosing import check_launcher, command

CPU = SftSection(device="cpu")
LAST = {"compute_environment": "LOCAL_MACHINE", "use_cpu": True, "mixed_precision": "no"}


def test_inline_is_the_same_as_a_process(tiny, tmp_path):
    seen = {"process": [], "inline": []}
    for kind, report in seen.items():
        config = Config.model_validate({"launcher": {"kind": kind}})
        train_sft(
            SFT.model_copy(update={"dropout": 0.1}),
            tiny,
            EXAMPLES,
            EXAMPLES[:2],
            folder=tmp_path / kind,
            target=tmp_path / kind / "model",
            report=lambda done, total, note, report=report: report.append((done, total)),
            launcher=config.launcher,
        )
    assert seen["process"] == seen["inline"] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    models = [load_file(tmp_path / kind / "model/model.safetensors") for kind in seen]
    assert_same(*models, tolerance=0)


def test_inline_raises_what_a_process_would_tell(tiny, tmp_path):
    section = SFT.model_copy(update={"max_length": 16})
    places = {"folder": tmp_path, "target": tmp_path / "model", "launcher": InlineLauncherSection()}
    with pytest.raises(TrainingError, match="max_length=16"):
        train_sft(section, tiny, EXAMPLES, [], **places)


def test_a_run_goes_on_with_another_launcher(tmp_path):
    """It is in no step's digest: what one has trained is not trained again with another."""

    def train(*_, target, launcher, **__):
        target.mkdir(parents=True)
        (target / "config.json").write_text(launcher.kind)
        return target

    for kind in ("process", "inline", "accelerate"):
        config = Config.model_validate({"launcher": {"kind": kind}})
        with open_run(tmp_path, config) as run:
            model = run.model("M1/sft", train, config.sft)
        assert (model.path / "config.json").read_text() == "process"


def test_a_config_file_is_made_of_processes_and_strategy(tmp_path):
    launcher = AccelerateLauncherSection(processes=2, strategy="fsdp")
    words = command(launcher, CPU, tmp_path / "job.json")
    assert words[-3:] == ["--module", "srlm.training.child", str(tmp_path / "job.json")]
    made = yaml.safe_load((tmp_path / "accelerate.yaml").read_text())
    assert (made["distributed_type"], made["num_processes"], made["use_cpu"]) == ("FSDP", 2, True)
    assert made["fsdp_config"]["fsdp_version"] == 2
    command(AccelerateLauncherSection(), CPU, tmp_path / "job.json")
    made = yaml.safe_load((tmp_path / "accelerate.yaml").read_text())
    assert (made["distributed_type"], made["num_processes"]) == ("NO", 1)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_accelerate_reads_the_file_that_is_made(tmp_path, strategy):
    from accelerate.commands.config.config_args import load_config_from_file

    command(AccelerateLauncherSection(processes=2, strategy=strategy), CPU, tmp_path / "job.json")
    assert load_config_from_file(str(tmp_path / "accelerate.yaml")).num_processes == 2


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (None, "No such file"),
        ("- a list", "no distributed_type"),
        ({"num_processes": 2}, "no distributed_type"),
        ({"distributed_type": "MULTI_CPU", "num_processes": 2}, "distributed_type MULTI_CPU"),
        ({"distributed_type": "TPU", "num_processes": 8}, "distributed_type TPU"),
        ({"distributed_type": "MULTI_GPU", "num_processes": 4, "num_machines": 2}, "process_ip and main"),
        ({"distributed_type": "FSDP", "num_processes": 2, "fsdp_config": {}}, "fsdp_version 1"),
        ({"distributed_type": "MULTI_GPU", "num_processes": 2, "mixed_precision": "fp16"}, "mixed_precision"),
        ({"distributed_type": "MULTI_GPU", "num_processes": 2, "use_cpu": False}, "use_cpu False"),
    ],
)
def test_a_config_file_that_asks_for_something_else_is_refused(tmp_path, settings, what):
    path = tmp_path / "mine.yaml"
    if settings:
        path.write_text(settings if isinstance(settings, str) else yaml.safe_dump(LAST | settings))
    with pytest.raises(ConfigError, match=what) as caught:
        check_launcher(AccelerateLauncherSection(config_file=str(path)), CPU)
    assert str(path) in str(caught.value)
    assert "What to do" in str(caught.value)


def test_a_good_config_file_is_used_as_it_is(tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(LAST | {"distributed_type": "MULTI_GPU", "num_processes": 2}))
    words = command(AccelerateLauncherSection(config_file=str(path)), CPU, tmp_path / "job.json")
    assert words[words.index("--config_file") + 1] == str(path)
    assert not (tmp_path / "accelerate.yaml").exists()


def test_more_processes_than_gpus_are_refused(monkeypatch):
    monkeypatch.setattr(accelerate, "device_of", lambda _: "cuda")
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    check_launcher(AccelerateLauncherSection(processes=2), DpoSection())
    with pytest.raises(ConfigError, match="there are 2"):
        check_launcher(AccelerateLauncherSection(processes=3), DpoSection())


def test_deepspeed_is_refused_where_it_is_not_installed(monkeypatch):
    monkeypatch.setattr(accelerate.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="deepspeed is not installed"):
        check_launcher(AccelerateLauncherSection(processes=2, strategy="deepspeed"), CPU)


def test_sharded_adapters_are_refused(monkeypatch):
    monkeypatch.setattr(ray_train, "NEEDED", ())  # whether Ray is installed here or not
    section = SftSection(device="cpu", lora=LoraSection())
    with pytest.raises(ConfigError, match="strategy=ddp"):
        check_launcher(AccelerateLauncherSection(processes=2, strategy="fsdp"), section)
    with pytest.raises(ConfigError, match="strategy=ddp"):
        check_launcher(RayLauncherSection(strategy="fsdp"), section)
    check_launcher(AccelerateLauncherSection(processes=2, strategy="ddp"), section)


def test_ray_is_refused_where_it_cannot_be_or_would_wait_for_ever(monkeypatch):
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray_train, "NEEDED", ())
    with pytest.raises(ConfigError, match=r"on this machine alone(.|\n)*it has \d+ cores"):
        check_launcher(RayLauncherSection(workers=10_000), CPU)
    monkeypatch.setattr(ray_train, "_gpus", lambda: 1)
    check_launcher(RayLauncherSection(gpus=1), SftSection())
    with pytest.raises(ConfigError, match="it has 1 GPUs"):
        check_launcher(RayLauncherSection(workers=2, cpus=0.5, gpus=1), SftSection())
    check_launcher(RayLauncherSection(workers=10_000, address="ray://somewhere:10001"), CPU)
    with pytest.raises(ConfigError, match="stand idle"):
        check_launcher(RayLauncherSection(gpus=1), CPU)
    monkeypatch.setattr(ray_train, "NEEDED", ("ray", "no_such_package"))
    with pytest.raises(ConfigError, match="no_such_package"):
        check_launcher(RayLauncherSection(), CPU)
