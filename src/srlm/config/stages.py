"""The steps of a round, and the EFT before the first."""

from typing import ClassVar, Literal

from pydantic import Field, model_validator

from srlm.config.base import Sampling, Section


class PromptsSection(Sampling):
    """New prompts, Self-Instruct style (section 2.3, step 1; 8-shot, T = 0.6, top-p 0.9)."""

    temperature: float = Field(0.6, ge=0, description="paper: 0.6")
    max_tokens: int = Field(128, ge=1, description="budget of a new prompt; one cut off here is dropped")
    count: int = Field(
        512, ge=1, description="prompts wanted a round (paper: enough for 3,964 and 6,942 pairs)"
    )
    demonstrations: int = Field(6, ge=1, description="examples from the seed set (paper: 6)")
    generated_demonstrations: int = Field(2, ge=0, description="examples written by the model (paper: 2)")
    max_attempts: int = Field(20, ge=1, description="attempts allowed for each prompt wanted")
    min_words: int = Field(4, ge=1, description="Self-Instruct: 4")
    max_words: int = Field(150, ge=1, description="Self-Instruct: 150")
    max_rouge: float = Field(
        0.7, ge=0, le=1, description="ROUGE-L F above which a prompt repeats another (0.7)"
    )
    writer: str | None = Field(
        None,
        description="model that writes the prompts, or a name in `servers`; empty: the current one "
        "(paper: a fixed chat model)",
    )

    @model_validator(mode="after")
    def _some_length_is_allowed(self) -> "PromptsSection":
        if self.min_words > self.max_words:
            raise ValueError("min_words is above max_words, so no prompt could be kept")
        return self


class ResponsesSection(Sampling):
    """Candidate responses (section 2.3, step 2)."""

    samples: int = Field(4, ge=2, description="responses a prompt (paper: N = 4)")
    block: int = Field(128, ge=1, description="prompts a block; a block is the unit of resume")


class Judging(Sampling):
    """How a judge is asked."""

    max_tokens: int = Field(256, ge=1, description="must fit 100 words of reasoning and the score after them")
    block: int = Field(128, ge=1, description="requests a block; a block is the unit of resume")
    samples: int = Field(3, ge=1, description="judgments a response, averaged (paper: 3)")
    retries: int = Field(
        1, ge=0, description="times an unreadable reply is asked for again (open in the paper)"
    )


class EftSection(Judging):
    """Scores for seed answers that have ranks alone: the SFT baseline judges them (section 2.1)."""

    scoring: ClassVar[Literal["sampled"]] = "sampled"
    justify: ClassVar[Literal[True]] = True

    samples: int = Field(3, ge=1, description="judgments an answer; the first that agrees is kept (open)")
    ties: Literal["drop", "keep"] = Field(
        "drop",
        description="equal scores where people ranked apart: drop the prompt, or keep it (open)",
    )
    max_share: float = Field(
        0.4, gt=0, le=1, description="largest share of the commonest score; 4 dominated in the paper (open)"
    )


class JudgeSection(Judging):
    """LLM-as-a-Judge (section 2.3, step 2)."""

    scoring: Literal["sampled", "expected"] = Field(
        "sampled", description="mean of sampled grades (the paper), or Σ k·p(k) at the place of the grade"
    )
    justify: bool = Field(True, description="false, with `expected`: the grade at once, without reasons")
    rubric: str = Field(
        "additive", description="`additive` (paper, figure 2), `multiple_choice`, `mt_bench` or a rubric file"
    )
    judge: str | None = Field(
        None,
        description="model that judges, or a name in `servers`; empty: the current one (the paper's way)",
    )

    @model_validator(mode="after")
    def _something_is_read(self) -> "JudgeSection":
        if self.scoring == "sampled" and not self.justify:
            raise ValueError("justify=false needs scoring=expected: without a reply no grade can be read")
        return self


class PairsSection(Section):
    """Preference pairs (section 2.3, step 3)."""

    min_margin: float = Field(0.0, ge=0, description="the score gap must exceed this (paper: 0)")
    length_control: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="ρ of Meta-Rewarding (arXiv 2407.19594): the shortest of the responses within this share "
        "of the scores' range from the best, against the longest within it from the worst; 0: best against "
        "worst (the paper)",
    )
