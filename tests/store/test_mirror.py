"""A run that is kept elsewhere: on a real S3 server (moto's), in fsspec's memory, in a folder."""

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from srlm.config import Config, ResponsesSection
from srlm.engines.scripted import ScriptedEngine
from srlm.errors import ConfigError, RunError, RunLocked
from srlm.loop import run_loop
from srlm.records import Prompt, Response
from srlm.stages.responses import respond
from srlm.store import lease, mirror
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


@pytest.fixture(params=["s3", "memory", "folder"])
def place(request, tmp_path) -> str:
    if request.param == "s3":
        return f"{request.getfixturevalue('s3')}/{tmp_path.name}"
    return f"memory://{tmp_path.name}" if request.param == "memory" else str(tmp_path / "stores/one")


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Whoever takes over from the dead does not wait for others who may do so, too."""
    monkeypatch.setattr(lease, "SETTLE", 0.0)


@pytest.fixture
def claimed() -> Iterator[Callable[[str, Path], Mirror]]:
    """Makes a mirror that is the only driver, and lets it go in the end."""
    made: list[Mirror] = []

    def claim(place: str, folder: Path) -> Mirror:
        made.append(Mirror(place, folder))
        made[-1].claim()
        return made[-1]

    yield claim
    for one in made:
        one.release()


def store_of(place: str) -> tuple[Any, str]:
    """The file system that a mirror uses, and where the run is in it."""
    return fsspec.core.url_to_fs(place, **({} if "://" in place else {"auto_mkdir": True}))


def kept_at(place: str) -> list[str]:
    files, root = store_of(place)
    files.invalidate_cache()
    return sorted(name[len(root.rstrip("/")) + 1 :] for name in files.find(root))


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


def test_a_run_that_gets_a_store_later_is_kept_at_once(place, tmp_path):
    with open_run(tmp_path / "run", CONFIG) as run:
        run.result("M1/figures", lambda: {"right": 7})
    with open_run(tmp_path / "run", CONFIG, store=place):
        assert any(name.endswith("M1/figures.json") for name in kept_at(place))


def test_a_block_is_a_shard_and_what_is_kept_is_not_kept_again(place, tmp_path):
    write(tmp_path / "run", place, ScriptedEngine())
    files, root = store_of(place)
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
    files, root = store_of(place)
    files.pipe_file(f"{root}/M2/responses.jsonl/{len(whole):020}", b'{"half": ')
    fetch(place, tmp_path / "there")
    assert (tmp_path / "there/M2/responses.jsonl").read_bytes() == whole


def test_a_model_counts_when_all_of_it_is_there(place, tmp_path, claimed):
    folder, there = tmp_path / "run", tmp_path / "there"
    for name in ("config.json", "model.safetensors", "tokenizer.json"):
        (folder / "M1/model").mkdir(parents=True, exist_ok=True)
        (folder / "M1/model" / name).write_text(name)
    first = claimed(place, folder)
    first.sync()
    first.release()
    files, root = store_of(place)
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


def checkpoint(folder: Path, step: int) -> Path:
    """What a checkpoint looks like; hidden files are part of it, and those that are being written are not."""
    path = folder / f"M1/sft/checkpoints/checkpoint-{step}"
    path.mkdir(parents=True)
    for name in (".metadata", "__0_0.distcp", "trainer_state.json", ".metadata.tmp"):
        (path / name).write_text(name)
    return path


CHECKPOINT_2 = [
    f"M1/sft/checkpoints/checkpoint-2/{name}"
    for name in (".metadata", ".whole", "__0_0.distcp", "trainer_state.json")
]


def test_what_is_gone_here_is_gone_there(place, tmp_path, claimed):
    folder = tmp_path / "run"
    kept = claimed(place, folder)
    old = checkpoint(folder, 1)
    (folder / "M1/sft/.log.jsonl.tmp").write_text("half")
    (folder / "M1/sft/checkpoints/.partial/checkpoint-3").mkdir(parents=True)
    (folder / "M1/sft/checkpoints/.partial/checkpoint-3/trainer_state.json").write_text("half")
    kept.sync()
    checkpoint(folder, 2)
    kept.sync()
    shutil.rmtree(old)
    kept.sync()
    assert kept_at(place) == [".lock", *CHECKPOINT_2]


def test_a_checkpoint_that_goes_while_it_is_copied_does_not_count(place, tmp_path, claimed, monkeypatch):
    folder, files = tmp_path / "run", store_of(place)[0]
    kept, first, put_file = claimed(place, folder), checkpoint(folder, 0), files.put_file
    kept.sync()
    shutil.rmtree(first)
    old = checkpoint(folder, 1)

    def put_and_replace(here: str, there: str, **how: Any) -> None:
        put_file(here, there, **how)
        if old.exists():
            checkpoint(folder, 2)
            shutil.rmtree(old)

    monkeypatch.setattr(files, "put_file", put_and_replace)
    kept.sync()
    whole = [name for name in kept_at(place) if name.endswith(".whole")]
    assert whole == ["M1/sft/checkpoints/checkpoint-0/.whole"]  # the last one until the next is there
    kept.sync()
    assert kept_at(place) == [".lock", *CHECKPOINT_2]


def training(folder: Path, done: int, num_lines: int) -> Path:
    """A training's state and its log, which may be a line ahead."""
    state = {
        "given": {"seed": 1},
        "done": False,
        "blocks": 0,
        "bytes": 0,
        "progress": [done, 9],
        "digest": None,
    }
    log = folder / "M1/sft/log.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    (folder / "M1/sft.step.json").write_text(json.dumps(state))
    log.write_text("".join(f'{{"step": {number}}}\n' for number in range(num_lines)))
    return log


