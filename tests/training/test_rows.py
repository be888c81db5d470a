"""Flat rows against the plain way: right-padded rows, one a sequence."""

from dataclasses import replace

import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st

from srlm.config import DpoSection
from srlm.training.batches import Tokens, collate
from srlm.training.dpo import TokenPair, dpo_micro_loss
from srlm.training.policy import add_dropout, answer_logprobs
from srlm.training.rows import flat_micro_batches, is_flat, lay_flat, split, train_flat
from srlm.training.sft import sft_micro_loss

FAMILIES = ["Llama", "Qwen2", "GPTNeoX"]
HEAD = tuple(range(10, 30))
ITEMS = [
    Tokens((*HEAD, 40, 41, 42, 43), 20),
    Tokens((*HEAD, 40, 41, 50), 20),  # begins as the first even in its answer
    Tokens((7, 6, 5), 1),
    Tokens((*HEAD, 40, 41, 42, 43, 44, 45, 46), 22),  # goes on where the first ends
    Tokens((*HEAD[:8], 9, 9), 8),
    Tokens((7, 6, 5), 2),  # the same tokens with other targets
]
PAIRS = [TokenPair(ITEMS[0], ITEMS[1]), TokenPair(ITEMS[2], ITEMS[5]), TokenPair(ITEMS[3], ITEMS[4])]


def make(family, **more):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    if family != "GPTNeoX":
        sizes["num_key_value_heads"] = 2
    config = getattr(transformers, f"{family}Config")(
        vocab_size=99, initializer_range=0.3, pad_token_id=0, bos_token_id=1, eos_token_id=2, **sizes, **more
    )
    torch.manual_seed(1)
    return transformers.AutoModelForCausalLM.from_config(config).eval()


def flat_model(family):
    model = make(family)
    train_flat(model)
    assert is_flat(model)
    return model


def gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def assert_same_logprobs_and_gradients(model, items):
    weights = torch.linspace(0.5, 1.5, sum(item.num_targets for item in items))
    found = []
    for batch in (lay_flat(items), collate(items, 0)):
        logprobs = answer_logprobs(model, batch)
        (logprobs * weights).mean().backward()
        found.append((logprobs.detach(), batch.targets, batch.owners, batch.num_tokens, gradients(model)))
    torch.testing.assert_close(found[0], found[1], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_flat_rows_give_the_logprobs_and_gradients_of_padded_rows(family):
    assert_same_logprobs_and_gradients(flat_model(family), ITEMS)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_gradient_of_a_shared_prompt_is_that_of_its_rows(family):
    assert_same_logprobs_and_gradients(flat_model(family), ITEMS[:2])


def test_long_rows_of_many_lengths_are_the_same():
    random = torch.Generator().manual_seed(0)

    def some(number):
        return tuple(torch.randint(3, 99, (number,), generator=random).tolist())

    head = some(150)
    items = [Tokens((*head, *some(n)), 150) for n in (3, 40, 90, 200)] + [
        Tokens(some(n), 1) for n in (5, 260)
    ]
    assert_same_logprobs_and_gradients(flat_model("Llama"), items)


def test_gradient_checkpointing_finds_the_rows_again():
    model = flat_model("Llama").train()
    plain = answer_logprobs(model, lay_flat(ITEMS))
    plain.sum().backward()
    wanted = gradients(model)
    model.gradient_checkpointing_enable()
    again = answer_logprobs(model, lay_flat(ITEMS))
    answer_logprobs(model, lay_flat(ITEMS[:1]))  # another layout before the backward pass
    again.sum().backward()
    torch.testing.assert_close(gradients(model), wanted, atol=1e-5, rtol=1e-5)


def test_adapters_train_on_flat_rows():
    from peft import LoraConfig, get_peft_model

    adapters = LoraConfig(r=4, target_modules="all-linear", init_lora_weights=False)
    model = get_peft_model(flat_model("Llama"), adapters)
    assert is_flat(model)
    assert_same_logprobs_and_gradients(model, ITEMS)


def test_dropout_falls_on_flat_rows():
    model = flat_model("Llama")
    plain = answer_logprobs(model, lay_flat(ITEMS))
    add_dropout(model, 0.5)
    assert torch.equal(answer_logprobs(model, lay_flat(ITEMS)), plain)
    assert not torch.allclose(answer_logprobs(model.train(), lay_flat(ITEMS)), plain)


def test_bfloat16_products_are_near():
    model = flat_model("Llama")
    found = [
        answer_logprobs(model, batch, torch.autocast("cpu", torch.bfloat16)).detach()
        for batch in (lay_flat(ITEMS), collate(ITEMS, 0))
    ]
    torch.testing.assert_close(found[0], found[1], atol=0.1, rtol=0.05)


def test_no_row_sees_another():
    """What another row holds changes no bit of a row's log-probabilities, beyond what it shares."""
    model = flat_model("Llama")
    one, other = (
        answer_logprobs(model, lay_flat([ITEMS[0], Tokens((*HEAD, *ending), 20), ITEMS[2]]))
        for ending in ((40, 41, 50, 51), (77, 78, 79, 80))
    )
    torch.testing.assert_close(one[:4], other[:4], atol=1e-6, rtol=0)
    torch.testing.assert_close(one[8:], other[8:], atol=1e-6, rtol=0)
    assert not torch.allclose(one[4:8], other[4:8])


def test_a_pair_counts_as_far_as_it_is_believed_and_by_its_weight():
    model, section = make("Llama"), DpoSection(beta=0.3, length_margin=0.1)
    reference = [(-20.0, -18.0), (-9.0, -3.0), (-30.0, -11.0)]
    turned = [(rejected, chosen) for chosen, rejected in reference]

    def losses(pairs, known):
        share = dpo_micro_loss(pairs, known, section, pad=0, autocast=lambda: None)
        return [float(share([place])(model, [place])[0]) for place in range(3)]

    right = losses(PAIRS, reference)
    wrong = losses([TokenPair(pair.rejected, pair.chosen) for pair in PAIRS], turned)
    doubted = losses([replace(pair, label=0.7, weight=0.5) for pair in PAIRS], reference)
    assert right != pytest.approx(wrong, rel=0.01)
    assert doubted == pytest.approx([0.5 * (0.7 * a + 0.3 * b) for a, b in zip(right, wrong, strict=True)])


def test_positives_alone_are_an_sft_of_chosen():
    model, section = make("Llama"), DpoSection(loss="sft")
    share = dpo_micro_loss(PAIRS, [(0.0, 0.0)] * 3, section, pad=0, autocast=lambda: None)([0, 1, 2])
    chosen = sft_micro_loss([pair.chosen for pair in PAIRS], pad=0, autocast=lambda: None, balance="examples")
    loss, metrics = share(model, [0, 1, 2])
    assert float(loss) == pytest.approx(float(chosen([0, 1, 2])(model, [0, 1, 2])[0]))
    assert metrics["chosen_logprob"] < 0


@pytest.mark.parametrize("section", [DpoSection(beta=0.3), DpoSection(beta=0.3, excess_weight=0.4)])
def test_examples_beside_the_pairs_are_learned_by_their_likelihood(section):
    model, reference = make("Llama"), [(-20.0, -18.0), (-9.0, -3.0), (-30.0, -11.0), (0.0, 0.0)]
    alone = dpo_micro_loss(PAIRS, reference, section, pad=0, autocast=lambda: None)([0, 1, 2])
    example = sft_micro_loss([ITEMS[0]], pad=0, autocast=lambda: None)([0])
    share = dpo_micro_loss([*PAIRS, ITEMS[0]], reference, section, pad=0, autocast=lambda: None)([0, 1, 2, 3])
    loss, metrics = share(model, [0, 1, 2, 3])
    pairs, of_pairs = alone(model, [0, 1, 2])
    expected = (3 * float(pairs) + float(example(model, [0])[0])) / 4
    assert float(loss) == pytest.approx(expected)
    assert metrics["margin"] == pytest.approx(of_pairs["margin"])
    cut = sum(float(share(model, part)[0]) for part in ([0, 3], [1], [2]))
    assert cut == pytest.approx(float(loss))
    assert float(share(model, [3])[0]) == pytest.approx(float(example(model, [0])[0]) / 4)


@pytest.mark.parametrize("family", FAMILIES)
def test_losses_and_metrics_equal_the_plain_ones(family):
    models = flat_model(family), make(family)
    assert [is_flat(model) for model in models] == [True, False]
    reference = [(-20.0, -18.0), (-9.0, -3.0), (-30.0, -11.0)]
    for shares in (
        dpo_micro_loss(PAIRS, reference, DpoSection(beta=0.3), pad=0, autocast=lambda: None)([0, 1, 2]),
        sft_micro_loss(ITEMS, pad=0, autocast=lambda: None)([0, 1, 2]),
        sft_micro_loss(ITEMS, pad=0, autocast=lambda: None, balance="examples")([0, 1, 2]),
    ):
        found = []
        for model in models:
            loss, metrics = shares(model, [0, 1, 2])
            loss.backward()
            found.append((loss.detach(), metrics, gradients(model)))
        torch.testing.assert_close(found[0][0], found[1][0], atol=1e-5, rtol=1e-5)
        seen = [metrics.pop("distinct_tokens") for _, metrics, _ in found]
        assert seen[1] == found[1][1]["tokens"] > seen[0]
        assert found[0][1] == pytest.approx(found[1][1], abs=1e-5)
        torch.testing.assert_close(found[0][2], found[1][2], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("family", "more"),
    [
        ("Gemma2", {"head_dim": 8}),
        ("Mistral", {"sliding_window": 4}),
        ("Llama", {"attn_implementation": "eager"}),
    ],
)
def test_what_cannot_stays_padded(family, more):
    model = make(family, **more)
    before = model.config._attn_implementation
    train_flat(model)
    assert not is_flat(model)
    assert model.config._attn_implementation == before
    assert split(model, [(item,) for item in ITEMS[:2]], 47) == [[0], [1]]  # 24 + 24 padded tokens


def test_a_model_that_does_not_hand_the_rows_on_stays_padded(monkeypatch):
    model = make("Llama")
    forward = model.model.forward

    def without_rows(*args, flat_rows=None, **kwargs):
        return forward(*args, **kwargs)

    monkeypatch.setattr(model.model, "forward", without_rows)
    train_flat(model)
    assert model.config._attn_implementation == "sdpa"


def test_the_layout_holds_each_beginning_once():
    batch = lay_flat([Tokens((5, 6, 7, 8), 2), Tokens((5, 6, 9), 2)])
    assert batch.ids.tolist() == [[5, 6, 7, 8, 9]]
    assert batch.positions.tolist() == [[0, 1, 2, 3, 2]]
    assert batch.where.tolist() == [1, 2, 1]
    assert batch.targets.tolist() == [7, 8, 9]
    assert batch.owners.tolist() == [0, 0, 1]
    assert batch.num_tokens == 7


sequences = st.lists(st.integers(1, 3), min_size=2, max_size=9).map(lambda ids: Tokens(tuple(ids), 1))


@given(st.lists(sequences, min_size=1, max_size=12))
def test_tokens_and_places_of_any_sequences_are_right(items):
    batch = lay_flat(items)
    beginnings = {item.ids[:end] for item in items for end in range(1, len(item.ids) + 1)}
    assert batch.ids.numel() == len(beginnings)
    assert batch.ids[0, batch.where].tolist() == [token for item in items for token in item.ids[:-1]]
    assert batch.rows.into.sources[batch.rows.back.sources].tolist() == list(range(len(beginnings)))


@given(st.lists(st.tuples(sequences, sequences), min_size=1, max_size=12), st.integers(2, 40))
def test_micro_batches_keep_pairs_whole_and_within_the_budget(pairs, budget):
    groups = flat_micro_batches(pairs, budget)
    assert sorted(index for group in groups for index in group) == list(range(len(pairs)))
    for group in groups:
        items = [item for index in group for item in pairs[index]]
        assert len(group) == 1 or lay_flat(items).ids.numel() <= budget


def test_rows_with_the_same_beginning_share_a_micro_batch():
    heads = [(tuple(range(start, start + 10))) for start in (10, 50)]
    units = [(Tokens((*heads[n % 2], n), 10),) for n in range(6)]
    assert flat_micro_batches(units, 13) == [[0, 2, 4], [1, 3, 5]]
