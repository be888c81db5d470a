"""The steps of a round, and the EFT before the first."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from srlm.config.base import COMMAS, Sampling, Section

CHECKER = r"^[\w.]+:[\w.]+$"
"""How a program that checks answers is named."""


class PromptsSection(Sampling):
    """New prompts, Self-Instruct style (section 2.3, step 1; 8-shot, T = 0.6, top-p 0.9)."""

    method: Literal["few_shot", "synthesis"] = Field(
        "few_shot",
        description="from examples (the paper), or the model writes the user's turn itself, from the head of "
        "its chat template alone (Magpie, arXiv 2406.08464)",
    )
    demonstrate: Literal["random", "hard", "diverse"] = Field(
        "random",
        description="which examples are shown: any (the paper); of the model's own those of earlier rounds "
        "whose answers the judge's scores set furthest apart; or examples unlike each other by ROUGE-L",
    )

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
    given: str | None = Field(
        None,
        description="JSONL file of prompts to take in its order, `count` a round, instead of writing any",
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

    @model_validator(mode="after")
    def _switches_that_go_together(self) -> "PromptsSection":
        if self.given and self.method != "few_shot":
            raise ValueError(
                f"given takes prompts from a file, method={self.method} has them written: keep one of them"
            )
        if self.demonstrate != "random" and (self.given or self.method != "few_shot"):
            other = "given" if self.given else f"method={self.method}"
            raise ValueError(
                f"demonstrate={self.demonstrate} chooses examples, and {other} shows none: leave one of them "
                "out (examples are shown with method=few_shot)"
            )
        if self.demonstrate == "hard" and not self.generated_demonstrations:
            raise ValueError(
                "demonstrate=hard chooses among prompts that the model wrote, and generated_demonstrations=0 "
                "shows none of them: set it to 1 or more, or take demonstrate=diverse"
            )
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

    teach: bool = Field(
        True, description="false: M1 learns from instructions alone (the paper's ablation, section 3.2)"
    )
    samples: int = Field(3, ge=1, description="judgments an answer; the first that agrees is kept (open)")
    ties: Literal["drop", "keep"] = Field(
        "drop",
        description="equal scores where people ranked apart: drop the prompt, or keep it (open)",
    )
    max_share: float = Field(
        0.4, gt=0, le=1, description="largest share of the commonest score; 4 dominated in the paper (open)"
    )


class JudgeTrainingSection(Sampling):
    """What a round teaches about judging beside the pairs of responses; the paper: nothing after M1."""

    max_tokens: int = Field(256, ge=1, description="must fit the reasons and the verdict after them")
    block: int = Field(128, ge=1, description="requests a block; a block is the unit of resume")
    methods: Annotated[tuple[Literal["replay", "meta", "self_taught"], ...], COMMAS] = Field(
        (),
        description="`replay`: the EFT examples again, by their likelihood; `meta`: pairs of the judge's own "
        "judgments, as it compares them itself (Meta-Rewarding, arXiv 2407.19594); `self_taught`: its "
        "judgments that rank an answer above one to another task (Self-Taught Evaluator, arXiv 2408.02666)",
    )
    rounds: int = Field(2, ge=1, description="in so many first rounds of DPO (Meta-Rewarding: 2)")
    share: float = Field(
        0.15, gt=0, lt=0.5, description="of every batch at most; more, and a judge always says 5"
    )
    longest: int = Field(
        1000, ge=1, description="characters of a judgment that may be chosen, against ever longer ones"
    )
    justify: bool = Field(True, description="false: the verdict at once, from the probabilities of its words")
    rubric: str = Field("meta", description="to compare two judgments: `meta` or a rubric file")
    other_task: str = Field(
        "other_task", description="how `self_taught` asks for another task: built-in, or a file with {{task}}"
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
        description="model that judges, `M1` of this run, or a name in `servers`; empty: the current one "
        "(the paper's way)",
    )

    @model_validator(mode="after")
    def _something_is_read(self) -> "JudgeSection":
        if self.scoring == "sampled" and not self.justify:
            raise ValueError("justify=false needs scoring=expected: without a reply no grade can be read")
        return self


OF_TWO_SIDES = {"opponents", "rank_by", "checker", "consensus", "same_answer", "min_margin", "earlier"}
"""The keys of pairs that mean something where the two sides are not of one model."""


class PairsSection(Section):
    """Preference pairs (section 2.3, step 3)."""

    rank_by: Literal["judge", "random", "consensus", "implicit", "checker"] = Field(
        "judge",
        description="what ranks the responses to a prompt: the judge's scores (the paper); the same scores "
        "dealt out at random, a control with as many pairs; how many responses give the same answer (ScPO, "
        "arXiv 2411.04109); how much likelier than M0 the model finds a response (DPO's implicit reward); or "
        "`checker`",
    )
    checker: str | None = Field(
        None,
        pattern=CHECKER,
        description="MODULE:FUNCTION, from prompt and response to a score: the truth, if a program knows it",
    )
    consensus: float = Field(
        0.0,
        ge=0,
        description="points added to a judge's score for the logarithm of how many responses give the same "
        "answer; 0: none",
    )
    same_answer: Literal["text", "number"] = Field(
        "text", description="what makes two answers the same: all of their text, or the last number in it"
    )
    per_prompt: int = Field(
        1, ge=1, description="pairs a prompt at most: best against worst, second against second last ..."
    )
    chosen_within: float = Field(
        0.0,
        ge=0,
        description="chosen is drawn among the responses within so many points of the best, against the "
        "winner's curse; 0: the best",
    )
    rejected: Literal["worst", "random"] = Field(
        "worst", description="the response with the lowest score (the paper), or any that is not chosen"
    )
    ties: Literal["first", "variance"] = Field(
        "first",
        description="among equal scores the first draw, or the one of whose score the judge is surest",
    )
    opponents: Literal["own", "temporal", "spin"] = Field(
        "own",
        description="a round's own responses (the paper); chosen from a model trained one step ahead and "
        "rejected from M1 (Temporal, arXiv 2508.06026); or the seed's answers against the model's, on the "
        "seed's prompts (SPIN, arXiv 2401.01335)",
    )
    labels: Literal["hard", "cream", "scir", "spa"] = Field(
        "hard",
        description="how far a pair is believed: wholly (the paper); as far as this model and the one before "
        "rank alike (CREAM, arXiv 2410.12735); only where the implicit reward agrees (SCIR, arXiv "
        "2502.08922); less in the tenth that is nearest by it (SPA, arXiv 2406.04412)",
    )
    weights: Literal["equal", "votes"] = Field(
        "equal", description="of a pair's loss: 1, or by how much of the votes chosen is ahead (ScPO)"
    )
    earlier: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of the pairs of every earlier round that is trained on again (the paper: 0; "
        "1: a pool of all rounds)",
    )
    min_margin: float = Field(0.0, ge=0, description="the score gap must exceed this (paper: 0)")
    min_deviations: float = Field(
        0.0,
        ge=0,
        description="the score gap must exceed so many standard deviations of the two scores, by the judge's "
        "own variance; 0: none",
    )
    length_control: float = Field(
        0.0,
        ge=0,
        lt=0.5,
        description="ρ of Meta-Rewarding (arXiv 2407.19594): the shortest of the responses within this share "
        "of the scores' range from the best, against the longest within it from the worst; 0: best against "
        "worst (the paper)",
    )

    @property
    def needs_likelihoods(self) -> bool:
        """Whether the models' own probabilities of the responses are wanted."""
        return self.rank_by == "implicit" or self.labels != "hard"

    @model_validator(mode="after")
    def _rules_of_two_sides(self) -> "PairsSection":
        changed = {name for name, value in self if value != type(self).model_fields[name].default}
        known = {"opponents", "earlier"} if self.opponents == "spin" else OF_TWO_SIDES
        if self.opponents != "own" and (more := sorted(changed - known)):
            raise ValueError(
                f"opponents={self.opponents} takes the best of one side and the worst of the other, and "
                f"knows no {', '.join(more)}: leave it out, or set opponents=own"
            )
        if self.opponents != "own" and self.rank_by == "implicit":
            raise ValueError(
                "rank_by=implicit is for a model's own responses: opponents=own, or rank_by=judge"
            )
        return self

    @model_validator(mode="after")
    def _rules_that_go_together(self) -> "PairsSection":
        if (self.rank_by == "checker") != (self.checker is not None):
            raise ValueError("rank_by=checker and checker=MODULE:FUNCTION need each other")
        if self.consensus and self.rank_by != "judge":
            raise ValueError(f"consensus adds to a judge's scores, and rank_by={self.rank_by} uses none")
        if self.rank_by != "judge" and (self.ties == "variance" or self.min_deviations):
            raise ValueError(
                "ties=variance and min_deviations read the variance of a judge's score, and "
                f"rank_by={self.rank_by} has none"
            )
        if self.weights == "votes" and self.rank_by != "consensus":
            raise ValueError(
                f"weights=votes needs rank_by=consensus, and rank_by={self.rank_by} has no votes"
            )
        if self.labels == "scir" and self.rank_by == "implicit":
            raise ValueError("labels=scir asks whether the implicit reward agrees: rank_by another than it")
        others = [self.chosen_within, self.rejected == "random", self.ties == "variance", self.per_prompt > 1]
        if self.length_control and any(others):
            raise ValueError(
                "length_control says which response of a tier is taken, and so do chosen_within, "
                "rejected=random, ties=variance and per_prompt: keep one of them"
            )
        if self.per_prompt > 1 and (self.chosen_within or self.rejected == "random"):
            raise ValueError(
                "per_prompt goes down the ranks, chosen_within and rejected=random draw: keep one of them"
            )
        return self
