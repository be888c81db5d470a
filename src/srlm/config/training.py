"""SFT and DPO."""

from typing import Literal

from pydantic import Field, model_validator

from srlm.config.base import Device, Dtype, Precision, Section


class LoraSection(Section):
    """Low-rank adapters, merged into the saved model."""

    rank: int = Field(64, ge=1)
    alpha: int = Field(128, ge=1)
    dropout: float = Field(0.05, ge=0, lt=1)


class TrainingSection(Section):
    """What SFT and DPO share (section 3.1.3: batch 16, dropout 0.1, cosine to a floor)."""

    learning_rate: float = Field(..., gt=0, description="peak of the cosine")
    min_learning_rate: float = Field(..., ge=0, description="floor of the cosine")
    warmup: float = Field(0.0, ge=0, lt=1, description="share of the steps that warm up")
    batch_size: int = Field(16, ge=1, description="examples or pairs an optimiser step (paper: 16)")
    micro_tokens: int = Field(
        4096,
        ge=64,
        description="distinct tokens a forward pass, with padding where rows are padded; trades memory; "
        "shifts only last bits and dropout masks",
    )
    epochs: float = Field(1.0, gt=0, description="passes over the data (not in the paper)")
    max_length: int = Field(
        2048, ge=16, description="tokens of prompt and response; longer ones are left out"
    )
    dropout: float = Field(
        0.1, ge=0, lt=1, description="on the output of every attention and MLP block (0.1)"
    )
    weight_decay: float = Field(0.0, ge=0)
    max_grad_norm: float = Field(1.0, gt=0, description="gradient clipping")
    precision: Precision = Field(
        "auto",
        description="autocast of the forward pass; `auto`: bfloat16 where the machine multiplies it faster; "
        "weights stay in `weights`",
    )
    weights: Dtype = Field(
        "float32", description="of the trained and saved weights: 1e-6 vanishes in bfloat16"
    )
    device: Device = Field("auto", description="`auto` takes CUDA when it is there")
    gradient_checkpointing: bool = Field(False, description="less memory for about a third more time")
    compile: bool | Literal["auto"] = Field(
        "auto",
        description="torch.compile of the model's blocks; `auto`: on a CPU, where the training is long "
        "enough to pay for it; never in several processes",
    )
    lora: LoraSection | None = Field(None, description="adapters instead of all weights")
    save_steps: int = Field(200, ge=1, description="optimiser steps between checkpoints (paper: 200)")
    eval_steps: int | None = Field(
        None,
        ge=1,
        description="steps after which `evaluation.judge` compares the model with that of so many steps "
        "before, on a third of the held-out prompts, which measure nothing else then, and ends the training "
        "when it does not win; empty: never (paper: 200, on 253 prompts)",
    )

    @model_validator(mode="after")
    def _floor_below_peak(self) -> "TrainingSection":
        if self.min_learning_rate > self.learning_rate:
            raise ValueError("min_learning_rate is above learning_rate")
        return self


class PretrainingSection(Section):
    """A small Llama-like model from random weights (`srlm prove`)."""

    width: int = Field(128, ge=8, description="of the hidden state")
    layers: int = Field(3, ge=1)
    heads: int = Field(4, ge=1)
    context: int = Field(128, ge=16, description="tokens")
    learning_rate: float = Field(
        3e-3, gt=0, description="of embeddings, head and norms: peak of the cosine, which ends at a tenth"
    )
    muon_learning_rate: float = Field(0.02, gt=0, description="of the matrices of the blocks, by Muon")
    batch_size: int = Field(64, ge=1, description="documents an optimiser step")


class SftSection(TrainingSection):
    """M1: supervised fine-tuning on instructions and on judging (section 2.2)."""

    learning_rate: float = Field(5.5e-6, gt=0, description="paper: 5.5e-6")
    min_learning_rate: float = Field(1.1e-6, ge=0, description="paper: 1.1e-6")
    balance: Literal["tokens", "examples"] = Field(
        "tokens",
        description="what counts the same in the loss: every target token, or every example, so that long "
        "answers do not drown short judgments (open)",
    )


class DpoSection(TrainingSection):
    """M2, M3 ...: direct preference optimisation (section 2.4)."""

    learning_rate: float = Field(1e-6, gt=0, description="paper: 1e-6")
    min_learning_rate: float = Field(1e-7, ge=0, description="paper: 1e-7")
    beta: float = Field(0.1, gt=0, description="strength of the pull to the reference (paper: 0.1)")
    loss: Literal["dpo", "robust", "ipo", "simpo", "sft"] = Field(
        "dpo",
        description="DPO; robust DPO (arXiv 2403.00409); IPO (arXiv 2310.12036); SimPO "
        "(arXiv 2405.14734), which has no reference; or `sft`: chosen alone by its likelihood, the paper's "
        "ablation by positive examples",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="chance that a pair is the wrong way round: with `dpo` cDPO, needed by `robust`",
    )
    target_margin: float = Field(
        0.0, ge=0, description="gamma of SimPO: by how much chosen is to be ahead (there half of `beta`)"
    )
    nll: float = Field(
        0.0,
        ge=0,
        description="weight of the negative log-likelihood of chosen, a token (alpha of IRPO, "
        "arXiv 2404.19733: 1), which keeps it likely; 0: DPO",
    )
    length_margin: float = Field(
        0.0,
        description="added inside the sigmoid for each token that chosen is longer than rejected "
        "(alpha of R-DPO, arXiv 2403.19159); 0: DPO",
    )
    length_normalised: bool = Field(
        False,
        description="mean log-probabilities a token instead of sums (LN-DPO); wants a larger `beta`",
    )
    excess_weight: float = Field(
        1.0,
        ge=0,
        le=1,
        description="weight of tokens beyond the shorter answer's length (alpha of LD-DPO, "
        "arXiv 2409.06411); 1: DPO",
    )

    @model_validator(mode="after")
    def _terms_that_go_together(self) -> "DpoSection":
        if self.loss == "sft" and (self.nll or self.length_normalised or self.excess_weight != 1):
            raise ValueError(
                "loss=sft is the negative log-likelihood of chosen a token and nothing else: leave out "
                "nll, length_normalised and excess_weight"
            )
        smooth = self.loss in {"dpo", "robust"}
        if self.loss == "robust" and not self.label_smoothing:
            raise ValueError("loss=robust is DPO without label_smoothing, the share of wrong pairs: set it")
        if not smooth and (self.label_smoothing or self.length_margin):
            raise ValueError(
                f"loss={self.loss} has no label_smoothing and no length_margin: drop them, or take loss=dpo"
            )
        if self.loss == "simpo" and not self.length_normalised:
            raise ValueError("loss=simpo takes mean log-probabilities a token: set length_normalised=true")
        if self.target_margin and self.loss != "simpo":
            raise ValueError(
                f"target_margin is SimPO's, and loss={self.loss}: set loss=simpo, or leave it out"
            )
        return self
