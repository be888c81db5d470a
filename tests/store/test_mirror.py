"""A run that is kept elsewhere: on a real S3 server (moto's), and in fsspec's memory."""

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest

from srlm.config import Config, ResponsesSection
from srlm.engines.scripted import ScriptedEngine
from srlm.errors import ConfigError, RunError, RunLocked
from srlm.loop import run_loop
from srlm.records import Prompt, Response
from srlm.stages.responses import respond
from srlm.store import mirror
from srlm.store.blocks import Items
from srlm.store.mirror import Mirror, fetch
from srlm.store.run import open_run

CONFIG = Config(responses=ResponsesSection(block=2, samples=2))


class Prompts(Items[Prompt]):
    digest = "prompts"


PROMPTS = Prompts([Prompt.of(f"Name something number {number}.", (), number) for number in range(10)])


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """A bucket on a server of this machine's."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    pytest.importorskip("s3fs", reason="s3fs is not installed")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    before = dict(os.environ)
    os.environ |= {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    fsspec.filesystem("s3").mkdir("runs")
    yield "s3://runs"
    os.environ.clear()
    os.environ.update(before)
    server.stop()


@pytest.fixture(params=["s3", "memory"])
def place(request, tmp_path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    return f"memory://{tmp_path.name}"


class Cut(Exception):
    """As when the machine is lost."""


class CutOff(ScriptedEngine):
    """Ends after some requests."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.left = after

    def generate(self, requests):
        self.left -= len(requests)
        if self.left < 0:
            raise Cut
        yield from super().generate(requests)


def write(folder: Path, place: str, engine: ScriptedEngine) -> bytes:
    with open_run(folder, CONFIG, store=place) as run:
        run.records("M2/responses", Response, respond, CONFIG.responses, engine, PROMPTS)
    return (folder / "M2/responses.jsonl").read_bytes()


def claimed(place: str, folder: Path) -> Mirror:
    made = Mirror(place, folder)
    made.claim()
    return made


def test_a_run_goes_on_from_its_store_on_another_machine(place, tmp_path):
    whole = write(tmp_path / "alone", "", ScriptedEngine())
    with pytest.raises(Cut):
        write(tmp_path / "first", place, CutOff(after=5))
    shutil.rmtree(tmp_path / "first")  # the machine is lost
    engine = CutOff(after=6)  # enough for what is left, and for no more
    assert write(tmp_path / "second", place, engine) == whole
    assert engine.left == 0
    fetch(place, tmp_path / "third")
    assert (tmp_path / "third/M2/responses.jsonl").read_bytes() == whole


def test_a_block_is_a_shard_and_what_is_kept_is_not_kept_again(place, tmp_path):
    write(tmp_path / "run", place, ScriptedEngine())
    files, root = fsspec.core.url_to_fs(place)
    shards = sorted(files.ls(f"{root}/M2/responses.jsonl", detail=False))
    starts = [int(name.rpartition("/")[2]) for name in shards]
    assert len(starts) == 5 and starts[0] == 0
    marked = b"x" * files.info(shards[0])["size"]
    files.pipe_file(shards[0], marked)
    write(tmp_path / "elsewhere", place, ScriptedEngine())
    assert sorted(files.ls(f"{root}/M2/responses.jsonl", detail=False)) == shards
    assert files.cat_file(shards[0]) == marked


def test_what_was_written_after_the_last_state_does_not_count(place, tmp_path):
    """A driver that died between a shard and the state leaves bytes that nobody has promised."""
    whole = write(tmp_path / "run", place, ScriptedEngine())
    files, root = fsspec.core.url_to_fs(place)
    files.pipe_file(f"{root}/M2/responses.jsonl/{len(whole):020}", b'{"half": ')
    fetch(place, tmp_path / "there")
    assert (tmp_path / "there/M2/responses.jsonl").read_bytes() == whole


