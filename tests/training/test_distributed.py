"""Training in two processes, by real `accelerate launch` with gloo: the same losses and weights as in one."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import yaml
from safetensors.torch import load_file
from test_training import EXAMPLES, PAIRS, assert_same
from tiny_model import save_tiny_model

from srlm.chat_format import load_tokenizer
from srlm.config import (
    AccelerateLauncherSection,
    DpoSection,
    InlineLauncherSection,
    LoraSection,
    RayLauncherSection,
    SftSection,
)
from srlm.errors import ConfigError, TrainingError
from srlm.training.batches import passes_of, share_out
from srlm.training.checkpoints import checkpoint_to_resume
from srlm.training.launch import train_dpo, train_sft
from srlm.training.runner import TrainJob, run_job
from srlm.training.world import World

INLINE = InlineLauncherSection()
SHARED = {
    "device": "cpu",
    "precision": "float32",
    "learning_rate": 1e-3,
    "batch_size": 5,  # of six: by two processes not divisible, and a last batch of one
    "micro_tokens": 64,  # several micro-batches, and not as many in both
    "dropout": 0,
}
SFT = SftSection(**SHARED, epochs=2)
DPO = DpoSection(**SHARED, epochs=2)
LONGER = {"epochs": 8, "save_steps": 1, "learning_rate": 1e-4, "min_learning_rate": 1e-5}
"""Time to kill somebody; at a rate at which rounding does not grow from step to step."""
LORA = LoraSection(rank=4, alpha=8, dropout=0)
VARIANTS = {
    "ddp-sft": ("ddp", SFT),
    "ddp-dpo": ("ddp", DPO),
    "fsdp-sft": ("fsdp", SFT),
    "fsdp-dpo-tied": ("fsdp", DPO),
}
MORE_VARIANTS = {
    "ddp-sft-examples": ("ddp", SFT.model_copy(update={"balance": "examples"})),
    "ddp-dpo-checkpointing": ("ddp", DPO.model_copy(update={"gradient_checkpointing": True})),
    "ddp-dpo-lora": ("ddp", DPO.model_copy(update={"lora": LORA})),
    "fsdp-dpo": ("fsdp", DPO),
    "fsdp-sft-checkpointing": ("fsdp", SFT.model_copy(update={"gradient_checkpointing": True})),
    "fsdp-dpo-padded": ("fsdp", DPO),
}


def job_at(folder: Path, model: Path, section: SftSection | DpoSection, stop_at: int | None = None) -> Path:
    """A job's file, its data beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = "dpo" if isinstance(section, DpoSection) else "sft"
    for name, items in (("data", PAIRS if kind == "dpo" else EXAMPLES), ("heldout", EXAMPLES[:3])):
        (folder / f"{name}.jsonl").write_text("".join(item.model_dump_json() + "\n" for item in items))
    target = folder / ("half" if stop_at else "model")
    job = TrainJob(kind=kind, model=model, folder=folder, target=target, seed=0, **{kind: section})
    path = folder / ("half.json" if stop_at else "job.json")
    path.write_text(job.model_copy(update={"stop_at": stop_at}).model_dump_json())
    return path


def log_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def assert_alike(folder: Path, other: Path):
    """Losses and figures of all steps, held-out losses, reference, saved weights: to 1e-4."""
    logs = [log_of(place) for place in (folder, other)]
    assert [line["step"] for line in logs[0]] == [line["step"] for line in logs[1]] != []
    for one, two in zip(*logs, strict=True):
        assert one.keys() == two.keys()
        for name in one.keys() - {"tokens_per_second", "distinct_tokens"}:
            assert one[name] == pytest.approx(two[name], abs=1e-4, rel=1e-4), (one["step"], name)
    summaries = [json.loads((place / "summary.json").read_text()) for place in (folder, other)]
    for name in ("heldout_loss", "heldout_loss_before"):
        assert summaries[0][name] == pytest.approx(summaries[1][name], abs=1e-4)
    assert summaries[0]["parameters"] == summaries[1]["parameters"]
    known = [
        [json.loads(line) for line in (place / "reference.jsonl").read_text().splitlines()]
        for place in (folder, other)
        if (place / "reference.jsonl").exists()
    ]
    if known:
        assert known[0] == [pytest.approx(pair, abs=1e-3) for pair in known[1]]
    assert_same(*(load_file(place / "model/model.safetensors") for place in (folder, other)), tolerance=1e-4)
    assert (folder / "model/config.json").read_text() == (other / "model/config.json").read_text()


