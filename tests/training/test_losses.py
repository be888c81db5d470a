import math

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers import LlamaConfig, LlamaForCausalLM

from srlm.config import DpoSection
from srlm.training import losses, policy
from srlm.training.batches import Tokens, collate
from srlm.training.losses import (
    answer_weights,
    balanced_sft_loss,
    dpo_losses,
    nll_losses,
    sft_loss,
    sum_by_sequence,
    target_logprobs,
)


def test_dpo_loss_by_hand():
    """chosen -1 (reference -1.5), rejected -2 (reference -1.5), beta 0.1.

    margin = 0.1 * ((-1 + 1.5) - (-2 + 1.5)) = 0.1 * (0.5 + 0.5) = 0.1
    loss = -log(1 / (1 + e^-0.1)) = log(1 + 0.904837) = 0.644397
    """
    loss, margin = dpo_losses(*(torch.tensor([x]) for x in (-1.0, -2.0, -1.5, -1.5)), beta=0.1)
    assert margin.item() == pytest.approx(0.1)
    assert loss.item() == pytest.approx(0.644397, abs=1e-6)


@pytest.mark.parametrize(
    ("keys", "wanted"),
    [
        # m = 0.1: right = log(1 + e^-0.1) = 0.644397, turned = log(1 + e^0.1) = 0.744397
        ({"smoothing": 0.2}, 0.8 * 0.644397 + 0.2 * 0.744397),
        ({"form": "robust", "smoothing": 0.2}, (0.8 * 0.644397 - 0.2 * 0.744397) / 0.6),
        # the difference of log ratios is 1, 1 / (2 beta) is 5
        ({"form": "ipo"}, 16.0),
        # gamma 0.3: m = -0.2, log(1 + e^0.2) = 0.798139
        ({"more": -0.3}, 0.798139),
    ],
    ids=["cDPO", "robust", "IPO", "SimPO's margin"],
)
def test_other_losses_by_hand(keys, wanted):
    """chosen -1 (reference -1.5), rejected -2 (reference -1.5), beta 0.1, as above."""
    loss, margin = dpo_losses(*(torch.tensor([x]) for x in (-1.0, -2.0, -1.5, -1.5)), beta=0.1, **keys)
    assert loss.item() == pytest.approx(wanted, abs=1e-5)
    assert margin.item() == pytest.approx(0.1)


def test_the_nll_term_by_hand():
    """Sums -6 over 3 tokens and -4 over 1: 2 and 4 nats a token."""
    assert nll_losses(torch.tensor([-6.0, -4.0]), torch.tensor([3, 1])).tolist() == [2.0, 4.0]


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"loss": "robust"}, "without label_smoothing"),
        ({"loss": "ipo", "label_smoothing": 0.1}, "has no label_smoothing"),
        ({"loss": "ipo", "length_margin": 0.1}, "no length_margin"),
        ({"loss": "simpo"}, "length_normalised=true"),
        ({"target_margin": 0.5}, "is SimPO's"),
    ],
)
def test_terms_that_do_not_go_together_are_refused(keys, words):
    with pytest.raises(ValueError, match=words):
        DpoSection(**keys)


def test_dpo_starts_at_log_two_and_pulls_the_answers_apart():
    chosen, rejected = torch.tensor([-3.0], requires_grad=True), torch.tensor([-4.0], requires_grad=True)
    loss, _ = dpo_losses(chosen, rejected, chosen.detach(), rejected.detach(), beta=0.5)
    loss.sum().backward()
    assert loss.item() == pytest.approx(math.log(2))
    # d loss / d chosen = -beta * sigmoid(-margin) = -0.5 * 0.5
    assert chosen.grad.item() == pytest.approx(-0.25)
    assert rejected.grad.item() == pytest.approx(0.25)


def test_balanced_loss_is_the_mean_over_examples():
    """Means 2 and 4 of two examples in one micro-batch, 6 of the third alone: (2 + 4 + 6) / 3 = 4.

    By tokens it would be (1 + 3 + 4 + 6) / 4 = 3.5.
    """
    shares = [
        balanced_sft_loss(torch.tensor([-1.0, -3.0, -4.0]), torch.tensor([0, 0, 1]), torch.tensor([2, 1]), 3),
        balanced_sft_loss(torch.tensor([-6.0]), torch.tensor([0]), torch.tensor([1]), 3),
    ]
    assert float(sum(shares)) == pytest.approx(4.0)


