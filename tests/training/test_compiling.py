"""Blocks by torch.compile: the same training, or none of it."""

import json
import shutil
from contextlib import nullcontext

import pytest
import torch
import transformers
from test_training import DPO, SFT, assert_same, in_process, job_of

from srlm.config import LoraSection
from srlm.training.batches import Tokens
from srlm.training.compiling import LONG_ENOUGH, compiled, pays
from srlm.training.policy import add_dropout, answer_logprobs
from srlm.training.rows import lay_flat, train_flat

COMPILER = shutil.which("g++") or shutil.which("clang++")
needs_compiler = pytest.mark.skipif(not COMPILER, reason="there is no C++ compiler here")
ITEMS = [Tokens((5, 6, 7, 9, 4), 2), Tokens((5, 6, 8), 1), Tokens((7, 6, 5, 4), 1)]


def make(dropout=0.0, **more):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    torch.manual_seed(1)
    model = transformers.AutoModelForCausalLM.from_config(
        transformers.LlamaConfig(vocab_size=99, num_key_value_heads=2, initializer_range=0.3, **sizes, **more)
    )
    train_flat(model)
    if dropout:
        add_dropout(model, dropout)
    return model


def logprobs(model):
    return answer_logprobs(model, lay_flat(ITEMS))


@needs_compiler
@pytest.mark.parametrize(
    "change",
    [{}, {"gradient_checkpointing": True}, {"lora": LoraSection(rank=4, alpha=8, dropout=0)}],
    ids=["plain", "checkpointing", "lora"],
)
@pytest.mark.parametrize("section", [SFT, DPO], ids=["sft", "dpo"])
def test_a_compiled_training_ends_in_the_same_weights(tiny, tmp_path, section, change):
    section = section.model_copy(update=change)
    plain = in_process(job_of(tiny, tmp_path / "plain", section))
    job = job_of(tiny, tmp_path / "compiled", section.model_copy(update={"compile": True}))
    assert_same(plain, in_process(job), tolerance=1e-5)
    assert json.loads((job.folder / "summary.json").read_text())["compiled"] is True


@needs_compiler
def test_a_compiled_training_that_was_stopped_ends_in_the_same_weights(tiny, tmp_path):
    section = SFT.model_copy(update={"compile": True, "dropout": 0.1, "save_steps": 2, "epochs": 3})
    whole = in_process(job_of(tiny, tmp_path / "whole", section))
    cut = job_of(tiny, tmp_path / "cut", section)
    with pytest.raises(KeyboardInterrupt):
        in_process(cut, stop_after=3)
    assert_same(whole, in_process(cut), tolerance=0)
    for folder in ("whole", "cut"):
        assert json.loads((tmp_path / folder / "summary.json").read_text())["compiled"] is True


@needs_compiler
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_blocks_are_compiled_and_let_go_again(dropout):
    model = make(dropout)
    before = logprobs(model.eval())
    with compiled(model, nullcontext) as works:
        assert works
        assert all(layer._compiled_call_impl for layer in model.model.layers)
        assert not any(parameter.grad is not None for parameter in model.parameters())
    assert not any(layer._compiled_call_impl for layer in model.model.layers)
    assert torch.equal(logprobs(model.eval()), before)


def broken(module, **_):
    raise RuntimeError("no compiler")


def wrong(module, **_):
    module._compiled_call_impl = lambda hidden, *args, **kwargs: hidden * 1.5


@pytest.mark.parametrize("way", [broken, wrong])
@pytest.mark.parametrize("dropout", [0.0, 0.2])
def test_a_block_that_cannot_be_compiled_or_computes_something_else_stays_as_it_was(
    way, dropout, monkeypatch
):
    monkeypatch.setattr(torch.nn.Module, "compile", way)
    model = make(dropout)
    before = logprobs(model.eval())
    with compiled(model, nullcontext) as works:
        assert not works
        assert torch.equal(logprobs(model.eval()), before)


def test_only_a_long_training_on_flat_rows_pays_for_compiling():
    model = make()
    assert pays(model, LONG_ENOUGH)
    assert not pays(model, LONG_ENOUGH - 1)
    model.set_attn_implementation("sdpa")
    assert not pays(model, LONG_ENOUGH)


def test_a_short_training_is_not_compiled(tiny, tmp_path):
    job = job_of(tiny, tmp_path, SFT)
    in_process(job)
    assert json.loads((job.folder / "summary.json").read_text())["compiled"] is False