@pytest.mark.parametrize("done", [2, 4], ids=["state-not-yet-written", "further"])
def test_what_this_machine_has_more_of_a_step_it_keeps(place, tmp_path, claimed, done):
    """Killed between what it wrote here and the copy of it."""
    folder = tmp_path / "run"
    log = training(folder, 2, 2)
    first = claimed(place, folder)
    first.sync()
    first.release()
    training(folder, done, 4)
    again = claimed(place, folder)
    again.fetch()
    assert len(log.read_text().splitlines()) == 4
    assert json.loads((folder / "M1/sft.step.json").read_text())["progress"] == [done, 9]
    again.sync()
    fetch(place, tmp_path / "there")
    for name in ("M1/sft/log.jsonl", "M1/sft.step.json"):
        assert json.loads((tmp_path / "there/M1/sft.step.json").read_text())["progress"] == [done, 9]
        assert len((tmp_path / "there" / name).read_text()) >= len((folder / name).read_text())
    training(tmp_path / "there", 1, 9)  # less far, whatever it has
    fetch(place, tmp_path / "there")
    assert (tmp_path / "there/M1/sft/log.jsonl").read_text() == log.read_text()


def killed_before_the_copy(folder: Path, place: str, num_blocks: int) -> None:
    """Write blocks, the last of them here alone."""
    with pytest.MonkeyPatch.context() as patched:
        sync = Mirror.sync

        def sync_unless_last(self: Mirror) -> None:
            state = folder / "M2/responses.step.json"
            if state.exists() and json.loads(state.read_text())["blocks"] == num_blocks:
                raise Cut
            sync(self)

        patched.setattr(Mirror, "sync", sync_unless_last)
        with pytest.raises(Cut):
            write(folder, place, ScriptedEngine())


def test_a_store_that_fails_again_has_what_it_had(place, tmp_path, monkeypatch):
    """Killed between the state here and its copy, and then nothing can be written: what was kept stays."""
    folder = tmp_path / "run"
    killed_before_the_copy(folder, place, 3)
    before = (folder / "M2/responses.jsonl").read_bytes()
    files, kept = store_of(place)[0], kept_at(place)
    pipe_file = files.pipe_file

    def fail(name: str, data: bytes, **how: Any) -> None:
        if "/responses.jsonl/" in name:
            raise OSError("the store is full")
        pipe_file(name, data, **how)

    with monkeypatch.context() as failing:
        failing.setattr(files, "pipe_file", fail)
        with pytest.raises(RunError, match="the store is full"):
            write(folder, place, ScriptedEngine())
    assert set(kept) <= {*kept_at(place), ".lock"}
    fetch(place, tmp_path / "there")
    there = (tmp_path / "there/M2/responses.jsonl").read_bytes()
    assert there and before.startswith(there)


def test_only_what_the_store_lacks_is_copied(place, tmp_path, monkeypatch):
    folder = tmp_path / "run"
    killed_before_the_copy(folder, place, 3)
    files, kept = store_of(place)[0], kept_at(place)
    size, pipe_file, put = (folder / "M2/responses.jsonl").stat().st_size, files.pipe_file, []

    def watch(name: str, data: bytes, **how: Any) -> None:
        put.append(name.partition("/responses.jsonl/")[2][:20])
        pipe_file(name, data, **how)

    monkeypatch.setattr(files, "pipe_file", watch)
    whole = write(folder, place, ScriptedEngine())
    starts = [int(name) for name in put if name]
    assert len(starts) == 3  # the block that was here alone, the one after it, and the last
    assert 0 < starts[0] < size == starts[1] < starts[2]
    assert set(kept) <= {*kept_at(place), ".lock"}
    fetch(place, tmp_path / "there")
    assert (tmp_path / "there/M2/responses.jsonl").read_bytes() == whole


