"""What a round teaches about judging, beside the pairs of its answers: Meta-Rewarding, and EFT again."""

from collections.abc import Iterable

from srlm.config import Config
from srlm.engines.base import Engine
from srlm.judging.rubric import grading_rubric, load_rubric
from srlm.methods.turn import Turn
from srlm.records import Comparison, Example, Judgment, Pair, Response, seed_for
from srlm.stages.comparisons import compare
from srlm.stages.judge_pairs import couples_of, judge_pairs, told_apart
from srlm.store.jsonl import Records

SPARE = 2
"""Contested responses compared for each pair that is wanted, for some give none."""


def lessons_about_judging(
    at: Turn,
    judging: Engine,
    responses: Records[Response],
    judgments: Records[Judgment],
    examples: Iterable[Example],
) -> list[Pair | Example]:
    """What a round teaches about judging, beside the pairs of its answers, in the first rounds alone.

    `examples` are those of EFT.
    """
    config, run, t = at.config, at.run, at.t
    section = config.judge_training
    if t - 2 >= section.rounds:
        return []
    most = room_beside(config, len({item.prompt_id for item in responses}) * config.pairs.per_prompt)
    found: list[Pair | Example] = []
    if "meta" in section.methods:
        rubric = grading_rubric(config.judge.rubric)
        groups = told_apart(rubric, responses, judgments, SPARE * most)
        asked = (judging, load_rubric(section.rubric), couples_of(groups))
        said = run.records(f"M{t}/meta_judgments", Comparison, compare, section, *asked)
        found += list(run.records(f"M{t}/judge_pairs", Pair, judge_pairs, section, groups, said))[:most]
    if "replay" in section.methods:
        order = sorted(examples, key=lambda item: seed_for(config.seed, "replay", t, item.id))
        found += order[: most - len(found)]
    return found


def room_beside(config: Config, pairs: int) -> int:
    """How many lessons may stand beside so many pairs, so that no batch holds more than its share of them."""
    size = config.dpo.batch_size
    allowed = int(config.judge_training.share * size)
    return pairs * allowed // (size - allowed)
