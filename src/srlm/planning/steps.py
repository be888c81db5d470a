"""The steps of a run and the work in each: what an engine is asked for, what a training sees.

Every answer is taken to use up its budget, half of all new prompts to be dropped again, four characters to be
a token, and no reply to be asked for again. What prompts of one block begin with alike is read once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from srlm.config import AnsweredSuite, Config, HeadToHeadSuite, Judging
from srlm.evaluation.suites.setting_up import set_up
from srlm.judging.eft import eft_examples
from srlm.judging.rubric import grading_rubric
from srlm.methods import method_steps
from srlm.methods.judging import SPARE, room_beside
from srlm.monitors.monitor import fixed_texts
from srlm.seeds import SeedSet

CHARACTERS_A_TOKEN = 4.0


@dataclass(frozen=True)
class Requests:
    """Requests to an engine that are alike.

    Tokens: `head` begins the prompt of every one and is read once a block, `prompt` is the mean of what each
    has of its own, `budget` is what each of its `samples` may write. `sequential`: a block needs the
    one before.
    """

    count: int
    samples: int
    head: int
    prompt: float
    budget: int
    block: int
    sequential: bool = False

    @property
    def blocks(self) -> int:
        """Blocks of the stage."""
        return math.ceil(self.count / self.block)

    @property
    def generations(self) -> int:
        """Samples in all."""
        return self.count * self.samples

    @property
    def prefill(self) -> int:
        """Tokens that are read."""
        return round(self.blocks * self.head + self.count * self.prompt)


@dataclass(frozen=True)
class Step:
    """One step's work. `trained`: tokens that a training sees, in so many `updates` of the weights."""

    name: str
    items: int
    requests: tuple[Requests, ...] = ()
    trained: int = 0
    updates: int = 0

    @property
    def generations(self) -> int:
        """Samples that are drawn."""
        return sum(asked.generations for asked in self.requests)

    @property
    def prefill(self) -> int:
        """Tokens that are read."""
        return sum(asked.prefill for asked in self.requests)

    @property
    def written(self) -> int:
        """Tokens that are written, if every answer uses up its budget."""
        return sum(asked.generations * asked.budget for asked in self.requests)


def plan_steps(config: Config, seed: SeedSet) -> list[Step]:
    """Every step of the run with its work, if every attempt and every response uses its budget."""
    rubric = grading_rubric(config.judge.rubric)
    taught = eft_examples(seed.ranked, rubric) if config.eft.teach else []
    examples = [*seed.instructions, *taught]
    sft = sum(_tokens(item.prompt + item.response) for item in examples)
    unscored = _unscored_texts(config, seed)  # at most so many are taught, if the baseline agrees on all
    sft += sum(_tokens(rubric.text) + _tokens(text) + config.eft.max_tokens for text in unscored)
    steps = _baseline(config, seed) if unscored or config.evaluation.sft_baseline else []
    steps.append(_sft(config, "M1/sft", len(examples) + len(unscored), sft))
    steps += _evaluation(config, seed, "M0") + _evaluation(config, seed, "M1")
    steps += _watching(config, seed, "M1", judges=1)
    for t in range(2, config.iterations + 1):
        steps += _round(config, seed, t) + _evaluation(config, seed, f"M{t}")
        steps += _watching(config, seed, f"M{t}", judges=2)
    return steps + _suites(config, seed, sum(step.name.endswith("/evaluation/answers") for step in steps))


def _sft(config: Config, name: str, examples: int, tokens: int) -> Step:
    updates = math.ceil(examples * config.sft.epochs / config.sft.batch_size)
    return Step(name, examples, trained=round(tokens * config.sft.epochs), updates=updates)


