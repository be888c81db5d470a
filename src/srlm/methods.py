"""What later papers add to a round, called by the loop: each gives nothing unless the config asks for it.

What only changes which responses are paired, or how a loss is reckoned, stands with the pairs and the losses
(docs/methods.md).
"""

from collections.abc import Iterable, Sequence

from srlm.config import Config, LocalEngineSection
from srlm.engines.base import Engine
from srlm.judging.rubric import grading_rubric, load_rubric
from srlm.models import Model
from srlm.records import Comparison, Example, Judgment, Likelihood, Pair, Response, seed_for
from srlm.stages.comparisons import compare
from srlm.stages.judge_pairs import couples_of, judge_pairs, told_apart
from srlm.stages.likelihoods import weigh
from srlm.store.jsonl import Records
from srlm.store.run import Run

SPARE = 2
"""Contested responses compared for each pair that is wanted, for some give none."""


def implicit_rewards(
    config: Config, run: Run, models: Sequence[Model], responses: Records[Response], step: str
) -> list[Records[Likelihood]]:
    """How likely a round's responses are to the model that wrote them, the one before it, and M0.

    `models` are all so far, M0 first. No records where the pairs do not ask.
    """
    if not config.pairs.needs_likelihoods:
        return []
    from srlm.engines.likelihood import Witnesses  # loads torch

    witnesses = dict.fromkeys((models[-1], models[-2], models[0]))
    section = config.engine if isinstance(config.engine, LocalEngineSection) else LocalEngineSection()
    readers = Witnesses(section, list(witnesses))
    return [run.records(step, Likelihood, weigh, config.responses, readers, responses)]


def lessons_about_judging(
    config: Config,
    run: Run,
    t: int,
    judging: Engine,
    given: tuple[Records[Response], Records[Judgment], Iterable[Example]],
) -> list[Pair | Example]:
    """What round t teaches about judging, beside the pairs of its answers, in the first rounds alone.

    `given`: the round's responses and judgments, and the EFT examples.
    """
    section = config.judge_training
    if t - 2 >= section.rounds:
        return []
    responses, judgments, examples = given
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


def method_steps(config: Config, t: int) -> list[str]:
    """The steps that methods add to round t, in order, as they are called in its folder."""
    meta = "meta" in config.judge_training.methods and t - 2 < config.judge_training.rounds
    return [
        *(["meta_judgments", "judge_pairs"] if meta else []),
        *(["likelihoods"] if config.pairs.needs_likelihoods else []),
    ]