def test_bytes_that_no_state_counts_are_not_copied(place, tmp_path, claimed):
    """A block that was cut short may be made again otherwise, and just as long."""
    folder = tmp_path / "run"
    whole = write(folder, place, ScriptedEngine())
    with (folder / "M2/responses.jsonl").open("ab") as file:
        file.write(b'{"half": ')
    again = claimed(place, folder)
    again.fetch()
    (folder / "new.txt").write_text("something to copy")
    again.sync()
    files, root = store_of(place)
    shards = [name for name in kept_at(place) if "responses.jsonl/" in name]
    assert b"".join(files.cat_file(f"{root}/{name}") for name in shards) == whole


def test_a_block_that_two_machines_made_is_the_one_that_is_kept(place, tmp_path):
    """The last bits of a model's numbers differ between machines, and with them, its words."""
    one, two = tmp_path / "one", tmp_path / "two"
    killed_before_the_copy(one, place, 3)
    with pytest.raises(Cut):
        write(two, place, CutOff(after=2))
    kept = (two / "M2/responses.jsonl").read_bytes()
    records = one / "M2/responses.jsonl"
    assert records.read_bytes() == kept
    other = kept[:-20] + kept[-20:].replace(b"}", b"]")
    records.write_bytes(other)
    Mirror(place, one).fetch()
    assert records.read_bytes() == kept


def test_a_long_file_is_read_and_kept_in_pieces(place, tmp_path, monkeypatch):
    monkeypatch.setattr(mirror, "PIECE", 100)
    whole = write(tmp_path / "run", place, ScriptedEngine())
    files, root = store_of(place)
    shards = [name for name in kept_at(place) if "responses.jsonl/" in name]
    assert len(shards) >= len(whole) / 100
    assert all(files.info(f"{root}/{name}")["size"] <= 100 for name in shards)
    fetch(place, tmp_path / "there")
    assert (tmp_path / "there/M2/responses.jsonl").read_bytes() == whole


@pytest.mark.parametrize("lost", [0, 2])
def test_records_that_are_missing_are_named_and_not_made_up(place, tmp_path, lost):
    whole = write(tmp_path / "run", place, ScriptedEngine())
    files, root = store_of(place)
    shards = [name for name in kept_at(place) if "responses.jsonl/" in name]
    files.rm_file(f"{root}/{shards[lost]}")
    there = int(shards[lost].rpartition("/")[2])
    with pytest.raises(
        RunError, match=rf"{there} bytes of them are kept(.|\n)*counts {len(whole)}(.|\n)*remove"
    ):
        fetch(place, tmp_path / "there")
    assert not (tmp_path / "there/M2/responses.jsonl").exists()
    assert (
        write(tmp_path / "run", place, ScriptedEngine()) == whole
    )  # this machine has them, and keeps them again
    fetch(place, tmp_path / "there")
    assert (tmp_path / "there/M2/responses.jsonl").read_bytes() == whole


def test_one_driver_at_a_time_and_the_dead_are_no_drivers(place, tmp_path, claimed, monkeypatch):
    files, root = store_of(place)
    first = claimed(place, tmp_path / "one")
    monkeypatch.setattr(lease.socket, "gethostname", lambda: "elsewhere")
    with pytest.raises(RunLocked, match="works on it"):
        Mirror(place, tmp_path / "two").claim()
    owner = json.loads(files.cat_file(f"{root}/.lock"))
    files.pipe_file(f"{root}/.lock", json.dumps(owner | {"at": time.time() - lease.LEASE - 1}).encode())
    second = claimed(place, tmp_path / "two")
    monkeypatch.setattr(lease, "HEARTBEAT", 0.0)
    with pytest.raises(RunLocked):
        first.sync()  # it was taken for dead, and finds out
    first.release()
    second.sync()
    second.release()
    claimed(place, tmp_path / "three")


def test_a_driver_that_was_killed_here_holds_nothing_up(place, tmp_path, claimed):
    files, root = store_of(place)
    claimed(place, tmp_path / "one")
    owner = json.loads(files.cat_file(f"{root}/.lock"))
    files.pipe_file(f"{root}/.lock", json.dumps(owner | {"pid": 2**22 - 1}).encode())
    claimed(place, tmp_path / "two")


def test_a_container_that_starts_again_is_not_taken_for_the_one_that_died(place, tmp_path, claimed):
    """It has the same host name, and the same number of the process."""
    files, root = store_of(place)
    claimed(place, tmp_path / "one")
    owner = json.loads(files.cat_file(f"{root}/.lock"))
    with pytest.raises(RunLocked):
        claimed(place, tmp_path / "two")
    files.pipe_file(f"{root}/.lock", json.dumps(owner | {"at": time.time() - lease.LEASE - 1}).encode())
    claimed(place, tmp_path / "two")


