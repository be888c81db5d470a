"""TRL as the oracle: the same tensors give the same loss and the same gradients (fp32, 1e-5)."""

import pytest
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from srlm.chat_format import load_tokenizer
from srlm.config import DpoSection
from srlm.training.batches import encode
from srlm.training.dpo import TokenPair, dpo_micro_loss, reference_logprobs
from srlm.training.policy import answer_logprobs, check_head
from srlm.training.sft import sft_micro_loss
from srlm.training.world import World

TEXTS = [
    ("What is rain?", "Water that falls from clouds.", "No."),
    ("Name three rivers, please, and the sea each flows into.", "Rhine.", "The Rhine, the Po and the Loire."),
    ("Hi", "Hello there, how are you?", "Bye"),
]
CPU = {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True}


def gradients(model):
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def load(path):
    return AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()


@pytest.fixture
def tokenizer(tiny):
    return load_tokenizer(tiny.path)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"excess_weight": 0.4}, {"ld_alpha": 0.4}),
        ({"length_normalised": True}, {"loss_type": ["sigmoid_norm"]}),
        ({"loss": "ipo", "length_normalised": True}, {"loss_type": ["ipo"]}),
        (
            {"loss": "robust", "label_smoothing": 0.2},
            {"loss_type": ["robust"], "label_smoothing": 0.2},
        ),
    ],
    ids=["DPO", "LD-DPO", "LN-DPO", "IPO", "robust DPO"],
)
def test_dpo_equals_trl(tiny, tokenizer, tmp_path, ours, theirs):
    policy, reference = load(tiny.path), load(tiny.path)
    torch.manual_seed(0)
    with torch.no_grad():  # move the policy away from the reference, or every margin is zero
        for parameter in policy.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.02)
    pairs = [TokenPair(encode(tokenizer, p, c), encode(tokenizer, p, r)) for p, c, r in TEXTS]
    rows = Dataset.from_list([{"prompt": p, "chosen": c, "rejected": r} for p, c, r in TEXTS])
    config = DPOConfig(output_dir=str(tmp_path), beta=0.3, **CPU, **theirs)
    trainer = DPOTrainer(policy, reference, config, train_dataset=rows, processing_class=tokenizer)
    inputs = trainer.data_collator(
        [
            {
                "prompt_ids": list(pair.chosen.ids[: pair.chosen.start]),
                "chosen_ids": list(pair.chosen.ids[pair.chosen.start :]),
                "rejected_ids": list(pair.rejected.ids[pair.rejected.start :]),
            }
            for pair in pairs
        ]
    )
    wanted = trainer.compute_loss(policy, inputs)
    wanted.backward()
    wanted_gradients = gradients(policy)

    section = DpoSection(beta=0.3, micro_tokens=64, **ours)
    known = reference_logprobs(
        tmp_path / "r.jsonl", reference, pairs, section, pad=0, autocast=lambda: None, world=World()
    )
    share = dpo_micro_loss(pairs, known, section, pad=0, autocast=lambda: None)([0, 1, 2])
    total = 0.0
    for group in ([2], [0, 1]):
        loss, metrics = share(policy, group)
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(wanted.item(), abs=1e-5)
    assert abs(total - 0.6931) > 1e-3  # not the trivial start
    torch.testing.assert_close(gradients(policy), wanted_gradients, atol=1e-5, rtol=1e-5)
    assert metrics["tokens"] > 0


def test_sft_equals_trl(tiny, tokenizer, tmp_path):
    model = load(tiny.path)
    items = [encode(tokenizer, prompt, answer) for prompt, answer, _ in TEXTS]
    rows = Dataset.from_list([{"prompt": p, "completion": c} for p, c, _ in TEXTS])
    config = SFTConfig(output_dir=str(tmp_path), **CPU)
    trainer = SFTTrainer(model, config, train_dataset=rows, processing_class=tokenizer)
    longest = max(len(item.ids) for item in items)
    inputs = {
        "input_ids": torch.tensor([[*item.ids, *[0] * (longest - len(item.ids))] for item in items]),
        "attention_mask": torch.tensor(
            [[1] * len(item.ids) + [0] * (longest - len(item.ids)) for item in items]
        ),
        "labels": torch.tensor(
            [
                [-100] * item.start + list(item.ids[item.start :]) + [-100] * (longest - len(item.ids))
                for item in items
            ]
        ),
    }
    wanted = trainer.compute_loss(model, inputs)
    wanted.backward()
    wanted_gradients = gradients(model)

    share = sft_micro_loss(items, pad=0, autocast=lambda: None)([0, 1, 2])
    total = 0.0
    for group in ([1], [0, 2]):
        loss, _ = share(model, group)
        loss.backward()
        total += loss.item()
    assert total == pytest.approx(wanted.item(), abs=1e-5)
    torch.testing.assert_close(gradients(model), wanted_gradients, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("family", ["Llama", "Qwen2", "GPTNeoX", "Gemma2", "Cohere", "Granite", "GPT2"])
def test_answer_logprobs_equal_the_models_own_logits(family):
    """Heads differ: scaling, soft caps and biases must all be in the log-probabilities."""
    import transformers

    from srlm.training.batches import Tokens, collate

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"num_key_value_heads": 2} if family not in {"GPTNeoX", "GPT2"} else {}
    if family == "GPT2":
        sizes = {"n_embd": 32, "n_layer": 2, "n_head": 4}
    if family == "Gemma2":
        sizes |= {"head_dim": 8, "final_logit_softcapping": 3.0}
    special = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    torch.manual_seed(1)
    config = getattr(transformers, f"{family}Config")(vocab_size=99, **sizes, **special)
    model = AutoModelForCausalLM.from_config(config).eval()
    check_head(model)
    batch = collate([Tokens((5, 6, 7, 8, 9), 2), Tokens((3, 4, 5), 1)], pad=0)
    found = answer_logprobs(model, batch)
    logits = model(input_ids=batch.ids, attention_mask=batch.mask).logits.log_softmax(-1)
    wanted = logits[batch.where].gather(1, batch.targets[:, None])[:, 0]
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
