"""Prompts read as a tree and rows written as branches give what each row would have given alone."""

import pytest
import torch
import transformers
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from srlm.engines import forward as forwards
from srlm.engines.branches import GROWTH, SHARED_AT_LEAST, shared_beginning
from srlm.engines.forward import Padded, Sharing, forward_of
from srlm.engines.tree import grow
from srlm.errors import ModelError

SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
GROUPED = {"num_key_value_heads": 2}
HEAD = [5 + n % 40 for n in range(SHARED_AT_LEAST + 4)]


def make(family):
    more = GROUPED if family in {"Llama", "Qwen2", "Qwen3", "Gemma2", "Mistral"} else {}
    sizes = SIZES | more | ({"head_dim": 8} if family == "Gemma2" else {})
    if family == "GPT2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4}
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(vocab_size=60, pad_token_id=0, **sizes)
    return AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()


@torch.no_grad()
def alone(model, ids):
    return model(torch.tensor([ids])).logits[0, -1]


@pytest.mark.parametrize(
    ("family", "way"),
    [
        ("Llama", Sharing),
        ("Qwen2", Sharing),
        ("Qwen3", Sharing),
        ("GPTNeoX", Sharing),
        ("GPT2", Sharing),
        ("Gemma2", Padded),
        ("Mistral", Padded),  # a window
    ],
)
def test_whether_a_model_can_share_is_tried(family, way):
    assert type(forward_of(make(family), 0)) is way


def test_a_model_that_keeps_its_state_elsewhere_is_an_error_and_not_noise():
    """Mamba takes `cache_params`: each token after the first would follow from the last one alone."""
    torch.manual_seed(0)
    config = transformers.MambaConfig(
        vocab_size=60,
        hidden_size=32,
        num_hidden_layers=2,
        state_size=8,
        pad_token_id=0,
        initializer_range=0.3,
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    with pytest.raises(ModelError, match="family mamba") as raised:
        forward_of(model, 0)
    assert "engine.kind=openai" in raised.value.todo


def test_layers_of_states_are_padded():
    """Lfm2's convolutions: their cache has no batch_select_indices."""
    torch.manual_seed(0)
    config = transformers.Lfm2Config(
        vocab_size=60, pad_token_id=0, layer_types=["conv", "full_attention"], **SIZES | GROUPED
    )
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    way = forward_of(model, 0)
    assert type(way) is Padded
    rows, _ = way.begin([[5, 6, 7, 8], [9, 10]], [1, 2])
    found = way.step([rows], [[11, 12, 13]])[0]
    for logits, ids in zip(found, ([5, 6, 7, 8, 11], [9, 10, 12], [9, 10, 13]), strict=True):
        torch.testing.assert_close(logits, alone(model, ids), atol=1e-4, rtol=1e-4)


def test_padded_rows_need_room_for_the_longest_each():
    """Shared, a prompt is kept once; padded, every sample holds one, as long as the longest."""
    jobs = [(100, 4, 10), (20, 2, 30)]
    assert Sharing.room(None, jobs) == 100 + 4 * 10 + 20 + 2 * 30
    assert Padded.room(None, jobs) == 6 * (100 + 30)


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "GPTNeoX", "Gemma2"])
@pytest.mark.parametrize("head", [[], HEAD])
def test_each_row_sees_its_own_past_alone(family, head, monkeypatch):
    """Two waves of different ages, a prompt that is only looked at, rows dropped on the way."""
    monkeypatch.setattr(forwards, "READ_AT_A_TIME", 60)  # more than one tree a wave
    model, plain = make(family), make(family)
    way = forward_of(model, 0)
    first = [head + tail for tail in ([7, 8, 9], [7, 8, 11, 12], [7, 8, 9], [13])]
    second = [[*head, 21, 22], [*head, 23]]
    counts = [3, 0, 1, 2]
    old, logits = way.begin(first, counts)
    for found, prompt in zip(logits, first, strict=True):
        torch.testing.assert_close(found, alone(plain, prompt), atol=1e-4, rtol=1e-4)
    owners = [prompt for prompt, count in zip(first, counts, strict=True) for _ in range(count)]
    said = [[] for _ in owners]
    young, owners_young, said_young = None, second, [[], []]
    for step in range(GROWTH + 3):
        if step == 2:
            kept = [0, 5]  # half of the prompts have no row left
            old.select(kept)
            owners, said = [owners[n] for n in kept], [said[n] for n in kept]
            young, _ = way.begin(second, [1, 1])
        flights = [(old, owners, said)] + ([(young, owners_young, said_young)] if young else [])
        tokens = [[(step * 7 + row * 3) % 50 + 5 for row in range(len(rows))] for rows, _, _ in flights]
        for (_, _, texts), new in zip(flights, tokens, strict=True):
            for text, token in zip(texts, new, strict=True):
                text.append(token)
        found = way.step([rows for rows, _, _ in flights], tokens)
        if step not in {0, 2, GROWTH + 2}:
            continue
        for (_, prompts, texts), logits in zip(flights, found, strict=True):
            for row, (prompt, text) in enumerate(zip(prompts, texts, strict=True)):
                torch.testing.assert_close(logits[row], alone(plain, prompt + text), atol=1e-4, rtol=1e-4)


def test_what_is_shared_is_read_once():
    prompts = [[*HEAD, 7, 8], [*HEAD, 7, 9, 10], [*HEAD, 7, 8]]
    tree = grow(prompts)
    assert tree.ids.shape[1] == len(HEAD) + 5 - 1  # 7, 8 and 9, 10
    assert tree.paths[0] == tree.paths[2]
    assert shared_beginning(prompts) == len(HEAD) + 1
    assert shared_beginning([[1, 2, 3], [1, 2, 4]]) == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(1, 3), min_size=1, max_size=7), min_size=1, max_size=8))
def test_a_tree_holds_every_prompt_and_no_beginning_twice(prompts):
    tree = grow(prompts)
    for prompt, path in zip(prompts, tree.paths, strict=True):
        assert tree.ids[0, path].tolist() == prompt
        assert tree.depths[0, path].tolist() == list(range(len(prompt)))
    beginnings = {tuple(prompt[:end]) for prompt in prompts for end in range(1, len(prompt) + 1)}
    assert tree.ids.shape[1] == len(beginnings)
    asked = torch.cat([group.queries.flatten() for group in tree.groups])
    assert asked[tree.outputs].tolist() == list(range(len(beginnings)))


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "GPTNeoX", "Gemma2"])
def test_trees_are_really_used(family, monkeypatch):
    """So that the tests above do not compare the padded way with itself."""
    seen = []
    monkeypatch.setattr(forwards, "grow", lambda *given: seen.append(1) or grow(*given))
    way = forward_of(make(family), 0)
    seen.clear()
    way.begin([[5, 6, 7]], [1])
    assert bool(seen) == (family != "Gemma2")
