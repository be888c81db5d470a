"""Rows that share their beginning write what they would have written each alone."""

import pytest
import torch
import transformers
from transformers import DynamicCache

from srlm.config import LocalEngineSection
from srlm.engines.attention import ONE_TOKEN, can_branch, decode_grouped
from srlm.engines.base import Request
from srlm.engines.branches import GROWTH, Branches, branch_off
from srlm.engines.local import LocalEngine
from srlm.records import ask

HEAD = "Judge how well the answer fits the question, on a scale of five points. " * 4


def requests(head):
    texts = ("Rain.", "Snow that melts before noon.", "Fog over a long, long river.", "Ice.")
    return [
        Request(
            id=text,
            conversation=ask(head + text),
            purpose="response",
            seed=7 + number,
            n=1 + number % 3,
            temperature=1.5,
            top_p=1.0,
            max_tokens=GROWTH + 9,
            stop=("a",),  # rows end at different times
        )
        for number, text in enumerate(texts)
    ]


@pytest.mark.parametrize("head", ["", HEAD])
def test_branches_change_no_draw(tiny, head):
    found = []
    for branches in (True, False):
        engine = LocalEngine(LocalEngineSection(device="cpu", dtype="float32"), tiny)
        engine._load()
        assert engine._branches
        engine._branches = branches
        replies = engine.generate(requests(head))
        found.append({(one.request_id, one.draw): (one.text, one.num_tokens, one.finish) for one in replies})
    assert found[0] == found[1]
    assert len(found[0]) == 7
    assert len({tokens for _, tokens, _ in found[0].values()}) > 2


def test_each_row_sees_its_own_trunk_and_branch_alone(tiny):
    """Logits of four rows on two padded prompts, against each row by itself, some rows dropped on the way."""
    model = transformers.AutoModelForCausalLM.from_pretrained(tiny.path, dtype=torch.float32).eval()
    decode_grouped(model)
    prompts = [[5, 6, 7, 8, 9], [5, 6, 11]]
    counts, written = [3, 1], [[21, 22, 23], [31, 32, 33], [41, 42, 43], [51, 52, 53]]
    with torch.inference_mode():
        ids = torch.tensor([prompts[0], [5, 6, 0, 0, 11]])
        mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 1]])
        cache = DynamicCache(config=model.config)
        places = (mask.cumsum(1) - 1).clamp(min=0)
        model(input_ids=ids, attention_mask=mask, position_ids=places, past_key_values=cache, use_cache=True)
        branches = branch_off(cache, mask, 2, counts)
        kept = [0, 1, 2, 3]
        for step in range(3):
            if step == 2:
                kept = [1, 3]
                branches.select(torch.tensor(kept))
            owners = [prompts[0 if row < 3 else 1] for row in kept]
            output = model(
                input_ids=torch.tensor([[written[row][step]] for row in kept]),
                attention_mask=ONE_TOKEN,
                position_ids=torch.tensor([[len(owner) + step] for owner in owners]),
                past_key_values=branches,
                use_cache=True,
            ).logits[:, -1]
            branches.advance()
            for place, (row, owner) in enumerate(zip(kept, owners, strict=True)):
                alone = model(torch.tensor([[*owner, *written[row][: step + 1]]])).logits[0, -1]
                torch.testing.assert_close(output[place], alone, atol=1e-4, rtol=1e-4)


def test_trunks_without_rows_are_dropped():
    class Layer:
        keys = values = torch.arange(4.0).view(4, 1, 1, 1).expand(4, 1, 3, 2)

    class Cache:
        layers = (Layer,)

    branches = branch_off(Cache, torch.ones(4, 3), 0, [2, 2, 2, 2])
    branches.select(torch.tensor([2, 5, 7]))
    assert branches.trunks[0].num == 4
    branches.select(torch.tensor([2]))
    assert branches.trunks[0].num == 1
    scores = branches.trunks[0].scores(torch.ones(1, 1, 1, 2), 0)
    assert scores.flatten().tolist() == [6.0, 6.0, 6.0]
    assert branches.get_seq_length() == 3
    assert isinstance(branches, Branches)


@pytest.mark.parametrize(
    ("family", "can"),
    [("Llama", True), ("Qwen2", True), ("GPTNeoX", True), ("GPT2", True), ("Gemma2", False)],
)
def test_whether_a_model_can_branch_is_tried(family, can):
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2} if family in {"Llama", "Qwen2", "Gemma2"} else {}
    sizes |= {"head_dim": 8} if family == "Gemma2" else {}
    if family == "GPT2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4}
    torch.manual_seed(0)
    config = getattr(transformers, f"{family}Config")(vocab_size=60, pad_token_id=0, **sizes)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    decode_grouped(model)
    assert can_branch(model) == can