def _suites(config: Config, seed: SeedSet, models: int) -> list[Step]:
    """Each suite on so many models, in one line; the harness's own work is not known before it runs."""
    steps = []
    heldout = seed.heldout_prompts()
    for section in config.evaluation.suites:
        name = f"{models} models/evaluation/{section.title}"
        if not isinstance(section, AnsweredSuite):
            steps.append(Step(name, 0))
            continue
        texts = set_up(section, heldout).asked()
        count, read = models * len(texts), sum(map(_tokens, texts)) / max(len(texts), 1)
        asked = [Requests(count, section.samples, 0, read, section.max_tokens, section.block)]
        if section.judged:
            # head_to_head: both orders of every two models; else about two judgments an answer
            judged = count * (models - 1 if isinstance(section, HeadToHeadSuite) else 2)
            judge = config.evaluation.judge
            said = judge.max_tokens if judge.justify else 1
            head, tail = _rubric_tokens(config)
            asked.append(Requests(judged, 1, head, tail + 2 * section.max_tokens, said, judge.block))
        steps.append(Step(name, len(texts), tuple(asked)))
    return steps


def _baseline(config: Config, seed: SeedSet) -> list[Step]:
    """The SFT baseline, which scores the answers that have ranks alone."""
    sft = sum(_tokens(item.prompt + item.response) for item in seed.instructions)
    texts = _unscored_texts(config, seed)
    steps = [_sft(config, "SFT/sft", len(seed.instructions), sft), *_evaluation(config, seed, "SFT")]
    judging = Step("SFT/judgments", len(texts), _judgments(config, config.eft, len(texts), _mean(texts)))
    return [*steps, judging] if texts else steps


def _unscored_texts(config: Config, seed: SeedSet) -> list[str]:
    lines = seed.unscored() if config.eft.teach else []
    return [line.prompt + answer.text for line in lines for answer in line.answers]


def _judgments(config: Config, section: Judging, count: int, judged: float) -> tuple[Requests, ...]:
    """What a judge is asked about so many responses; `judged`: mean tokens of what it reads of each alone."""
    head, tail = _rubric_tokens(config)
    justify, scoring = getattr(section, "justify", True), getattr(section, "scoring", "sampled")
    weighed = Requests(count, 1, head, tail + judged, 1, section.block)
    if not justify:
        return (weighed,)
    written = Requests(count, section.samples, head, tail + judged, section.max_tokens, section.block)
    if scoring == "sampled":
        return (written,)
    # Every reply is read again, behind its prompt, which all replies to it share.
    again = (tail + judged) / section.samples + section.max_tokens
    return written, Requests(count * section.samples, 1, head, again, 1, section.block * section.samples)


def _round(config: Config, seed: SeedSet, t: int) -> list[Step]:
    name = f"M{t}"
    count, samples = config.prompts.count, config.responses.samples
    shots = config.prompts.demonstrations + config.prompts.generated_demonstrations
    shots = 0 if config.prompts.method == "synthesis" else shots
    shot = sum(_tokens(item.prompt) for item in seed.instructions) / len(seed.instructions)
    attempts = math.ceil(1.5 * count)
    answer, budget = config.responses.max_tokens, config.prompts.max_tokens
    judged = count * samples
    pair = 2 * (answer + budget)
    written = Requests(attempts, 1, 0, shots * shot + 60, budget, config.prompts.block, sequential=True)
    answered = Requests(count, samples, 0, budget, answer, config.responses.block)
    # The responses to one prompt stand side by side in a block, and share it.
    judgments = _judgments(config, config.judge, judged, budget / samples + answer)
    said = [
        Step(f"{name}/responses", judged, (answered,)),
        Step(f"{name}/judgments", judged, judgments),
    ]
    # Pairs of earlier rounds, and at most its share beside them.
    items = count * (1 + config.pairs.earlier * (t - 2))
    if config.judge_training.methods and t - 2 < config.judge_training.rounds:
        items /= 1 - config.judge_training.share
    updates = math.ceil(items * config.dpo.epochs / config.dpo.batch_size)
    tokens = round(items * pair * (config.dpo.epochs + 1 / 3))
    trained = Step(f"{name}/dpo", round(items), trained=tokens, updates=updates)
    return [
        Step(f"{name}/prompts", count, (written,)),
        *said,
        *_methods(config, t, said, trained),
        trained,
    ]