def test_a_file_that_was_half_written_in_a_store_that_is_a_folder_does_not_count(
    tmp_path, claimed, monkeypatch
):
    place, folder = str(tmp_path / "stores/one"), tmp_path / "run"
    kept, files = claimed(place, folder), store_of(str(tmp_path))[0]
    folder.mkdir()
    (folder / "config.json").write_text("new")

    def fail(here: str, there: str, **how: Any) -> None:
        Path(there).write_text("ne")
        raise OSError("no room")

    with monkeypatch.context() as failing, pytest.raises(RunError, match="no room"):
        failing.setattr(files, "put_file", fail)
        kept.sync()
    with pytest.raises(RunError, match="nothing is kept there"):
        fetch(place, tmp_path / "there")
    kept.sync()
    fetch(place, tmp_path / "there")
    assert (tmp_path / "there/config.json").read_text() == "new"


def heartbeats() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "heartbeat"]


def wait_for(condition: Callable[[], Any], seconds: float = 20.0) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "waited in vain"
        time.sleep(0.02)


def test_a_driver_says_that_it_lives_while_nothing_is_copied(place, tmp_path, claimed, monkeypatch):
    """A step that takes hours between two blocks does not make it look dead."""
    monkeypatch.setattr(lease, "HEARTBEAT", 0.1)
    files, root = store_of(place)
    before = heartbeats()
    first = claimed(place, tmp_path / "one")
    mine = [thread for thread in heartbeats() if thread not in before]
    old = json.loads(files.cat_file(f"{root}/.lock"))
    files.pipe_file(f"{root}/.lock", json.dumps(old | {"at": 0.0}).encode())
    wait_for(lambda: json.loads(files.cat_file(f"{root}/.lock"))["at"] > old["at"])
    first.release()
    wait_for(lambda: not any(thread.is_alive() for thread in mine))
    assert kept_at(place) == []


def test_of_several_who_see_a_dead_driver_one_takes_over(place, tmp_path, claimed, monkeypatch):
    monkeypatch.setattr(lease, "SETTLE", 1.5)
    files, root = store_of(place)
    files.pipe_file(
        f"{root}/.lock", json.dumps({"host": "elsewhere", "pid": 1, "key": "k", "at": 0}).encode()
    )
    both, is_dead, came = threading.Barrier(2), lease._is_dead, []

    def seen_by_both(owner: dict[str, Any]) -> bool:
        both.wait(20)
        return is_dead(owner)

    monkeypatch.setattr(lease, "_is_dead", seen_by_both)

    def drive(name: str) -> None:
        try:
            claimed(place, tmp_path / name)
            came.append("driver")
        except RunLocked:
            came.append("locked")

    threads = [threading.Thread(target=drive, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(came) == ["driver", "locked"]


def test_a_place_that_is_none():
    with pytest.raises(ConfigError, match="no file system for it is installed"):
        Mirror("nonsense://runs/one", Path("one"))
    with pytest.raises(RunError, match="nothing is kept there"):
        fetch("memory://nowhere/at-all", Path("one"))


def test_a_store_that_cannot_be_reached_is_named(s3, tmp_path, monkeypatch):
    with pytest.raises(RunError, match=r"store s3://no-such-bucket/run(.|\n)*cannot be read or written"):
        write(tmp_path / "run", "s3://no-such-bucket/run", ScriptedEngine())


@pytest.fixture
def anew(s3, monkeypatch) -> Iterator[pytest.MonkeyPatch]:
    """The environment, for a client that is made anew, as in a new process."""
    s3fs = pytest.importorskip("s3fs")
    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    yield monkeypatch
    s3fs.S3FileSystem.clear_instance_cache()


def test_a_server_that_is_not_there_is_named(anew, tmp_path):
    anew.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(
        RunError, match=r"store s3://runs/one(.|\n)*Could not connect(.|\n)*check its address"
    ):
        write(tmp_path / "run", "s3://runs/one", ScriptedEngine())
    with pytest.raises(RunError, match="Could not connect"):
        fetch("s3://runs/one", tmp_path / "there")


def test_a_server_that_goes_away_is_named(anew, s3, tmp_path):
    place = f"{s3}/{tmp_path.name}"

    class GoesAway(ScriptedEngine):
        def generate(self, requests):
            anew.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
            fsspec.filesystem("s3").connect(refresh=True)
            yield from super().generate(requests)

    with pytest.raises(RunError, match=r"Could not connect(.|\n)*same command again"):
        write(tmp_path / "run", place, GoesAway())


def test_a_store_without_credentials_is_named(anew, tmp_path):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        anew.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        anew.setenv(name, str(tmp_path / "none"))
    anew.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(RunError, match=r"store s3://runs/one(.|\n)*credentials(.|\n)*check its address"):
        write(tmp_path / "run", "s3://runs/one", ScriptedEngine())


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
