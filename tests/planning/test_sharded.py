"""What plans say of FSDP beside what training/sharding does, in one of 64 processes without the others."""

import weakref

import pytest
import torch
import torch.distributed as dist
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, LlamaForCausalLM

from srlm.config import SftSection
from srlm.planning.hardware import GPU, Assumptions
from srlm.planning.layout import Cluster
from srlm.planning.memory import LIBRARIES, training_memory
from srlm.planning.rates import ReplicaCost
from srlm.planning.shapes import ModelShape
from srlm.planning.times import training_cost
from srlm.training.batches import Tokens
from srlm.training.policy import answer_logprobs
from srlm.training.rows import batch_of, train_flat
from srlm.training.sharding import reshard, shard

RANKS, LAYERS, HIDDEN = 64, 4, 256


class Watch(TorchDispatchMode):
    """Bytes that collectives gather and scatter, and the most that is held in tensors at once."""

    def __init__(self):
        super().__init__()
        self.moved, self.peak, self._held = 0, 0, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        found = func(*args, **(kwargs or {}))
        storages = [
            one.untyped_storage() for one in tree_leaves((args, found)) if isinstance(one, torch.Tensor)
        ]
        if "allgather" in str(func) or "reduce_scatter" in str(func):
            self.moved += max(one.nbytes() for one in storages)
        self._held |= {id(one): weakref.ref(one) for one in storages}
        self._held = {key: one for key, one in self._held.items() if one() is not None}
        self.peak = max(self.peak, sum(one().nbytes() for one in self._held.values()))
        return found


@pytest.fixture
def group():
    dist.init_process_group("fake", rank=0, world_size=RANKS, store=FakeStore())
    yield
    dist.destroy_process_group()


def watched(section, vocabulary, intermediate, tied=False):
    """A micro-batch of 16 tokens, forwards and backwards; the model's shape beside it."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=HIDDEN,
        num_hidden_layers=LAYERS,
        intermediate_size=intermediate,
        num_attention_heads=4,
        num_key_value_heads=4,
        tie_word_embeddings=tied,
        use_cache=False,
    )
    model = LlamaForCausalLM(config).to(getattr(torch, section.weights))
    train_flat(model)
    model.gradient_checkpointing_enable()
    number = sum(weight.numel() for weight in model.parameters())
    shard(model, RANKS, "cpu", section.precision)
    reshard(model)
    half = torch.autocast("cpu", torch.bfloat16, enabled=section.precision == "bfloat16")
    batch = batch_of(model, [Tokens(tuple(range(16)), 8)], 0)
    with Watch() as watch:
        answer_logprobs(model, batch, half).sum().backward()
    shape = ModelShape(number, LAYERS, HIDDEN, 4, 4, HIDDEN // 4, intermediate, vocabulary, "", tied)
    return watch, shape


def moved(shape, section):
    """Bytes a micro-batch by the plan: seconds on a network of a byte a second."""
    gpu, given = GPU("slow", 1, 1, 1, 1), Assumptions(node=RANKS)
    cluster = Cluster(RANKS, gpu, 1, 1, "fsdp", shape, given, ReplicaCost(0, 0, 0, 0, 0, 1), 1)
    return training_cost(cluster, section).gather * RANKS / (RANKS - 1)


@pytest.mark.parametrize(
    ("precision", "weights", "tied"),
    [
        ("bfloat16", "float32", False),
        ("bfloat16", "float32", True),
        ("float32", "float32", False),
        ("bfloat16", "bfloat16", False),
    ],
)
@pytest.mark.usefixtures("group")
def test_as_much_is_moved_as_is_planned(precision, weights, tied):
    """In full training 8 bytes a weight, in bfloat16 products of float32 weights."""
    section = SftSection(precision=precision, weights=weights)
    watch, shape = watched(section, 1024, 512, tied)
    assert watch.moved == pytest.approx(moved(shape, section), rel=0.002)  # uneven shares are padded
    if (precision, weights) == ("bfloat16", "float32"):
        assert moved(shape, section) == pytest.approx(8 * shape.parameters)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("precision", ["bfloat16", "float32"])
@pytest.mark.parametrize(("vocabulary", "intermediate"), [(20_000, 512), (1000, 8192)])
@pytest.mark.usefixtures("group")
def test_no_more_is_held_than_is_planned(vocabulary, intermediate, precision, tied):
    """A large head, or large blocks; activations are next to nothing, and moments are not looked at.

    The plan sums what is whole of the blocks and outside of them, which are not quite held at once.
    """
    section = SftSection(precision=precision, micro_tokens=64, gradient_checkpointing=True)
    watch, shape = watched(section, vocabulary, intermediate, tied)
    planned = training_memory(shape, section, "fsdp", RANKS)
    whole = planned.total - LIBRARIES - planned.optimizer
    assert 0.75 * whole < watch.peak <= 1.02 * whole
