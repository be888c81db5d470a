"""What was asked: frozen sections with a sentence and the paper's value for every field.

One file a group of sections. Paper sections in the descriptions are those of arXiv 2401.10020. Recipes
fill them (srlm/recipes).
"""

import re
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Field, field_validator, model_validator

from srlm.config.base import Device, Dtype, Names, Precision, Sampling, Section
from srlm.config.engines import (
    MOST_ROWS,
    AloneEngineSection,
    EngineSection,
    LocalEngineSection,
    OpenAIEngineSection,
    RayEngineSection,
    ScriptedEngineSection,
    VllmEngineSection,
    is_server,
)
from srlm.config.evaluation import (
    AlpacaEvalSuite,
    AnsweredSuite,
    AnswersSection,
    CheckedSuite,
    DiversitySuite,
    EvaluationSection,
    GSM8KSuite,
    HarnessSuite,
    HeadToHeadSuite,
    IFEvalSuite,
    MTBenchSuite,
    Suite,
    SuiteSection,
    YardstickSection,
)
from srlm.config.launchers import (
    AccelerateLauncherSection,
    InlineLauncherSection,
    LauncherSection,
    ProcessLauncherSection,
    RayLauncherSection,
    Strategy,
)
from srlm.config.monitors import Action, Gate, GatesSection
from srlm.config.stages import (
    EftSection,
    JudgeSection,
    JudgeTrainingSection,
    Judging,
    PairsSection,
    PromptsSection,
    ResponsesSection,
)
from srlm.config.training import DpoSection, LoraSection, PretrainingSection, SftSection, TrainingSection

Judges = JudgeSection | EftSection | YardstickSection
"""How a judge is asked, in the loop and beside it."""
Comparing = YardstickSection | JudgeTrainingSection
"""How a judge that compares two is asked."""

RESOURCES = ("micro_tokens", "gradient_checkpointing", "compile", "save_steps")
"""Keys that may change while a run goes on, as after a training that ran out of memory."""


class ModelSection(Section):
    """The base model M0."""

    name: str = Field(
        "smollm2-135m-instruct", description="hub id, local folder, .gguf file or a built-in name"
    )
    revision: str | None = Field(None, description="branch, tag or commit on the hub")
    trust_remote_code: bool = Field(False, description="let the hub repository run its own Python code here")


class SeedSection(Section):
    """The human seed data (section 2.1; 3,200 IFT and 1,630 EFT examples in the paper)."""

    instructions: Names = Field(
        ("builtin",), description="`builtin`, JSONL files of prompt and response, or both: a list, or commas"
    )
    ranked: Names = Field(
        ("builtin",), description="`builtin`, JSONL files of prompts with ranked answers, or both"
    )
    heldout: float = Field(
        0.25,
        gt=0,
        lt=1,
        description="share of the prompts held out where lines name no split (paper: 541 of 2,171 EFT items)",
    )


