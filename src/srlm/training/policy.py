"""The model under training: loading, dropout, adapters, and the log-probabilities of answers."""

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from srlm.config import TrainingSection
from srlm.errors import ModelError
from srlm.models import load_weights
from srlm.records import seed_for
from srlm.training.batches import Batch
from srlm.training.losses import target_logprobs
from srlm.training.rows import FlatBatch, train_flat
from srlm.training.world import unwrapped

BLOCK_OUTPUTS = ("o_proj", "down_proj", "c_proj", "out_proj", "dense_4h_to_h", "fc2")
"""Names of the last linear layer of attention and MLP blocks, over the model families."""

HELD = 2**27
"""Logits that are held at once, whatever the vocabulary: of 49,152 tokens those of 2,730 targets."""


def load_policy(
    folder: Path, section: TrainingSection, *, seed: int = 0, trust_remote_code: bool = False
) -> Any:
    """The model to train, in `section.weights` precision, with dropout and adapters as asked.

    Adapters begin with random numbers, drawn from `seed`.
    """
    model = load_weights(folder, section.weights, trust_remote_code=trust_remote_code)
    model.config.use_cache = False
    check_head(model)
    train_flat(model)
    if section.lora:
        from peft import LoraConfig, get_peft_model

        adapters = LoraConfig(
            r=section.lora.rank,
            lora_alpha=section.lora.alpha,
            lora_dropout=section.lora.dropout,
            target_modules="all-linear",
            task_type="CAUSAL_LM",
        )
        torch.manual_seed(seed_for(seed, "adapters"))
        model = get_peft_model(model, adapters)
        model.enable_input_require_grads()
    if section.dropout:  # on the adapted layers, so that what adapters add is dropped as well
        add_dropout(model, section.dropout)
    return model


def add_dropout(model: nn.Module, probability: float) -> None:
    """Dropout on the output of every attention and MLP block (section 3.1.3: 0.1).

    Llama-like models have no such dropout in their config, and attention dropout leaves the fast
    attention kernels; a hook on each block's last layer is the same for all families.
    """

    def drop(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return F.dropout(output, probability, module.training)

    ends = [module for name, module in model.named_modules() if name.split(".")[-1] in BLOCK_OUTPUTS]
    if not ends:
        raise ModelError(
            f"dropout {probability} on a {type(model).__name__}",
            f"none of its layers is named {', '.join(BLOCK_OUTPUTS)}, so dropout would silently not happen",
            "set sft.dropout=0 and dpo.dropout=0 for this model",
        )
    for module in ends:
        module.register_forward_hook(drop)


def answer_logprobs(
    model: Any, batch: Batch | FlatBatch, autocast: AbstractContextManager[Any] | None = None
) -> Tensor:
    """Log-probability of every target token of a batch: [targets], float32.

    The whole model runs, but its head sees one position a sequence; the hidden states in front of the
    targets are taken on the way and go through the head in chunks of `HELD` logits.
    """
    plain = unwrapped(model)
    head = plain.get_output_embeddings()
    taken: list[Tensor] = []

    def take(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        taken.append(inputs[0])
        return (inputs[0][:, :1], *inputs[1:])

    with autocast or nullcontext():  # one for both, or the head's weights would be cast twice
        handle = head.register_forward_pre_hook(take)
        try:
            model(**batch.inputs())
        finally:
            handle.remove()
        return target_logprobs(
            batch.before_targets(taken[0]),
            batch.targets,
            lambda hidden: logits_of(plain, hidden),
            chunk=max(1, HELD // len(head.weight)),
        )


def logits_of(model: Any, hidden: Tensor) -> Tensor:
    """The model's logits [n, vocabulary] of last hidden states [n, width], with its scaling."""
    config = model.config.get_text_config()
    logits: Tensor = model.get_output_embeddings()(hidden)
    if scale := getattr(config, "logit_scale", None):  # Cohere
        logits = logits * scale
    if scaling := getattr(config, "logits_scaling", None):  # Granite
        logits = logits / scaling
    if cap := getattr(config, "final_logit_softcapping", None):  # Gemma
        logits = torch.tanh(logits / cap) * cap
    return logits


@torch.no_grad()
def check_head(model: Any) -> None:
    """Raise ModelError when `logits_of` is not what the model itself computes."""
    ids = torch.arange(1, 9)[None]
    taken: list[Tensor] = []
    handle = model.get_output_embeddings().register_forward_pre_hook(
        lambda _, inputs: taken.append(inputs[0])
    )
    was_training = model.training
    model.eval()
    own = model(input_ids=ids.to(model.device)).logits
    handle.remove()
    model.train(was_training)
    if not torch.allclose(own, logits_of(model, taken[0]), atol=1e-3, rtol=1e-3):
        raise ModelError(
            f"a {type(model).__name__}",
            "it changes its logits after the head in a way that srlm does not know, "
            "so every log-probability would be wrong",
            "report the model's class, or use another model",
        )
