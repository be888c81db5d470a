"""What a round teaches about judging, beside the pairs of its answers: by itself, or EFT again."""

from collections.abc import Iterable, Sequence

from srlm.config import Config
from srlm.engines.base import Engine
from srlm.judging.rubric import comparing_rubric, grading_rubric
from srlm.methods.turn import Turn
from srlm.records import Comparison, Example, Judgment, Pair, Prompt, Response, seed_for
from srlm.stages.comparisons import compare
from srlm.stages.judge_pairs import couples_of, judge_pairs, told_apart
from srlm.stages.judgments import judge
from srlm.stages.self_taught import answers_to_others, right_judgments
from srlm.store.jsonl import Records
from srlm.templates import load_template
from srlm.training.launch import Lessons

Made = tuple[Records[Prompt], Records[Response], Records[Judgment]]
"""What a round has made so far."""
SPARE = 2
"""Contested responses compared for each pair that is wanted, for some give none."""


def lessons_about_judging(
    at: Turn, roles: tuple[Engine, Engine], made: Made, examples: Iterable[Example]
) -> list[Pair | Example]:
    """What a round teaches about judging, beside the pairs of its answers, in the first rounds alone.

    `roles`: who answers and who judges; `examples` are those of EFT. What does not fit is left out.
    """
    config, section, t = at.config, at.config.judge_training, at.t
    if not section.methods or t - 2 >= section.rounds:
        return []
    most = room_beside(config, len(made[0]) * config.pairs.per_prompt)
    found: list[Pair | Example] = []
    if "meta" in section.methods:
        found += _meta(at, roles[1], made, most)
    if "self_taught" in section.methods:
        found += _self_taught(at, roles, made)[: most - len(found)]
    if "replay" in section.methods:
        order = sorted(examples, key=lambda item: seed_for(config.seed, "replay", t, item.id))
        found += order[: most - len(found)]
    return found


def _meta(at: Turn, judging: Engine, made: Made, most: int) -> list[Pair]:
    """Pairs of judgments, as the judge compares them itself (arXiv 2407.19594)."""
    _, responses, judgments = made
    config, run, section = at.config, at.run, at.config.judge_training
    groups = told_apart(grading_rubric(config.judge.rubric), responses, judgments, SPARE * most)
    asked = (judging, comparing_rubric(section.rubric), couples_of(groups))
    said = run.records(f"M{at.t}/meta_judgments", Comparison, compare, section, *asked)
    return list(run.records(f"M{at.t}/judge_pairs", Pair, judge_pairs, section, groups, said))[:most]


def _self_taught(at: Turn, roles: tuple[Engine, Engine], made: Made) -> list[Example]:
    """Judgments that are known to be right (arXiv 2408.02666), two a prompt where there are any."""
    engine, judging = roles
    prompts, responses, judgments = made
    config, run, rubric = at.config, at.run, grading_rubric(at.config.judge.rubric)
    request = load_template(config.judge_training.other_task, "task")
    given = (engine, request, config.responses, prompts)
    worse = run.records(
        f"M{at.t}/worse_responses", Response, answers_to_others, config.judge_training, *given
    )
    asked = (judging, rubric, worse)
    of_worse = run.records(f"M{at.t}/worse_judgments", Judgment, judge, config.judge, *asked)
    return right_judgments(rubric, responses, judgments, worse, of_worse)


def all_lessons(
    config: Config, pairs: Records[Pair], again: Sequence[Pair], beside: Sequence[Pair | Example]
) -> Records[Pair] | Lessons:
    """What a round trains on: its pairs, earlier ones again, and beside them what their number allows.

    The pairs as they are where there is nothing else, as in the paper.
    """
    fitting = beside[: room_beside(config, len(pairs) + len(again))]
    return Lessons([*pairs, *again, *fitting]) if again or fitting else pairs


def room_beside(config: Config, pairs: int) -> int:
    """How many lessons may stand beside so many pairs, so that no batch holds more than its share of them."""
    size = config.dpo.batch_size
    allowed = int(config.judge_training.share * size)
    return pairs * allowed // (size - allowed)