def _meta(config: Config, t: int) -> Step:
    """Comparisons of every two judgments in both orders."""
    section, draws = config.judge_training, config.judge.samples
    contested = SPARE * room_beside(config, config.prompts.count * config.pairs.per_prompt)
    count = contested * draws * (draws - 1)
    read = sum(_rubric_tokens(config)) + config.prompts.max_tokens + config.responses.max_tokens
    read += 2 * config.judge.max_tokens
    budget = section.max_tokens if section.justify else 1
    return Step(f"M{t}/meta_judgments", count, (Requests(count, 1, 0, read, budget, section.block),))


def _methods(config: Config, t: int, said: Sequence[Step], trained: Step) -> list[Step]:
    """What methods add to round t, if half of the contested responses make a pair about judging.

    `said`: the round's own responses and judgments, `trained` its DPO, which other models' are like.
    """
    wanted, section = method_steps(config, t), config.judge_training
    judged = config.prompts.count * config.responses.samples
    steps = []
    if f"M{t}/meta_judgments" in wanted:
        steps.append(_meta(config, t))
    if f"M{t}/worse_responses" in wanted:
        count, budget = config.prompts.count, config.responses.max_tokens
        task = Requests(count, 1, 0, config.prompts.max_tokens + 60, section.max_tokens, section.block)
        answer = Requests(count, 1, 0, section.max_tokens, budget, section.block)
        judgments = _judgments(config, config.judge, count, config.prompts.max_tokens + budget)
        steps.append(Step(f"M{t}/worse_responses", count, (task, answer)))
        steps.append(Step(f"M{t}/worse_judgments", count, judgments))
    for side in ("anchor", "ahead"):
        if f"M{t}/{side}_responses" in wanted:
            steps += [replace(step, name=step.name.replace("/", f"/{side}_")) for step in said]
    if f"M{t}-ahead/dpo" in wanted:
        steps.append(replace(trained, name=f"M{t}-ahead/dpo"))
    if f"M{t}/likelihoods" in wanted:
        models, read = min(t, 3), config.prompts.max_tokens + config.responses.max_tokens
        asked = Requests(judged * models, 1, 0, read, 0, config.responses.block)
        steps.append(Step(f"M{t}/likelihoods", judged, (asked,)))
    return steps


def _evaluation(config: Config, seed: SeedSet, name: str) -> list[Step]:
    texts = [prompt.text for prompt in seed.heldout_prompts()]
    answers = [answer.text for line in seed.heldout_ranked for answer in line.answers]
    section = config.evaluation.answers
    asked = Requests(len(texts), section.samples, 0, _mean(texts), section.max_tokens, section.block)
    prompts = sum(_tokens(line.prompt) for line in seed.heldout_ranked)
    judged = _mean(answers) + prompts / max(len(answers), 1)
    return [
        Step(f"{name}/evaluation/answers", asked.generations, (asked,)),
        Step(
            f"{name}/evaluation/judgments",
            len(answers),
            _judgments(config, config.judge, len(answers), judged),
        ),
    ]


def _watching(config: Config, seed: SeedSet, name: str, judges: int) -> list[Step]:
    """The held-out answers, judged by so many judges, and the fixed texts."""
    if config.gates.preset == "off":
        return []
    texts = [item.text for item in fixed_texts(grading_rubric(config.judge.rubric))]
    section = config.evaluation.answers
    answers = len(seed.heldout_prompts()) * section.samples * judges
    count = answers + len(texts)
    judged = (answers * section.max_tokens + sum(map(_tokens, texts))) / max(count, 1)
    return [Step(f"{name}/watch", count, _judgments(config, config.judge, count, judged))]


def _rubric_tokens(config: Config) -> tuple[int, int]:
    """Tokens of the rubric before what is judged, the same in every prompt, and after it."""
    before, _, after = grading_rubric(config.judge.rubric).text.partition("{{")
    return _tokens(before), _tokens(after)


def _mean(texts: list[str]) -> float:
    return sum(map(_tokens, texts)) / max(len(texts), 1)


def _tokens(text: str) -> int:
    return math.ceil(len(text) / CHARACTERS_A_TOKEN)