def test_a_model_counts_when_all_of_it_is_there(place, tmp_path):
    folder, there = tmp_path / "run", tmp_path / "there"
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / "M1/model").mkdir(parents=True, exist_ok=True)
        (folder / "M1/model" / name).write_text(name)
    first = claimed(place, folder)
    first.sync()
    first.release()
    files, root = fsspec.core.url_to_fs(place)
    files.rm_file(f"{root}/M1/model/.whole")
    Mirror(place, there).fetch()
    assert not (there / "M1/model").exists()
    claimed(place, folder).sync()
    Mirror(place, there).fetch()
    assert sorted(path.name for path in (there / "M1/model").iterdir()) == [
        "config.json",
        "model.safetensors",
        "tokenizer.json",
    ]


def test_what_is_gone_here_is_gone_there(place, tmp_path):
    folder = tmp_path / "run"
    old, new = folder / "M1/sft/checkpoints/checkpoint-1", folder / "M1/sft/checkpoints/checkpoint-2"
    kept = claimed(place, folder)
    for checkpoint in (old, new):
        checkpoint.mkdir(parents=True)
        (checkpoint / "trainer_state.json").write_text("{}")
        (checkpoint / ".half").write_text("hidden")
        kept.sync()
    shutil.rmtree(old)
    kept.sync()
    files, root = fsspec.core.url_to_fs(place)
    left = [name[len(root.rstrip("/")) :] for name in files.find(root)]
    assert sorted(left) == [
        "/.lock",
        "/M1/sft/checkpoints/checkpoint-2/.whole",
        "/M1/sft/checkpoints/checkpoint-2/trainer_state.json",
    ]


def test_one_driver_at_a_time_and_the_dead_are_no_drivers(place, tmp_path, monkeypatch):
    files, root = fsspec.core.url_to_fs(place)
    first = Mirror(place, tmp_path / "one")
    first.claim()
    monkeypatch.setattr(mirror.socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(RunLocked, match="works on it"):
        Mirror(place, tmp_path / "two").claim()
    owner = json.loads(files.cat_file(f"{root}/.lock"))
    files.pipe_file(f"{root}/.lock", json.dumps(owner | {"at": time.time() - mirror.LEASE - 1}).encode())
    second = Mirror(place, tmp_path / "two")
    second.claim()
    monkeypatch.setattr(mirror, "HEARTBEAT", 0.0)
    with pytest.raises(RunLocked):
        first.sync()  # it was taken for dead, and finds out
    first.release()
    second.sync()
    second.release()
    Mirror(place, tmp_path / "three").claim()


def test_a_driver_that_was_killed_here_holds_nothing_up(place, tmp_path):
    files, root = fsspec.core.url_to_fs(place)
    first = Mirror(place, tmp_path / "one")
    first.claim()
    owner = json.loads(files.cat_file(f"{root}/.lock"))
    files.pipe_file(f"{root}/.lock", json.dumps(owner | {"pid": 2**22 - 1}).encode())
    Mirror(place, tmp_path / "two").claim()


def test_a_place_that_is_none():
    with pytest.raises(ConfigError, match="no file system for it is installed"):
        Mirror("nonsense://runs/one", Path("one"))
    with pytest.raises(RunError, match="nothing is kept there"):
        fetch("memory://nowhere/at-all", Path("one"))


def test_a_store_that_cannot_be_reached_is_named(s3, tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"store s3://no-such-bucket/run(.|\n)*cannot be read or written"):
        write(tmp_path / "run", "s3://no-such-bucket/run", ScriptedEngine())


def test_a_whole_run_comes_back_from_its_store(s3, finished, tmp_path):
    """Cut in M2 and moved to another machine, it ends with the records and weights of one left alone."""
    folder, config, _ = finished
    place = f"{s3}/{tmp_path.name}"

    def stop_after_m1(step: str) -> None:
        if step == "M2/pairs":
            raise Cut

    class Watch:
        def begin(self, step, done, total) -> None:
            stop_after_m1(step)

        def advance(self, step, done, total, note="") -> None: ...
        def end(self, step, state, skipped) -> None: ...

    with pytest.raises(Cut), open_run(tmp_path / "one", config, None, Watch(), store=place) as run:
        run_loop(config, run)
    shutil.rmtree(tmp_path / "one")
    with open_run(tmp_path / "two", config, store=place) as run:
        run_loop(config, run)
    for name in ("M2/pairs.jsonl", "M3/pairs.jsonl", "M3/model/model.safetensors"):
        assert (tmp_path / "two" / name).read_bytes() == (folder / name).read_bytes()
