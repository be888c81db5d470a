"""A small model from nothing: a tokenizer whose tokens are words, random weights, and documents to read.

For worlds of a few dozen words, such as the proving ground's. What comes out is a folder like any other.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from srlm.config import PretrainingSection
from srlm.cores import set_threads

IGNORED = -100


def word_tokenizer(words: Sequence[str], chat_template: str) -> Any:
    """A tokenizer with a token a word, and one for a line break; spaces only part words.

    Names in angle brackets with a bar, as in ``<|end|>``, are control tokens; the first three of `words` are
    that of padding, that of unknown words and that which ends an answer.
    """
    pad, unknown, end = words[:3]
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r"[^\S\n]+"), "removed"),
            pre_tokenizers.Split("\n", "isolated"),
        ]
    )
    tokenizer.decoder = decoders.WordPiece(prefix="\0", cleanup=False)  # puts a space between words
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=pad,
        unk_token=unknown,
        eos_token=end,
        additional_special_tokens=[word for word in words[3:] if word.startswith("<|")],
        chat_template=chat_template,
        clean_up_tokenization_spaces=False,
    )


def pretrain(
    section: PretrainingSection, tokenizer: Any, documents: Sequence[str], target: Path, *, seed: int = 0
) -> float:
    """Train a Llama-like model on all tokens of the documents, save it with its tokenizer; the last loss.

    The loss is the mean over the last tenth of the steps, in nats a token.
    """
    set_threads()
    torch.manual_seed(seed)
    model = LlamaForCausalLM(_shape(section, tokenizer))
    encoded = tokenizer(list(documents), add_special_tokens=False)["input_ids"]
    batches = _batches(encoded, section.batch_size, seed)
    optimisers = _optimisers(section, model)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(one, lambda step: _rate(step, len(batches))) for one in optimisers
    ]
    losses = []
    for batch in batches:
        ids, labels = _padded([encoded[place] for place in batch], tokenizer.pad_token_id)
        logits = model(ids).logits  # padding stands behind, where nothing looks back from
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].reshape(-1, logits.shape[-1]), labels[:, 1:].reshape(-1), ignore_index=IGNORED
        )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimiser in optimisers:
            optimiser.step()
        for schedule in schedules:
            schedule.step()
        model.zero_grad()
        losses.append(float(loss.detach()))
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)
    last = losses[-max(1, len(losses) // 10) :]
    return sum(last) / len(last)


def _shape(section: PretrainingSection, tokenizer: Any) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=section.width,
        intermediate_size=section.width * 8 // 3,
        num_hidden_layers=section.layers,
        num_attention_heads=section.heads,
        max_position_embeddings=section.context,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )


def _optimisers(section: PretrainingSection, model: Any) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, which learns more in as many steps; AdamW for the rest."""
    inner = [weights for weights in model.model.layers.parameters() if weights.ndim == 2]
    known = set(map(id, inner))
    rest = [weights for weights in model.parameters() if id(weights) not in known]
    return [
        torch.optim.Muon(inner, section.muon_learning_rate, momentum=0.95, weight_decay=0.01),
        torch.optim.AdamW(rest, section.learning_rate, betas=(0.9, 0.95), weight_decay=0.01),
    ]


def _rate(step: int, total: int) -> float:
    """Warm-up over a twentieth of the steps, then a cosine to a tenth."""
    warmup = max(1, total // 20)
    if step < warmup:
        return (step + 1) / warmup
    return 0.1 + 0.45 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


def _batches(encoded: Sequence[Sequence[int]], size: int, seed: int) -> list[list[int]]:
    """Places of documents, shuffled; those of like length together, for padding is read in vain."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(encoded), generator=generator).tolist()
    batches = []
    for start in range(0, len(order), 16 * size):
        chunk = sorted(order[start : start + 16 * size], key=lambda place: len(encoded[place]))
        batches += [chunk[at : at + size] for at in range(0, len(chunk), size)]
    return [batches[place] for place in torch.randperm(len(batches), generator=generator).tolist()]


def _padded(rows: Sequence[Sequence[int]], pad: int) -> tuple[Tensor, Tensor]:
    """Ids and labels, [rows, longest]; labels of padding are ignored."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad] * (longest - len(row))] for row in rows])
    labels = torch.tensor([[*row, *[IGNORED] * (longest - len(row))] for row in rows])
    return ids, labels
