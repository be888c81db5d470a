"""What the paper's dropout does to a small model before any training: loss on the seed's answers."""

import torch

from srlm.chat_format import load_tokenizer
from srlm.config import ModelSection, SeedSection, SftSection
from srlm.models import resolve
from srlm.seeds import load_seed
from srlm.training.batches import collate, encode, micro_batches
from srlm.training.policy import answer_logprobs, load_policy


@torch.no_grad()
def main() -> None:
    model = resolve(ModelSection())
    tokenizer = load_tokenizer(model.path)
    seed = load_seed(SeedSection())
    items = [encode(tokenizer, item.prompt, item.response) for item in seed.heldout_instructions]
    for dropout in (0.0, 0.02, 0.05, 0.1):
        policy = load_policy(model.path, SftSection(dropout=dropout)).train()
        torch.manual_seed(0)
        total = 0.0
        for group in micro_batches([len(item.ids) for item in items], 2048):
            batch = collate([items[index] for index in group], tokenizer.pad_token_id)
            total -= float(answer_logprobs(policy, batch).sum())
        print(f"dropout {dropout:<5} loss {total / sum(item.num_targets for item in items):.3f} nats a token")


if __name__ == "__main__":
    main()
