"""What a recipe will cost before it runs: steps, generations, tokens, time, disk, memory.

Token counts take every answer to use up its budget, half of all new prompts to be dropped again, and
four characters to be a token; the time uses rates measured on this machine with the
recipe's own model in a few seconds. Without the model, or without calibration, time is left out.
"""

import json
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

from srlm.config import MOST_ROWS, AnsweredSuite, Config, HeadToHeadSuite, LocalEngineSection, TrainingSection
from srlm.errors import ModelError
from srlm.evaluation.suites.setting_up import set_up
from srlm.judging.eft import eft_examples
from srlm.judging.rubric import grading_rubric
from srlm.models import Model, num_parameters, resolve
from srlm.monitors.monitor import fixed_texts
from srlm.seeds import SeedSet, load_seed

CHARACTERS_A_TOKEN = 4.0


@dataclass(frozen=True)
class Step:
    """One step's work. Tokens: `prefill` read once, `written` new, `trained` seen."""

    name: str
    items: int
    generations: int = 0
    prefill: int = 0
    written: int = 0
    trained: int = 0


@dataclass(frozen=True)
class Rates:
    """Tokens a second on this machine."""

    prefill: float
    written: float
    trained: float

    def seconds(self, step: Step) -> float:
        return step.prefill / self.prefill + step.written / self.written + step.trained / self.trained


def plan_steps(config: Config, seed: SeedSet) -> list[Step]:
    """Every step of the run with its work, if every attempt and every response uses its budget."""
    rubric = grading_rubric(config.judge.rubric)
    examples = [*seed.instructions, *eft_examples(seed.ranked, rubric)]
    sft = sum(_tokens(item.prompt + item.response) for item in examples)
    unscored = _unscored_texts(seed)  # at most so many are taught, if the baseline agrees on all of them
    sft += sum(_rubric_tokens(config) + _tokens(text) + config.eft.max_tokens for text in unscored)
    steps = _baseline(config, seed) if unscored or config.evaluation.sft_baseline else []
    steps.append(Step("M1/sft", len(examples) + len(unscored), trained=round(sft * config.sft.epochs)))
    steps += _evaluation(config, seed, "M0") + _evaluation(config, seed, "M1")
    steps += _watching(config, seed, "M1", judges=1)
    for t in range(2, config.iterations + 1):
        steps += _round(config, seed, f"M{t}") + _evaluation(config, seed, f"M{t}")
        steps += _watching(config, seed, f"M{t}", judges=2)
    return steps + _suites(config, seed, sum(step.name.endswith("/evaluation/answers") for step in steps))


def _suites(config: Config, seed: SeedSet, models: int) -> list[Step]:
    """Each suite on so many models, in one line; the harness's own work is not known before it runs."""
    steps = []
    heldout = seed.heldout_prompts()
    for section in config.evaluation.suites:
        name = f"{models} models/evaluation/{section.title}"
        if not isinstance(section, AnsweredSuite):
            steps.append(Step(name, 0))
            continue
        asked = set_up(section, heldout).asked()
        answers = models * len(asked) * section.samples
        read = models * sum(map(_tokens, asked))
        written = answers * section.max_tokens
        if section.judged:
            # head_to_head: both orders of every two models; else about two judgments an answer
            judged = len(asked) * models * (models - 1 if isinstance(section, HeadToHeadSuite) else 2)
            said = config.evaluation.judge.max_tokens if config.evaluation.judge.justify else 1
            read += judged * (_rubric_tokens(config) + 2 * section.max_tokens)
            written += judged * said
            answers += judged
        steps.append(Step(name, len(asked), answers, read, written))
    return steps


def _baseline(config: Config, seed: SeedSet) -> list[Step]:
    """The SFT baseline, which scores the answers that have ranks alone."""
    sft = sum(_tokens(item.prompt + item.response) for item in seed.instructions)
    texts = _unscored_texts(seed)
    replies = len(texts) * config.eft.samples
    read = sum(_rubric_tokens(config) + _tokens(text) for text in texts)
    steps = [
        Step("SFT/sft", len(seed.instructions), trained=round(sft * config.sft.epochs)),
        *_evaluation(config, seed, "SFT"),
    ]
    judging = Step("SFT/judgments", len(texts), replies, read, replies * config.eft.max_tokens)
    return [*steps, judging] if texts else steps


def _unscored_texts(seed: SeedSet) -> list[str]:
    return [line.prompt + answer.text for line in seed.unscored() for answer in line.answers]


def _judging(config: Config, judged: int) -> tuple[int, int]:
    """Replies that a judge writes about so many responses, and their tokens."""
    section = config.judge
    replies = judged * (section.samples if section.justify else 1)
    return replies, replies * (section.max_tokens if section.justify else 1)


def _round(config: Config, seed: SeedSet, name: str) -> list[Step]:
    count, samples = config.prompts.count, config.responses.samples
    shots = config.prompts.demonstrations + config.prompts.generated_demonstrations
    shot = sum(_tokens(item.prompt) for item in seed.instructions) / len(seed.instructions)
    attempts = math.ceil(1.5 * count)
    answer, budget = config.responses.max_tokens, config.prompts.max_tokens
    judged = count * samples
    replies, said = _judging(config, judged)
    pair = 2 * (answer + budget)
    return [
        Step(f"{name}/prompts", count, attempts, round(attempts * (shots * shot + 60)), attempts * budget),
        Step(f"{name}/responses", judged, judged, count * budget, judged * answer),
        Step(
            f"{name}/judgments",
            judged,
            replies,
            judged * (_rubric_tokens(config) + budget + answer),
            said,
        ),
        Step(f"{name}/dpo", count, trained=round(count * pair * (config.dpo.epochs + 1 / 3))),
    ]


