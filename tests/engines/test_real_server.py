"""The engine for servers against a real one, `transformers serve`, beside the same model in this process."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from srlm.config import Config, JudgeSection, LocalEngineSection, OpenAIEngineSection, ResponsesSection
from srlm.engines.base import Engine, Request
from srlm.engines.local import LocalEngine
from srlm.engines.openai import OpenAIEngine
from srlm.errors import EngineError
from srlm.judging.rubric import load_rubric
from srlm.models import Model
from srlm.records import Judgment, Prompt, Response, ask
from srlm.stages import records_of
from srlm.stages.judgments import judge
from srlm.stages.responses import respond
from srlm.store.run import Quiet, open_run

pytestmark = [pytest.mark.slow, pytest.mark.real]

PROMPTS = [Prompt.of(text, (), 0) for text in ("Name three colours.", "What is 2 + 3?", "Why do cats purr?")]
GREEDY = ResponsesSection(samples=2, temperature=0, max_tokens=16)


@contextmanager
def started(model: Model, port: int) -> Iterator[subprocess.Popen]:
    """`transformers serve` as a process of its own, when it answers."""
    for package in ("fastapi", "openai", "uvicorn"):
        pytest.importorskip(package)
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(model.path)]
    command += ["--port", str(port), "--host", "127.0.0.1", "--device", "cpu", "--dtype", "float32"]
    process = subprocess.Popen(command, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    try:
        until = time.monotonic() + 240
        while not answers(port):
            assert process.poll() is None, "the server ended by itself"
            assert time.monotonic() < until, "the server does not answer"
            time.sleep(0.5)
        yield process
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health", trust_env=False).is_success
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="module")
def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@pytest.fixture(scope="module")
def server(smollm2: Model, port: int) -> Iterator[str]:
    with started(smollm2, port):
        yield f"http://127.0.0.1:{port}/v1"


def section(url: str, model: Model, **values) -> OpenAIEngineSection:
    """One request at a time: this server's seeds and its generation belong to the whole process."""
    return OpenAIEngineSection(base_url=url, model=str(model.path), concurrency=1, api_key_env="", **values)


@pytest.fixture(scope="module")
def here(smollm2: Model) -> Iterator[Engine]:
    engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), smollm2)
    yield engine
    engine.close()


def test_it_writes_what_the_same_model_writes_here(server, smollm2, here):
    there = OpenAIEngine(section(server, smollm2))
    responses = records_of(respond(GREEDY, there, PROMPTS))
    assert responses == records_of(respond(GREEDY, here, PROMPTS))
    request = Request("a", ask(PROMPTS[0].text), "response", seed=1, temperature=0, max_tokens=16)
    [remote], [local] = there.generate([request]), here.generate([request])
    assert remote == local
    used = there.usage
    assert used["requests"] == 7
    assert used["reply tokens"] == sum(item.num_tokens for item in responses) + remote.num_tokens


def test_it_judges_as_the_same_model_does_here(server, smollm2, here):
    responses = records_of(respond(GREEDY, here, PROMPTS))[:2]
    asked = JudgeSection(samples=1, temperature=0, max_tokens=24, retries=0)
    rubric = load_rubric("additive")
    there = OpenAIEngine(section(server, smollm2))
    assert records_of(judge(asked, there, rubric, responses)) == records_of(
        judge(asked, here, rubric, responses)
    )


def test_what_it_cannot_do_is_said_with_the_way_out(server, smollm2):
    there = OpenAIEngine(section(server, smollm2))
    request = Request("a", ask("Name a colour."), "prompt", seed=1, prefix="Task 9:", max_tokens=4)
    with pytest.raises(EngineError, match=r"engine\.continues=false"):
        list(there.generate([request]))
    without = OpenAIEngine(section(server, smollm2, continues=False))
    assert next(iter(without.generate([request]))).text
    weighing = Request("a", ask("Name a digit."), "judgment", seed=1, max_tokens=1, continuations=("4", "5"))
    with pytest.raises(EngineError, match="gives no probabilities"):
        list(there.generate([weighing]))
    unknown = OpenAIEngine(section(server, smollm2).model_copy(update={"model": "another"}))
    with pytest.raises(EngineError, match="pinned to"):
        list(unknown.generate([replace(request, prefix="")]))


def test_a_run_goes_on_after_the_server_was_killed(server, smollm2, here, port, tmp_path):
    """Two blocks, SIGKILL, an error with three parts; another server, and the same bytes as without."""
    responses = records_of(respond(GREEDY, here, PROMPTS))[:4]
    whole = judged(server, smollm2, responses, tmp_path / "whole", Quiet())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        other = free.getsockname()[1]
    url = f"http://127.0.0.1:{other}/v1"
    with started(smollm2, other) as process, pytest.raises(EngineError, match="goes on after the last block"):
        judged(url, smollm2, responses, tmp_path / "cut", KillAfter(2, process))
    assert len((tmp_path / "cut/judgments.jsonl").read_text("utf-8").splitlines()) == 2
    with started(smollm2, other):
        assert judged(url, smollm2, responses, tmp_path / "cut", Quiet()) == whole


class KillAfter(Quiet):
    """Kills a process once so many blocks are committed."""

    def __init__(self, blocks: int, process: subprocess.Popen) -> None:
        self.blocks, self.process = blocks, process

    def advance(self, step: str, done: int, total: int, note: str = "") -> None:
        if done == self.blocks:
            self.process.kill()
            self.process.wait()


def judged(url: str, model: Model, responses: list[Response], folder: Path, progress: Quiet) -> bytes:
    asked = JudgeSection(samples=1, temperature=0, max_tokens=16, retries=0, block=1)
    config = Config(engine=section(url, model, max_retries=1), judge=asked)
    engine = OpenAIEngine(config.engine)
    with open_run(folder, config, progress=progress) as run:
        given = (engine, load_rubric("additive"), responses)
        return run.records("judgments", Judgment, judge, config.judge, *given).path.read_bytes()
