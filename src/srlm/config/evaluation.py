"""What is measured after every round: the same keys in a recipe's list and behind `srlm eval SUITE`."""

from collections import Counter
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from srlm.config.base import Names, Section
from srlm.config.stages import CHECKER, Judging, ResponsesSection


class AnswersSection(ResponsesSection):
    """The answers to held-out seed prompts that are measured after every round."""

    samples: int = Field(1, ge=1, description="answers a held-out prompt")


class YardstickSection(Judging):
    """The judge of `head_to_head`, `alpaca_eval`, `mt_bench`: one for all rounds, as a yardstick must be."""

    model: str | None = Field(
        None, description="a model, or a name in `servers`; needed by suites with a judge"
    )
    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest token")
    max_tokens: int = Field(512, ge=1, description="must fit the reasons and the verdict after them")
    samples: int = Field(1, ge=1, description="judgments a response, averaged (`mt_bench`)")
    retries: int = Field(
        0, ge=0, description="times an unreadable grade is asked for again: needs a temperature (`mt_bench`)"
    )
    justify: bool = Field(
        True,
        description="false: the verdict at once, from the probabilities of its words; engines must give them",
    )

    @property
    def scoring(self) -> Literal["sampled", "expected"]:
        """Grades are expected ones where no reasons are asked for."""
        return "sampled" if self.justify else "expected"


class Suite(Section):
    """What every suite has."""

    judged: ClassVar[bool] = False
    beside: ClassVar[tuple[str, ...]] = ("name",)

    suite: str
    name: str = Field(
        "", pattern=r"^[A-Za-z0-9_-]*$", description="its folder in a run; empty: the name of the suite"
    )
    limit: int | None = Field(None, ge=1, description="so many items, spread evenly over all; empty: all")

    @property
    def title(self) -> str:
        """How its steps and figures are called in a run."""
        return self.name or self.suite


class AnsweredSuite(Suite, ResponsesSection):
    """A suite whose prompts our engines answer."""

    samples: int = Field(1, ge=1, description="answers a prompt")


class ComparedSuite(AnsweredSuite):
    """A suite in which a judge compares two answers to each prompt."""

    judged: ClassVar[bool] = True

    rubric: str = Field(
        "pairwise",
        description="compares two responses, in both orders; one with grades: the higher grade wins",
    )
    labels: bool = Field(
        False, description="the judge also labels each prompt: category, complexity, expected length"
    )
    samples: int = Field(1, ge=1, le=1, description="answers a prompt")


class HeadToHeadSuite(ComparedSuite):
    """Every two models on the same prompts, both orders (section 3.1.1; 256 prompts in the paper)."""

    beside: ClassVar[tuple[str, ...]] = ("name", "rubric", "labels")

    suite: Literal["head_to_head"] = "head_to_head"
    prompts: str = Field(
        "builtin", description="`builtin` (the held-out seed prompts) or a JSONL file of prompts"
    )


class AlpacaEvalSuite(ComparedSuite):
    """AlpacaEval 2: win rate against a baseline's answers, and at equal length (section 3.1.1)."""

    beside: ClassVar[tuple[str, ...]] = ("name", "rubric", "labels", "difficulty", "regularisation")

    suite: Literal["alpaca_eval"] = "alpaca_eval"
    baseline: str = Field(..., description="file of the baseline's answers: `instruction`, `output`")
    difficulty: str | None = Field(None, description="CSV of instruction difficulty, for the length control")
    regularisation: str | None = Field(None, description="CSV of regularisation rows, for the length control")
    max_tokens: int = Field(2048, ge=1, description="budget of an answer (AlpacaEval: 2,048)")


class MTBenchSuite(AnsweredSuite):
    """MT-Bench: two turns, each graded 1 to 10 (section 3.1.1)."""

    judged: ClassVar[bool] = True
    beside: ClassVar[tuple[str, ...]] = ("name", "rubric", "references")

    suite: Literal["mt_bench"] = "mt_bench"
    questions: str = Field(..., description="MT-Bench's question.jsonl")
    references: str | None = Field(None, description="its reference_answer file, for reasoning, math, coding")
    rubric: str = Field("mt_bench", description="grades one response")
    temperature: float | None = Field(  # type: ignore[assignment]
        None, ge=0, description="empty: by category, as MT-Bench does (0 to 0.7)"
    )
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus")
    max_tokens: int = Field(1024, ge=1, description="budget of a turn (MT-Bench: 1,024)")
    samples: int = Field(1, ge=1, le=1, description="answers a turn")


