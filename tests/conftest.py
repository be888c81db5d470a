"""What tests share: a tiny random model with a real tokenizer, and small configs."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tiny_model import save_tiny_model

from srlm.chat_format import load_tokenizer
from srlm.config import Config, ModelSection
from srlm.errors import ModelError
from srlm.loop import Outcome, run_loop
from srlm.models import Model, folder_digest, resolve
from srlm.recipes import load
from srlm.store.run import open_run

SHARED_DATA = Path(os.environ.get("SRLM_DATA") or Path(__file__).parents[2] / "shared/data")


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell starts what is in the background so, and what the tests start would not hear Ctrl-C either.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared_data() -> Callable[[str], Path]:
    """From a name in the shared data to its path; skips where it is absent. SRLM_DATA may name the folder."""

    def find(name: str) -> Path:
        if not (SHARED_DATA / name).exists():
            pytest.skip(f"{SHARED_DATA / name} is not here: set SRLM_DATA to the folder of the shared data")
        return SHARED_DATA / name

    return find


@pytest.fixture(scope="session")
def smollm2() -> Model:
    """The real SmolLM2-135M-Instruct, from the cache, the hub or the package registry."""
    try:
        return resolve(ModelSection())
    except ModelError as error:
        pytest.skip(f"the built-in model cannot be had here: {error}")


@pytest.fixture(scope="session")
def tiny(smollm2: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A random two-layer Llama with SmolLM2's tokenizer: every code path in milliseconds."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    save_tiny_model(folder, load_tokenizer(smollm2.path))
    return Model("M0", folder, folder_digest(folder))


@pytest.fixture(scope="session")
def tiny_for_vllm(smollm2: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    """The same with heads of 32 numbers, the smallest that vLLM computes on a processor."""
    folder = tmp_path_factory.mktemp("tiny") / "model"
    save_tiny_model(folder, load_tokenizer(smollm2.path), head_dim=32)
    return Model("M0", folder, folder_digest(folder))


@pytest.fixture
def tiny_config(tiny: Model) -> Config:
    """The whole loop in seconds: scripted text, real training of the tiny model."""
    return load("smollm2", tiny_overrides(tiny.path)).config


@pytest.fixture(scope="session")
def finished(tiny: Model, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Config, Outcome]:
    """A finished run of the tiny model, its config and its outcome; made once for all who look at one."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    config = load("smollm2", tiny_overrides(tiny.path)).config
    with open_run(folder, config) as run:
        outcome = run_loop(config, run)
    return folder, config, outcome


def tiny_overrides(path: Path) -> list[str]:
    return [
        f"model.name={path}",
        "engine.kind=scripted",
        "prompts.writer=",
        "prompts.count=6",
        "prompts.block=4",
        "responses.block=2",
        "judge.block=4",
        "sft.epochs=0.2",
        "sft.device=cpu",
        "dpo.device=cpu",
        "sft.save_steps=1",
        "dpo.save_steps=1",
        "dpo.batch_size=2",
        "sft.precision=float32",
        "dpo.precision=float32",
        "sft.learning_rate=1e-3",
        "dpo.learning_rate=1e-3",
        "sft.dropout=0.1",
        "dpo.dropout=0",
    ]