class Config(Section):
    """A whole run."""

    iterations: int = Field(3, ge=1, description="the last model is M(iterations) (paper: M3)")
    seed: int = Field(0, ge=0, description="all random draws follow from it and from content")
    data: SeedSection = SeedSection()
    model: ModelSection = ModelSection()
    engine: EngineSection = Field(LocalEngineSection(), discriminator="kind")
    servers: dict[str, OpenAIEngineSection] = Field(
        {},
        description="by a name of yours, for `prompts.writer`, `judge.judge`, `evaluation.judge.model`",
    )
    prompts: PromptsSection = PromptsSection()
    responses: ResponsesSection = ResponsesSection()
    judge: JudgeSection = JudgeSection()
    judge_training: JudgeTrainingSection = JudgeTrainingSection()
    eft: EftSection = EftSection()
    pairs: PairsSection = PairsSection()
    sft: SftSection = SftSection()
    dpo: DpoSection = DpoSection()
    launcher: LauncherSection = Field(ProcessLauncherSection(), discriminator="kind")
    evaluation: EvaluationSection = EvaluationSection()
    gates: GatesSection = GatesSection()
    report_to: Names = Field(
        (), description="trackers that get every training's figures and the signals: tensorboard, wandb ..."
    )

    @field_validator("servers")
    @classmethod
    def _plain_names(cls, value: dict[str, OpenAIEngineSection]) -> dict[str, OpenAIEngineSection]:
        if bad := [name for name in value if not re.fullmatch(r"[A-Za-z0-9_-]+", name)]:
            raise ValueError(f"{bad[0]!r} is no name for a server: use letters, digits, _ and -")
        return value

    @model_validator(mode="after")
    def _somebody_compares_checkpoints(self) -> "Config":
        stops = [name for name in ("sft", "dpo") if getattr(self, name).eval_steps]
        if stops and not self.evaluation.judge.model:
            raise ValueError(
                f"{stops[0]}.eval_steps needs a judge that compares checkpoints: set evaluation.judge.model"
            )
        return self

    @model_validator(mode="after")
    def _methods_have_what_they_need(self) -> "Config":
        if self.pairs.needs_likelihoods and (is_server(self.engine) or self.engine.kind == "scripted"):
            raise ValueError(
                "pairs.rank_by=implicit and pairs.labels ask how likely responses are to the models, which "
                f"engine.kind={self.engine.kind} does not say: use local, vllm or ray, or labels=hard"
            )
        lessons = self.judge_training
        if lessons.methods and not int(lessons.share * self.dpo.batch_size):
            raise ValueError(
                f"judge_training.share={lessons.share} of dpo.batch_size={self.dpo.batch_size} is not one "
                "lesson a batch: raise either, or leave out judge_training.methods"
            )
        if self.judge.judge and {"meta", "self_taught"} & set(lessons.methods):
            raise ValueError(
                f"judge_training teaches from the model's own judgments, and judge.judge={self.judge.judge} "
                "judges in its place: leave out judge.judge, or take judge_training.methods=replay"
            )
        if "self_taught" in lessons.methods and not self.judge.justify:
            raise ValueError(
                "judge_training.methods=self_taught learns from what the judge wrote: set judge.justify=true"
            )
        if self.pairs.labels != "hard" and self.dpo.loss == "sft":
            raise ValueError(f"dpo.loss=sft has no rejected to doubt: leave out labels={self.pairs.labels}")
        prompts = self.prompts
        if self.pairs.opponents == "spin" and (
            prompts.given or prompts.writer or prompts.method != "few_shot"
        ):
            raise ValueError(
                "opponents=spin takes the seed's prompts: leave out prompts.given, prompts.writer and "
                "prompts.method, or set pairs.opponents=own"
            )
        if "replay" in self.judge_training.methods and not self.eft.teach:
            raise ValueError(
                "judge_training.methods=replay replays EFT examples, and eft.teach=false has none"
            )
        if "meta" in self.judge_training.methods and (self.judge.samples < 2 or not self.judge.justify):
            raise ValueError(
                "judge_training.methods=meta compares judgments of one response: set judge.samples=2 or more "
                "(Meta-Rewarding: 11) and judge.justify=true"
            )
        return self

    @model_validator(mode="after")
    def _somebody_writes_the_users_turn(self) -> "Config":
        writer = self.prompts.writer
        served = writer in self.servers if writer else is_server(self.engine)
        if self.prompts.method == "synthesis" and served:
            who = f"prompts.writer={writer}" if writer else "engine.kind=openai"
            raise ValueError(
                f"prompts.method=synthesis has the user's turn written, and {who} is a server, which can be "
                "asked for the assistant's alone: let a model write (prompts.writer=MODEL, or "
                "engine.kind=local or vllm), or set prompts.method=few_shot"
            )
        return self

    @model_validator(mode="after")
    def _the_harness_has_a_model(self) -> "Config":
        harness = [one.title for one in self.evaluation.suites if isinstance(one, HarnessSuite)]
        if harness and self.engine.kind != "local":
            raise ValueError(
                f"suite {harness[0]} needs engine.kind=local: the harness loads the model itself; "
                "leave it out (evaluation.suites=[]) and run lm_eval on the saved models"
            )
        return self