class IFEvalSuite(AnsweredSuite):
    """IFEval: instructions that a program verifies; no judge."""

    suite: Literal["ifeval"] = "ifeval"
    data: str = Field(..., description="IFEval's input_data.jsonl")
    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest token")
    max_tokens: int = Field(1280, ge=1, description="budget of an answer (harness: 1,280)")
    samples: int = Field(1, ge=1, le=1, description="answers a prompt")


class GSM8KSuite(AnsweredSuite):
    """GSM8K: school mathematics with one number as the answer; no judge. Several samples give pass@k."""

    suite: Literal["gsm8k"] = "gsm8k"
    data: str = Field(..., description="GSM8K's test.jsonl")
    temperature: float = Field(0.0, ge=0, description="0 takes the likeliest token")
    samples: int = Field(1, ge=1, description="solutions a question, for pass@k")

    @model_validator(mode="after")
    def _samples_differ(self) -> "GSM8KSuite":
        if self.samples > 1 and self.temperature == 0:
            raise ValueError("samples above 1 are all the same at temperature 0: set a temperature")
        return self


class CheckedSuite(AnsweredSuite):
    """Prompts of your own whose answers a program of yours checks; no judge. Several samples give pass@k."""

    beside: ClassVar[tuple[str, ...]] = ("name", "checker", "top")

    suite: Literal["checked"] = "checked"
    prompts: str = Field(..., description="JSONL file of prompts")
    checker: str = Field(
        ..., pattern=CHECKER, description="MODULE:FUNCTION, from prompt and answer to points"
    )
    top: float = Field(1.0, description="points from which an answer is right")


class HarnessSuite(Suite):
    """Tasks of lm-evaluation-harness: its names (arc_challenge, hellaswag, mmlu ...) or local files."""

    beside: ClassVar[tuple[str, ...]] = ("name", "tasks", "batch_size")

    suite: Literal["harness"] = "harness"
    tasks: Names = Field(
        ...,
        min_length=1,
        description="the harness's task names (data from the hub), or multiple-choice files",
    )
    fewshot: int | None = Field(
        None, ge=0, description="examples before each question; empty: the task's own"
    )
    chat_template: bool = Field(False, description="ask in the model's chat format")
    batch_size: int = Field(8, ge=1, description="requests at a time")
    limit: int | None = Field(None, ge=1, description="the first so many questions of a task; empty: all")


class DiversitySuite(AnsweredSuite):
    """How varied answers are, and how far the model has moved (KL) from earlier ones; no judge."""

    beside: ClassVar[tuple[str, ...]] = ("name", "references")

    suite: Literal["diversity"] = "diversity"
    prompts: str = Field(
        "builtin", description="`builtin` (the held-out seed prompts) or a JSONL file of prompts"
    )
    temperature: float = Field(1.0, ge=0, description="1 draws from the model itself, as KL is defined")
    top_p: float = Field(1.0, gt=0, le=1, description="1 draws from the model itself")
    max_tokens: int = Field(256, ge=1, description="budget of an answer")
    samples: int = Field(2, ge=1, description="answers a prompt; from two on their likeness is measured")
    references: Names = Field(("M0", "M1"), description="models of the run to measure KL to; empty: none")


SuiteSection = Annotated[
    HeadToHeadSuite
    | AlpacaEvalSuite
    | MTBenchSuite
    | IFEvalSuite
    | GSM8KSuite
    | CheckedSuite
    | HarnessSuite
    | DiversitySuite,
    Field(discriminator="suite"),
]


class EvaluationSection(Section):
    """What is measured after every round, on M0, M1 ... and the SFT baseline."""

    answers: AnswersSection = AnswersSection()
    judge: YardstickSection = YardstickSection()
    sft_baseline: bool = Field(
        False, description="train one to compare with, even where its scores are not needed (paper: yes)"
    )
    suites: tuple[SuiteSection, ...] = Field(
        (), description="what is run, in this order (docs/evaluation.md)"
    )

    @model_validator(mode="after")
    def _can_be_run(self) -> "EvaluationSection":
        twice = [name for name, num in Counter(one.title for one in self.suites).items() if num > 1]
        if twice:
            raise ValueError(f"two suites are called {twice[0]}: give one a `name` of its own")
        judged = [one.title for one in self.suites if one.judged]
        if judged and not self.judge.model:
            raise ValueError(
                f"{', '.join(judged)} needs a judge that stays the same: set evaluation.judge.model"
            )
        return self