def kin(tiny, folder: Path, **changes) -> Path:
    """The tiny model with something changed in its config."""
    save_tiny_model(folder, load_tokenizer(tiny.path))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    return folder


@pytest.fixture(scope="module")
def models(tiny, tmp_path_factory) -> dict[str, Path]:
    """The tiny model, one whose head is its embeddings' table, and one with windows, so with padded rows."""
    folder = tmp_path_factory.mktemp("models")
    tied = kin(tiny, folder / "tied", tie_word_embeddings=True)
    mistral = {"architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 64}
    padded = kin(tiny, folder / "padded", **mistral)
    return {"": tiny.path, "tied": tied, "padded": padded}


def model_of(name: str) -> str:
    """Which of the models a variant trains."""
    return next((key for key in ("tied", "padded") if name.endswith(key)), "")


def launch(folder: Path, jobs: list[str]) -> None:
    """Do jobs (STRATEGY=FILE) one after another in the same two processes."""
    settings = {"distributed_type": "MULTI_GPU", "use_cpu": True, "num_processes": 2, "num_machines": 1}
    config = folder / "accelerate.yaml"
    config.write_text(yaml.safe_dump(settings | {"main_process_port": 0, "mixed_precision": "no"}))
    script = str(Path(__file__).with_name("many_jobs.py"))
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config)]
    done = subprocess.run([*command, script, *jobs], capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.fixture(scope="module")
def trained(models, tmp_path_factory) -> Path:
    """Variants in two processes; one that is half done there, one that was half done in one process."""
    folder = tmp_path_factory.mktemp("two")
    begun = folder / "begun-alone"
    run_job(job_at(begun, models[""], SFT, stop_at=2), launcher=INLINE)
    jobs = [
        f"{strategy}={job_at(folder / name, models[model_of(name)], section)}"
        for name, (strategy, section) in VARIANTS.items()
    ]
    jobs.append(f"fsdp={job_at(folder / 'half-fsdp', models[''], SFT, stop_at=2)}")
    launch(folder, [*jobs, f"fsdp={job_at(begun, models[''], SFT)}"])
    return folder


@pytest.fixture(scope="module")
def trained_more(models, tmp_path_factory) -> Path:
    """The other variants."""
    folder = tmp_path_factory.mktemp("more")
    jobs = [
        f"{strategy}={job_at(folder / name, models[model_of(name)], section)}"
        for name, (strategy, section) in MORE_VARIANTS.items()
    ]
    launch(folder, [*jobs, f"ddp={job_at(folder / 'half-ddp', models[''], SFT, stop_at=2)}"])
    return folder


@pytest.fixture(scope="module")
def alone(models, tmp_path_factory):
    """From a section and a model to the folder of its training in one process, each made once."""
    made: dict[str, Path] = {}

    def train(section, model: str = "") -> Path:
        key = f"{section!r} {model}"
        if key not in made:
            made[key] = tmp_path_factory.mktemp("one")
            run_job(job_at(made[key], models[model], section), launcher=INLINE)
        return made[key]

    return train


def check_variant(folder: Path, alone, name: str, strategy: str, section) -> None:
    assert_alike(folder / name, alone(section, model_of(name)))
    summary = json.loads((folder / name / "summary.json").read_text())
    assert (summary["processes"], summary["sharded"]) == (2, strategy == "fsdp")
    assert not list((folder / name).glob("checkpoints/.partial/*"))


@pytest.mark.parametrize("name", VARIANTS)
def test_two_processes_train_as_one_does(trained, alone, name):
    check_variant(trained, alone, name, *VARIANTS[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE_VARIANTS)
def test_two_processes_train_as_one_does_whatever_is_asked(trained_more, alone, name):
    check_variant(trained_more, alone, name, *MORE_VARIANTS[name])


@pytest.mark.parametrize(
    ("fixture", "name"),
    [("trained", "half-fsdp"), pytest.param("trained_more", "half-ddp", marks=pytest.mark.slow)],
)
def test_one_process_goes_on_from_the_checkpoint_of_two(request, alone, models, fixture, name):
    folder = request.getfixturevalue(fixture) / name
    checkpoint = checkpoint_to_resume(folder / "checkpoints")
    assert checkpoint.name == "checkpoint-2"
    assert len(list(checkpoint.glob("*.distcp"))) == 2  # each wrote its share
    run_job(job_at(folder, models[""], SFT), launcher=INLINE)
    assert json.loads((folder / "summary.json").read_text())["resumed_at"] == 2
    assert_alike(folder, alone(SFT))


def test_two_sharded_processes_go_on_from_the_checkpoint_of_one(trained, alone):
    summary = json.loads((trained / "begun-alone/summary.json").read_text())
    assert (summary["resumed_at"], summary["processes"], summary["sharded"]) == (2, 2, True)
    assert_alike(trained / "begun-alone", alone(SFT))


def ranks_below(process: psutil.Process) -> list[psutil.Process]:
    """The processes that train below one, by their rank."""
    found = [
        child
        for child in process.children(recursive=True)
        if "srlm.training.child" in child.cmdline() and "accelerate.commands.launch" not in child.cmdline()
    ]
    return sorted(found, key=lambda child: child.environ()["RANK"])


def wait_for(condition, seconds: float = 90):
    """What a condition gives once it is true."""
    ends = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.2)
    return found


@pytest.mark.parametrize("strategy", ["fsdp", pytest.param("ddp", marks=pytest.mark.slow)])
def test_a_killed_process_ends_all_and_the_same_command_goes_on(tiny, tmp_path, alone, strategy):
    """SIGKILL in the middle; the rest is trained in one process, and the losses are those of no kill."""
    section = SFT.model_copy(update=LONGER)
    launcher = AccelerateLauncherSection(processes=2, strategy=strategy)
    folder, failure = tmp_path / "training", []

    def train(launcher):
        places = {"folder": folder, "target": folder / "model"}
        return train_sft(section, tiny, EXAMPLES, EXAMPLES[:3], **places, launcher=launcher)

    def expect_failure():
        with pytest.raises(TrainingError) as caught:
            train(launcher)
        failure.append(caught.value)

    thread = threading.Thread(target=expect_failure)
    thread.start()
    wait_for(lambda: checkpoint_to_resume(folder / "checkpoints") or not thread.is_alive())
    ranks = ranks_below(psutil.Process())
    assert len(ranks) == 2
    ranks[1].send_signal(signal.SIGKILL)
    thread.join(timeout=60)
    assert "was killed" in str(failure[0])
    assert "goes on from the last checkpoint" in str(failure[0])
    assert not psutil.wait_procs(ranks, timeout=20)[1]
    assert not (folder / "model").exists()
    train(INLINE)
    assert json.loads((folder / "summary.json").read_text())["resumed_at"] >= 1
    assert_alike(folder, alone(section))


@pytest.mark.slow
def test_ranks_end_with_their_parent_and_with_their_launcher(tiny, tmp_path):
    for victim in ("parent", "launcher"):
        section = SFT.model_copy(update={"epochs": 1000, "save_steps": 1})
        path = job_at(tmp_path / victim, tiny.path, section)
        code = (
            "from pathlib import Path; from srlm.training.runner import run_job;"
            "from srlm.config import AccelerateLauncherSection as L;"
            f"run_job(Path({str(path)!r}), launcher=L(processes=2))"
        )
        parent = psutil.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
        wait_for(lambda path=path: checkpoint_to_resume(path.parent / "checkpoints"))
        launcher = parent.children()[0]
        ranks = ranks_below(parent)
        assert len(ranks) == 2
        os.kill((parent if victim == "parent" else launcher).pid, signal.SIGKILL)
        assert not psutil.wait_procs([*ranks, launcher, parent], timeout=40)[1]


@pytest.fixture
def no_cluster(monkeypatch):
    """Ray is started here, where Ray Train is installed."""
    pytest.importorskip("ray.train")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)