def section_types() -> dict[str, type[Section]]:
    """Every kind of section by its dotted place, for the generated documentation."""
    found: dict[str, type[Section]] = {}
    for place, kind in _sections_below(Config, ""):
        tag = next((key for key in ("kind", "suite") if key in kind.model_fields), None)
        name = f"{place} ({tag}: {kind.model_fields[tag].default})" if tag else place
        found["servers.NAME" if place == "servers" else name] = kind
    found["sft.lora, dpo.lora"] = LoraSection
    return found


def _sections_below(section: type[Section], place: str) -> Iterator[tuple[str, type[Section]]]:
    for name, field in section.model_fields.items():
        for kind in sections_in(field.annotation):
            if kind is not LoraSection:
                yield f"{place}{name}", kind
                yield from _sections_below(kind, f"{place}{name}.")


def sections_in(annotation: Any) -> list[type[Section]]:
    """The sections that a field may hold: one, one of a union, or several in a list or by name."""
    if get_origin(annotation) is Annotated:
        return sections_in(get_args(annotation)[0])
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return [annotation]
    return [kind for part in get_args(annotation) for kind in sections_in(part)]


def sections_of(config: "Config") -> dict[str, BaseModel]:
    """The sections of a config by the dotted names under which steps remember them; suites by their title."""
    found: dict[str, BaseModel] = {}
    for name in type(config).model_fields:
        value = getattr(config, name)
        if isinstance(value, BaseModel):
            found[name] = value
    found["evaluation.answers"] = config.evaluation.answers
    found["evaluation.judge"] = config.evaluation.judge
    return found | {f"evaluation.suites.{suite.title}": suite for suite in config.evaluation.suites}


def decisive(section: BaseModel) -> dict[str, Any]:
    """The values that decide what a step makes: all but those that only trade memory and time.

    What a suite does with the answers (`Suite.beside`) is an input to its later steps, not to the answers.
    """
    return section.model_dump(mode="json", exclude={*RESOURCES, *getattr(section, "beside", ())})


def flatten(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested values as dotted keys: ``{"judge": {"samples": 3}}`` gives ``{"judge.samples": 3}``."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


__all__ = [
    "MOST_ROWS",
    "AccelerateLauncherSection",
    "Action",
    "AloneEngineSection",
    "AlpacaEvalSuite",
    "AnsweredSuite",
    "AnswersSection",
    "CheckedSuite",
    "Config",
    "Device",
    "DiversitySuite",
    "DpoSection",
    "Dtype",
    "EftSection",
    "EngineSection",
    "EvaluationSection",
    "GSM8KSuite",
    "Gate",
    "GatesSection",
    "HarnessSuite",
    "HeadToHeadSuite",
    "IFEvalSuite",
    "InlineLauncherSection",
    "JudgeSection",
    "JudgeTrainingSection",
    "Judges",
    "Judging",
    "LauncherSection",
    "LocalEngineSection",
    "LoraSection",
    "MTBenchSuite",
    "ModelSection",
    "OpenAIEngineSection",
    "PairsSection",
    "Precision",
    "PretrainingSection",
    "ProcessLauncherSection",
    "PromptsSection",
    "RayEngineSection",
    "RayLauncherSection",
    "ResponsesSection",
    "Sampling",
    "ScriptedEngineSection",
    "Section",
    "SeedSection",
    "SftSection",
    "Strategy",
    "Suite",
    "SuiteSection",
    "TrainingSection",
    "VllmEngineSection",
    "YardstickSection",
    "decisive",
    "flatten",
    "is_server",
    "section_types",
    "sections_in",
    "sections_of",
]
