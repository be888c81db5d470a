"""Who stands against whom, where it is not a round's own responses: temporal anchors, and SPIN."""

from collections.abc import Sequence
from typing import Any

from srlm.config import Config
from srlm.engines.opening import open_engine, open_roles
from srlm.judging.checkers import Checker, load_checker
from srlm.judging.rubric import grading_rubric
from srlm.methods.turn import Turn
from srlm.models import Model
from srlm.records import Example, Judgment, Likelihood, Pair, Prompt, Response
from srlm.stages.judgments import judge
from srlm.stages.opposing import Side, oppose, oppose_seed
from srlm.stages.pairs import make_pairs
from srlm.stages.responses import respond
from srlm.store.jsonl import Records
from srlm.training.launch import train_dpo


def pairs_of_round(
    at: Turn,
    prompts: Records[Prompt],
    said: Side,
    likely: Sequence[Records[Likelihood]],
    seed: tuple[Sequence[Example], tuple[Any, ...]],
) -> Records[Pair]:
    """The pairs that a round learns from: best against worst of its own responses (the paper), or as asked.

    `seed`: the seed's answers, and what a training is given to measure itself by.
    """
    section, step = at.config.pairs, f"M{at.t}/pairs"
    answers, heldout = seed
    if section.opponents == "spin":
        return at.run.records(step, Pair, oppose_seed, section, list(answers), said.responses)
    if section.opponents == "temporal":
        return _anchored(at, prompts, said, heldout)
    known = likely[0] if likely else ()
    return at.run.records(
        step, Pair, make_pairs, section, said.responses, said.judgments, known, _checker(at.config)
    )


def opponent_steps(config: Config, t: int) -> list[str]:
    """The steps before the pairs of round t."""
    if config.pairs.opponents != "temporal":
        return []
    anchors = [] if t == 2 else [f"M{t}/anchor_responses", f"M{t}/anchor_judgments"]
    ahead = [f"M{t}/first_pairs", f"M{t}-ahead/dpo", f"M{t}/ahead_responses", f"M{t}/ahead_judgments"]
    return anchors + ahead


def _anchored(at: Turn, prompts: Records[Prompt], said: Side, heldout: tuple[Any, ...]) -> Records[Pair]:
    """Rejected from M1, chosen from a model that this round's pairs have trained (arXiv 2508.06026)."""
    run, section = at.run, at.config.pairs
    anchors = said if at.t == 2 else _said_by(at, f"M{at.t}/anchor", at.models[1], prompts)
    check = _checker(at.config)
    first, better = run.records(f"M{at.t}/first_pairs", Pair, oppose, section, said, anchors, check), said
    if len(first):
        ahead = run.model(f"M{at.t}-ahead/dpo", train_dpo, at.config.dpo, at.models[-1], first, *heldout)
        better = _said_by(at, f"M{at.t}/ahead", ahead, prompts)
    return run.records(f"M{at.t}/pairs", Pair, oppose, section, better, anchors, check)


def _checker(config: Config) -> Checker | None:
    """The program that ranks, where one does."""
    return load_checker(config.pairs.checker) if config.pairs.checker else None


def _said_by(at: Turn, step: str, model: Model, prompts: Records[Prompt]) -> Side:
    """What another model answers, as the judge of the round sees it."""
    config, run = at.config, at.run
    with open_engine(config.engine, model) as engine:
        responses = run.records(f"{step}_responses", Response, respond, config.responses, engine, prompts)
    with open_roles(config, at.models[-1], at.others) as (_, _, judging):
        given = (judging, grading_rubric(config.judge.rubric), responses)
        judgments = run.records(f"{step}_judgments", Judgment, judge, config.judge, *given)
    return Side(responses, judgments)
