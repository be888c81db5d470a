"""Training on this machine: tokens a second and peak memory, padded and flat rows in turn.

Forward and backward passes of whole optimiser batches by the built-in model: SFT on the built-in seed set, 16
examples a batch, and DPO on 8 pairs whose answers have 40 to 400 tokens. Tokens are those of all sequences,
shared or not, so both ways are given the same count. Medians; the ratio is the median of ratios. Memory is
the process's peak over a batch, weights and gradients included.

    python benchmarks/training.py [MICRO_TOKENS [BATCHES]]
"""

import random
import statistics
import sys
import time
from pathlib import Path

import torch
from texts import text

from srlm.chat_format import load_tokenizer
from srlm.config import DpoSection, ModelSection, SeedSection, SftSection
from srlm.devices import device_of
from srlm.judging.eft import eft_examples
from srlm.judging.rubric import load_rubric
from srlm.memory import give_back_memory
from srlm.models import resolve
from srlm.seeds import load_seed
from srlm.training import rows
from srlm.training.batches import encode, training_order
from srlm.training.dpo import TokenPair, dpo_micro_loss
from srlm.training.policy import load_policy
from srlm.training.sft import sft_micro_loss

WAYS = {"padded": "sdpa", "flat": rows.NAME}


def sft_items(tokenizer):
    seed = load_seed(SeedSection())
    examples = [*seed.instructions, *eft_examples(seed.ranked, load_rubric("additive"))]
    return [encode(tokenizer, item.prompt, item.response) for item in examples]


def dpo_items(tokenizer):
    prompts = [item.prompt for item in load_seed(SeedSection()).instructions]
    chance = random.Random(0)

    def answer(seed):
        words = tokenizer(text(seed, 400, 400), add_special_tokens=False)["input_ids"]
        return tokenizer.decode(words[: chance.randint(40, 400)])

    return [
        TokenPair(*(encode(tokenizer, prompt, answer(2 * n + side)) for side in (0, 1)))
        for n, prompt in enumerate(prompts[:64])
    ]


def peak_gib():
    """Peak of this process since `forget_peak`, GiB (Linux), or what CUDA allocated."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**30
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 2**20


def forget_peak():
    give_back_memory()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def train(model, units, loss_of, batch, micro_tokens):
    """Tokens a second of one optimiser batch, and the peak."""
    forget_peak()
    started, tokens, loss_of = time.perf_counter(), 0, loss_of(batch)
    for group in rows.split(model, [units[index] for index in batch], micro_tokens):
        loss, metrics = loss_of(model, [batch[place] for place in group])
        loss.backward()
        tokens += metrics["tokens"]
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    rate = tokens / (time.perf_counter() - started)
    model.zero_grad(set_to_none=False)
    return rate, peak_gib()


def main():
    micro_tokens, batches = (int(given) for given in [*sys.argv[1:], "1024", "5"][:2])
    path, device = resolve(ModelSection()).path, device_of("auto")
    tokenizer, model = load_tokenizer(path), load_policy(path, SftSection(dropout=0)).to(device).train()
    pad = tokenizer.pad_token_id

    def autocast():
        return torch.autocast(device, dtype=torch.bfloat16)

    examples, pairs = sft_items(tokenizer), dpo_items(tokenizer)
    known = [(-100.0, -100.0)] * len(pairs)
    kinds = {
        "sft": ([(item,) for item in examples], sft_micro_loss(examples, pad, autocast), 16),
        "dpo": (pairs, dpo_micro_loss(pairs, known, DpoSection(), pad, autocast), 8),
    }
    print(f"{micro_tokens} tokens a micro-batch, {device}; tokens/s, GiB")
    for kind, (units, loss_of, size) in kinds.items():
        found = {name: [] for name in WAYS}
        for batch in training_order(len(units), size, 1.0, 0)[: batches + 1]:
            for name, attention in WAYS.items():
                model.set_attn_implementation(attention)
                found[name].append(train(model, units, loss_of, batch, micro_tokens))
        for name, figures in found.items():
            rate = statistics.median(rate for rate, _ in figures[1:])  # the first warms up
            ratio = statistics.median(
                a / b for (a, _), (b, _) in zip(figures[1:], found["padded"][1:], strict=True)
            )
            peak = max(peak for _, peak in figures[1:])
            print(f"{kind:<5}{name:<8}{rate:>8.0f} tokens/s {ratio:>6.2f} {peak:>6.2f} GiB", flush=True)


if __name__ == "__main__":
    main()