@pytest.mark.slow
@pytest.mark.usefixtures("no_cluster")
@pytest.mark.parametrize(("section", "strategy"), [(SFT, "ddp"), (DPO, "fsdp")], ids=["sft-ddp", "dpo-fsdp"])
def test_ray_train_trains_as_one_process_does(tiny, tmp_path, alone, section, strategy):
    seen = []
    train, data = (train_dpo, PAIRS) if section is DPO else (train_sft, EXAMPLES)
    train(
        section,
        tiny,
        data,
        EXAMPLES[:3],
        folder=tmp_path,
        target=tmp_path / "model",
        report=lambda *figures: seen.append(figures),
        launcher=RayLauncherSection(workers=2, cpus=0.5, strategy=strategy),
    )
    assert_alike(tmp_path, alone(section))
    assert [done for done, _, _ in seen] == [1, 2, 3]
    assert json.loads((tmp_path / "summary.json").read_text())["processes"] == 2


@pytest.mark.slow
@pytest.mark.usefixtures("no_cluster")
def test_ray_train_starts_the_workers_anew_when_one_dies(tiny, tmp_path, alone):
    section = SFT.model_copy(update=LONGER)
    launcher = RayLauncherSection(workers=2, cpus=0.5, max_failures=1)
    places = {"folder": tmp_path, "target": tmp_path / "model", "launcher": launcher}
    thread = threading.Thread(target=train_sft, args=(section, tiny, EXAMPLES, EXAMPLES[:3]), kwargs=places)
    thread.start()
    wait_for(lambda: checkpoint_to_resume(tmp_path / "checkpoints"), 200)
    named = [child for child in psutil.Process().children(recursive=True) if "RayTrainWorker" in child.name()]
    named[-1].send_signal(signal.SIGKILL)
    thread.join(timeout=300)
    assert json.loads((tmp_path / "summary.json").read_text())["resumed_at"] >= 1
    assert_alike(tmp_path, alone(section))