def _evaluation(config: Config, seed: SeedSet, name: str) -> list[Step]:
    prompts = seed.heldout_prompts()
    answers = [answer.text for line in seed.heldout_ranked for answer in line.answers]
    made = len(prompts) * config.evaluation.answers.samples
    judged, said = _judging(config, len(answers))
    read = sum(_tokens(prompt.text) for prompt in prompts)
    asked = [line.prompt for line in seed.heldout_ranked for _ in line.answers]
    judge_read = sum(_rubric_tokens(config) + _tokens(text) for text in answers) + sum(map(_tokens, asked))
    return [
        Step(f"{name}/evaluation/answers", made, made, read, made * config.evaluation.answers.max_tokens),
        Step(f"{name}/evaluation/judgments", len(answers), judged, judge_read, said),
    ]


def _watching(config: Config, seed: SeedSet, name: str, judges: int) -> list[Step]:
    """The held-out answers, judged by so many judges, and the fixed texts."""
    if config.gates.preset == "off":
        return []
    texts = fixed_texts(grading_rubric(config.judge.rubric))
    answers = len(seed.heldout_prompts()) * config.evaluation.answers.samples * judges
    replies, said = _judging(config, answers + len(texts))
    read = answers * config.evaluation.answers.max_tokens + sum(_tokens(item.text) for item in texts)
    read += (answers + len(texts)) * _rubric_tokens(config)
    return [Step(f"{name}/watch", answers + len(texts), replies, read, said)]


def _rubric_tokens(config: Config) -> int:
    return _tokens(grading_rubric(config.judge.rubric).text)


def _tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_A_TOKEN)


def memory_gib(parameters: int, section: TrainingSection) -> float:
    """Peak of the training process: weights, a copy while they are written, gradients, two Adam moments,
    an autocast copy, activations. The factors fit the recipe smollm2: 5.2 GiB at 512 tokens (results).
    """
    width = 4 if section.weights == "float32" else 2
    trained = 0.02 if section.lora else 1.0
    states = parameters * (2 * width + trained * 3 * width + 2)
    activations = (
        section.micro_tokens * math.sqrt(parameters) * (45 if section.gradient_checkpointing else 280)
    )
    return (states + activations) / 2**30 + 0.6


def generation_gib(parameters: int, model: Model, config: Config) -> float:
    """Peak of the generating process: weights, and twice the keys and values of all that is under way at a
    time, for they are copied as they grow (recipe smollm2: 2.4 GiB).
    """
    if not isinstance(config.engine, LocalEngineSection):
        return 0.0
    shape = json.loads((model.path / "config.json").read_text("utf-8"))
    shape = shape.get("text_config", shape)
    heads = shape["num_attention_heads"]
    width = shape.get("head_dim") or shape["hidden_size"] // heads
    cached = 2 * shape["num_hidden_layers"] * (shape.get("num_key_value_heads") or heads) * width
    bytes_each = 4 if config.engine.dtype == "float32" else 2
    asked = (
        (config.prompts.block, config.prompts.max_tokens),
        (config.responses.block * config.responses.samples, config.responses.max_tokens),
        (config.judge.block * config.judge.samples, config.judge.max_tokens),
    )
    most = max(min(rows, MOST_ROWS["cpu"]) * budget for rows, budget in asked)
    numbers: int = parameters + 2 * min(most, config.engine.batch_tokens or most) * cached
    return bytes_each * numbers / 2**30 + 0.6


def disk_gib(parameters: int, config: Config) -> float:
    """Models of all iterations and the checkpoint of the training that runs."""
    width = 4 if config.sft.weights == "float32" else 2
    checkpoint = parameters * width * (0.06 if config.sft.lora else 3)
    return (config.iterations * parameters * width + 2 * checkpoint) / 2**30


def calibrate(config: Config, model: Model) -> Rates:
    """Measure prefill, generation and training rates in a child process; raises ModelError."""
    job = {
        "model": str(model.path),
        "engine": config.engine.model_dump(),
        "sft": config.sft.model_dump(mode="json"),
    }
    asked = subprocess.run(
        [sys.executable, "-m", "srlm.training.calibrate"],
        input=json.dumps(job),
        capture_output=True,
        text=True,
        check=False,
    )
    if asked.returncode:
        last = (asked.stderr.strip().splitlines() or ["no message"])[-1]
        raise ModelError(f"calibration with {model.path}", last, "run `srlm plan` with --no-calibrate")
    return Rates(**json.loads(asked.stdout.splitlines()[-1]))


def plan(config: Config, *, calibrated: bool) -> dict[str, Any]:
    """Steps, rates (None when not measured), parameters (None when the model is not here), and why."""
    seed = load_seed(config.data)
    result: dict[str, Any] = {
        "steps": plan_steps(config, seed),
        "rates": None,
        "parameters": None,
        "missing": None,
    }
    try:
        model = resolve(config.model)
    except ModelError as error:
        return result | {"missing": f"{error.given}: {error.why}"}
    result["parameters"] = num_parameters(model)
    result["generation_gib"] = generation_gib(result["parameters"], model, config)
    if calibrated and isinstance(config.engine, LocalEngineSection):
        result["rates"] = calibrate(config, model)
    return result