def test_sft_loss_is_the_mean_over_the_whole_batch():
    """Two micro-batches of 3 and 1 targets of one batch: -(1 + 2 + 3) / 4 and -4 / 4 add to 10 / 4."""
    parts = [
        sft_loss(torch.tensor([-1.0, -2.0, -3.0]), num_targets=4),
        sft_loss(torch.tensor([-4.0]), num_targets=4),
    ]
    assert sum(parts).item() == pytest.approx(2.5)


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_chunked_logprobs_and_their_gradients_equal_log_softmax(chunk, monkeypatch):
    """In chunks, and within them two rows at a time, each target with a weight of its own."""
    monkeypatch.setitem(losses.AT_A_TIME, "cpu", 22)
    torch.manual_seed(0)
    weights = torch.linspace(-1, 2, 7)
    hidden = torch.randn(7, 5, requires_grad=True)
    head = torch.nn.Linear(5, 11, bias=False)
    targets = torch.randint(0, 11, (7,))
    wanted = head(hidden).log_softmax(-1)[torch.arange(7), targets]
    wanted_gradients = torch.autograd.grad(wanted @ weights, [hidden, head.weight])
    found = target_logprobs(hidden, targets, head, chunk=chunk)
    gradients = torch.autograd.grad(found @ weights, [hidden, head.weight])
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(gradients, wanted_gradients)


def test_gradients_of_logprobs_are_not_taken_twice():
    """The first pass writes over the logits: a second would be wrong, so it is an error."""
    logits = torch.randn(4, 11, requires_grad=True)
    found = target_logprobs(logits, torch.tensor([1, 2, 3, 4]), lambda x: x * 1, chunk=4)
    found.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="inplace"):
        found.sum().backward()


class Held(TorchDispatchMode):
    """`most`: the largest number of logits in memory at once; the head and its gradient are none."""

    def __init__(self, head):
        super().__init__()
        self.head, self.most, self.living = head, 0, {}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        self.living = {ref: num for ref, num in self.living.items() if not ref.expired()}
        for each in tree_leaves(made):
            if isinstance(each, torch.Tensor) and each.ndim and each.shape[-1] == len(self.head):
                storage = each.untyped_storage()
                if storage.nbytes() != self.head.nbytes:
                    self.living[StorageWeakRef(storage)] = storage.nbytes() // each.element_size()
        self.most = max(self.most, sum(self.living.values()))
        return made


@pytest.mark.parametrize("vocabulary", [100, 400])
def test_memory_of_logits_does_not_grow_with_the_vocabulary(vocabulary, monkeypatch):
    """120 targets are 12,000 logits and 48,000; 2,000 may stand at once, and a few rows in float32."""
    monkeypatch.setattr(policy, "HELD", 2_000)
    monkeypatch.setitem(losses.AT_A_TIME, "cpu", 400)
    sizes = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, tie_word_embeddings=False, **sizes))
    batch = collate([Tokens(tuple(range(3, 64)), 1), Tokens(tuple(range(4, 65)), 1)], 0)
    assert len(batch.targets) == 120
    with Held(model.lm_head.weight) as held:
        logprobs = policy.answer_logprobs(model, batch)
        forward = held.most
        logprobs.sum().backward()
    assert 2_000 <= forward <= 2_000 + 3 * 400
    assert held.most <= 2_000 + 3 * 400


def test_no_targets_no_logprobs():
    assert target_logprobs(torch.zeros(0, 5), torch.zeros(0).long(), torch.nn.Identity(), chunk=4).shape == (
        0,
    )


def test_sums_go_to_the_owner():
    sums = sum_by_sequence(torch.tensor([1.0, 2.0, 4.0, 8.0]), torch.tensor([0, 0, 2, 2]), 3)
    assert sums.tolist() == [3.0, 0.0, 12.0]


def test_weights_of_the_longer_answers_excess_and_of_a_mean():
    """Answers of 4 and 2 tokens: of the longer one, tokens 3 and 4 are excess. Means divide by 4 and by 2."""
    lengths, others = torch.tensor([4, 2]), torch.tensor([2, 4])
    plain = answer_weights(lengths, others, excess=1.0, normalised=False)
    assert plain.tolist() == [1.0] * 6
    excess = answer_weights(lengths, others, excess=0.25, normalised=False)
    assert excess.tolist() == [1.0, 1.0, 0.25, 0.25, 1.0, 1.0]
    mean = answer_weights(lengths, others, excess=1.0, normalised=True)
    assert mean.tolist() == [0.25] * 4 + [0.5] * 2


def test_a_length_margin_leaves_less_to_learn_from_a_longer_chosen_answer():
    """Margin 0, 10 tokens longer, alpha 0.1: -log sigmoid(1) = 0.3133; 10 shorter: -log sigmoid(-1) = 1.3133.

    The gradient of chosen is -beta * sigmoid(-1) = -0.2689 in the first case and -0.7311 in the second.
    """
    for gap, loss, gradient in ((10, 0.3133, -0.2689), (-10, 1.3133, -0.7311)):
        chosen = torch.zeros(1, requires_grad=True)
        rest = torch.zeros(1)
        losses, margin = dpo_losses(chosen, rest, rest, rest, beta=1.0, more=0.1 * torch.tensor([gap]))
        losses.sum().backward()
        assert losses.item() == pytest.approx(loss, abs=1e-4)
        assert margin.item() == 0.0
        assert chosen.grad.item() == pytest.approx(gradient, abs=1e-4)
