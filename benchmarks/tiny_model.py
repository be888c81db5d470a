"""A random two-layer Llama, for tests and for measuring what surrounds a model."""

from pathlib import Path
from typing import Any


def save_tiny_model(folder: Path, tokenizer: Any, head: float = 1, head_dim: int = 8) -> None:
    """Save it with its tokenizer; `head` multiplies its logits, which makes its choices sharper.

    `head_dim`: numbers of each attention head.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=head_dim,
        max_position_embeddings=2048,
        tie_word_embeddings=False,  # tied and random, it would repeat its last token for ever
        initializer_range=0.5,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    model = LlamaForCausalLM(config)
    model.lm_head.weight.data *= head
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