@pytest.mark.slow
@pytest.mark.usefixtures("no_cluster")
def test_what_a_ray_worker_refuses_reaches_the_parent(tiny, tmp_path):
    section = SFT.model_copy(update={"max_length": 16})
    launcher = RayLauncherSection(workers=2, cpus=0.5)
    with pytest.raises(TrainingError, match="max_length=16"):
        train_sft(section, tiny, EXAMPLES, [], folder=tmp_path, target=tmp_path / "model", launcher=launcher)


@pytest.mark.slow
@pytest.mark.usefixtures("no_cluster")
def test_workers_for_which_a_cluster_has_no_room_are_an_error_with_what_it_has(tiny, tmp_path):
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        launcher = RayLauncherSection(address=cluster.address, workers=2, start_timeout_s=8)
        with pytest.raises(ConfigError, match=r"workers=2(.|\n)*of 1 cores and 0 GPUs, had no room"):
            train_sft(SFT, tiny, EXAMPLES, [], folder=tmp_path, target=tmp_path / "model", launcher=launcher)
    finally:
        cluster.shutdown()


def test_shares_are_balanced_and_hold_everything_once():
    assert share_out([9, 5, 4, 1], 2) == [[0, 3], [1, 2]]
    assert share_out([3, 3], 3) == [[0], [1], []]
    assert share_out([5, 7, 5], 1) == [[0, 1, 2]]


def test_ranks_pass_equally_often_and_what_is_missing_weighs_nothing():
    groups = [[[0], [1, 2], [3]], [[4, 5]], []]
    assert passes_of(groups, 0) == [([0], 1.0), ([1, 2], 1.0), ([3], 1.0)]
    assert passes_of(groups, 1) == [([4, 5], 1.0), ([4, 5], 0.0), ([4, 5], 0.0)]
    assert passes_of(groups, 2) == [([3], 0.0), ([3], 0.0), ([3], 0.0)]


def test_alone_nothing_is_shared():
    world = World()
    found = world.measured([[2, 0], [1]], lambda group: [10 * index for index in group])
    assert found == {2: 20, 0: 0, 1: 10}
    assert world.agreed("this") == "this"
    assert world.summed({"loss": 0.5}) == {"loss": 0.5}
