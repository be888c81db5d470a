"""The share of the machine's limit that a training reaches."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from srlm.chat_format import load_tokenizer
from srlm.config import LoraSection, SftSection
from srlm.devices import product_gflops
from srlm.models import load_weights
from srlm.training.batches import collate, encode
from srlm.training.policy import answer_logprobs, load_policy
from srlm.training.utilisation import utilisation

LIMIT = 0.1


def test_the_products_are_those_that_torch_counts(tiny, tmp_path, monkeypatch):
    """A step of one example: forward once, backward twice as much."""
    monkeypatch.setattr("srlm.training.utilisation.product_gflops", lambda *_: LIMIT)
    tokens = encode(load_tokenizer(tiny.path), "Say the numbers.", "One, two, three. " * 20)
    model = load_policy(tiny.path, SftSection(dropout=0, precision="float32"))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        # As it is loaded elsewhere: attention is one kernel then, which can be left out by its name.
        answer_logprobs(load_weights(tiny.path, "float32"), collate([tokens], 0))
    counted = sum(number for kind, number in counter.flop_counts["Global"].items() if "mm" in str(kind))
    log = tmp_path / "log.jsonl"
    step = {"tokens": 600.0, "tokens_per_second": 300.0, "target_tokens": float(tokens.num_targets)}
    log.write_text(json.dumps(step | {"distinct_tokens": float(len(tokens.ids))}) + "\n")
    found = utilisation(log, model, "float32", adapters=False)
    assert found["machine_gflops"] == LIMIT
    assert found["utilisation"] == pytest.approx(3 * counted / 2.0 / 1e9 / LIMIT, rel=0.02)
    assert found["parameters"] == sum(weight.numel() for weight in model.parameters())


def test_a_large_product_is_measured():
    assert 1 < product_gflops("float32", "cpu") < 100_000


def test_adapters_take_two_passes_of_three(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr("srlm.training.utilisation.product_gflops", lambda *_: 1e-2)
    log = tmp_path / "log.jsonl"
    step = {"tokens": 6.0, "tokens_per_second": 3.0, "target_tokens": 6.0, "distinct_tokens": 6.0}
    log.write_text(json.dumps(step) + "\n")
    model = load_policy(tiny.path, SftSection(dropout=0, lora=LoraSection(rank=2, alpha=4)))
    merged = model.merge_and_unload()
    whole, less = (utilisation(log, merged, "float32", adapters=a)["utilisation"] for a in (False, True))
    assert less == pytest.approx(whole * 2 / 3, rel=1e-2)
