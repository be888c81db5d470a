"""THE LOOP: M0 → M1 → M2 → M3 by self-rewarding (arXiv 2401.10020, section 2).

Differences from the paper, each with its reason, stand in docs/the-loop.md. Run it with
``srlm run RECIPE``, or from Python as in examples/from_python.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from srlm.config import Action, Config
from srlm.engines.base import Engine
from srlm.engines.opening import FIRST, check_engine, open_engine, open_roles, resolve_others
from srlm.errors import DataError
from srlm.evaluation.panel import Evaluation
from srlm.judging.eft import as_responses
from srlm.judging.rubric import grading_rubric
from srlm.methods import check_named, method_steps
from srlm.methods.implicit import implicit_rewards
from srlm.methods.judging import all_lessons, lessons_about_judging
from srlm.methods.opponents import pairs_of_round
from srlm.methods.turn import Past, Turn
from srlm.models import Model, resolve
from srlm.monitors.gates import Decision
from srlm.monitors.monitor import Monitor, watch_steps
from srlm.monitors.rounds import Round
from srlm.records import Example, Judgment, Prompt, Response
from srlm.seeds import RankedPrompt, SeedSet, load_seed
from srlm.stages.given import given_prompts, seed_prompts, take_prompts
from srlm.stages.judgments import judge
from srlm.stages.opposing import Side
from srlm.stages.pairs import trained_again
from srlm.stages.prompts import write_prompts
from srlm.stages.responses import respond
from srlm.stages.teaching import teach
from srlm.store.jsonl import Records
from srlm.store.run import Run
from srlm.training.launch import train_dpo, train_sft
from srlm.training.launchers.choosing import check_launcher


@dataclass(frozen=True)
class Outcome:
    """The last model, how the loop ended, in a sentence, and what a gate said: to go back means to `best`."""

    model: Model
    verdict: str
    action: Action
    best: str


def run_loop(config: Config, run: Run) -> Outcome:
    """Train M1 … M(iterations) from a base model by self-rewarding (section 2.4)."""
    check_launcher(config.launcher, config.sft, config.dpo)
    check_engine(config.engine)
    check_named(config)
    seed, rubric = load_seed(config.data), grading_rubric(config.judge.rubric)
    base = resolve(config.model)
    others = resolve_others(config)
    supplied = given_prompts(config.prompts, config.iterations - 1)
    evaluation = Evaluation(config, run, others, base, seed)
    heldout = (seed.heldout_instructions, evaluation.checkpoints)
    judging_examples, baseline = teach_judging(config, run, base, seed, heldout)
    examples = [*seed.instructions, *judging_examples]
    model = run.model("M1/sft", train_sft, config.sft, base, examples, *heldout)
    others[FIRST] = model
    for other in (*baseline, base):
        evaluation.measure(other)
    monitor = Monitor(config, run, others, base, seed=seed, asked=evaluation.asked())
    decision = monitor.look(model, evaluation.measure(model))
    models, past = [base, model], Past()
    for t in range(2, config.iterations + 1):
        at = Turn(config, run, t, models, others, past)
        with open_roles(config, model, others) as (writer, engine, judging):
            stage, *given = prompt_stage(at, supplied, writer, seed)
            prompts = run.records(f"M{t}/prompts", Prompt, stage, config.prompts, *given)
            responses = run.records(f"M{t}/responses", Response, respond, config.responses, engine, prompts)
            judgments = run.records(
                f"M{t}/judgments", Judgment, judge, config.judge, judging, rubric, responses
            )
            stages = (prompts, responses, judgments)
            lessons = lessons_about_judging(at, (engine, judging), stages, judging_examples)
        likely = implicit_rewards(at, responses)
        answers = (seed.instructions, heldout)
        pairs = pairs_of_round(at, prompts, Side(responses, judgments), likely, answers)
        made = Round(prompts, responses, judgments, pairs)
        if not len(pairs):
            monitor.look_at_round(f"M{t}", made)
            return run_out(run, t, model, decision.best)
        again = trained_again(config.pairs, past.learned, config.seed)
        learned = all_lessons(config, pairs, again, lessons)
        model = run.model(f"M{t}/dpo", train_dpo, config.dpo, model, learned, *heldout)
        decision = monitor.look(model, evaluation.measure(model), made)
        if decision.action != "continue":
            return gate_closed(model, decision)
        models.append(model)
        past.add(config, prompts, judgments, pairs)
    verdict = f"{model.name} is trained: all {config.iterations} iterations are done."
    return Outcome(model, f"{verdict} {decision.why}".rstrip(), "continue", decision.best)


def prompt_stage(at: Turn, supplied: Sequence[Prompt], writer: Engine, seed: SeedSet) -> tuple[Any, ...]:
    """Step 1 and what it is given: the model writes new prompts, or those supplied are taken in turn.

    SPIN has the seed's answers to learn from, so it takes the seed's prompts, drawn anew in every round.
    """
    past = at.past
    if at.config.pairs.opponents == "spin":
        return take_prompts, seed_prompts(at.config, at.t, seed.instructions), ()
    if supplied:
        return take_prompts, supplied, past.written
    steering = (past.spreads,) if past.spreads else ()
    return write_prompts, writer, seed.instructions, past.written, seed.prompts(), *steering


def teach_judging(
    config: Config, run: Run, base: Model, seed: SeedSet, heldout: tuple[Any, ...]
) -> tuple[Records[Example] | list[Example], list[Model]]:
    """EFT (section 2.1): scored seed answers as they are, ranked ones as the SFT baseline scores them.

    And that baseline, where it is needed or asked for.
    """
    unscored, judgments, rubric = to_score(config, seed), None, grading_rubric(config.judge.rubric)
    baseline: list[Model] = []
    if unscored or config.evaluation.sft_baseline:
        baseline = [run.model("SFT/sft", train_sft, config.sft, base, seed.instructions, *heldout)]
    if not config.eft.teach:
        return [], baseline
    if unscored:
        with open_engine(config.engine, baseline[0]) as engine:
            given = (engine, rubric, as_responses(unscored))
            judgments = run.records("SFT/judgments", Judgment, judge, config.eft, *given)
    examples = run.records("M1/eft", Example, teach, config.eft, rubric, seed.ranked, judgments or [])
    if not len(examples):
        raise nothing_agreed(run.counts("M1/eft"))
    return examples, baseline


def to_score(config: Config, seed: SeedSet) -> list[RankedPrompt]:
    """The seed answers with ranks alone, where M1 is to learn from them."""
    return seed.unscored() if config.eft.teach else []


def step_names(config: Config, *, ranks_alone: bool) -> list[str]:
    """Every step of a run in order, as they are called on the disk; `ranks_alone`: to_score() finds some.

    Of a suite only the last one, its figures.
    """
    evaluation = ["evaluation/answers", "evaluation/judgments", "evaluation/figures"]
    evaluation += [f"evaluation/{suite.title}/figures" for suite in config.evaluation.suites]
    baseline = ["SFT"] if ranks_alone or config.evaluation.sft_baseline else []
    names = [*(["SFT/sft"] if baseline else []), *(["SFT/judgments"] if ranks_alone else [])]
    names += [*(["M1/eft"] if config.eft.teach else []), "M1/sft"]
    names += [f"{model}/{part}" for model in (*baseline, "M0", "M1") for part in evaluation]
    names += [f"M1/{part}" for part in watch_steps(config, first=True)]
    for t in range(2, config.iterations + 1):
        names += [f"M{t}/{part}" for part in ("prompts", "responses", "judgments")]
        names += method_steps(config, t)
        parts = ["pairs", "dpo", *evaluation, *watch_steps(config, first=False)]
        names += [f"M{t}/{part}" for part in parts]
    return names


def nothing_agreed(counts: dict[str, int]) -> DataError:
    """The error for ranked seed answers on which the SFT baseline agrees with nobody."""
    found = ", ".join(f"{number} {reason}" for reason, number in sorted(counts.items()))
    return DataError(
        "the ranked seed answers (data.ranked)",
        f"no score of the SFT baseline's that agrees with the people's order is left ({found}), "
        "so there is nothing to teach M1 about judging",
        "give them scores of their own (srlm seed build oasst --scores rank), raise eft.samples or "
        "eft.max_share, set eft.ties=keep, or take a stronger base model",
    )


def gate_closed(model: Model, decision: Decision) -> Outcome:
    """A gate ends the loop with the model that it alarmed on, or goes back to the best before it."""
    kept = f"{model.name} is the last model" if decision.action == "stop" else f"{decision.best} is kept"
    verdict = f"A gate ended the run ({decision.action}): {decision.why} {kept}; the best is {decision.best}."
    return Outcome(model, verdict, decision.action, decision.best)


def run_out(run: Run, t: int, model: Model, best: str) -> Outcome:
    """A round without pairs ends the loop: there is nothing to learn from, and that is a result."""
    counts = run.counts(f"M{t}/pairs")
    found = ", ".join(
        f"{number} {reason.removeprefix('no pair: ')}" for reason, number in sorted(counts.items())
    )
    return Outcome(
        model,
        f"M{t} was not trained: the judge of M{t - 1} separated no two responses "
        f"({found or 'no prompts were kept'}). {model.name} is the last model. "
        f"Look at M{t}/judgments.jsonl; a judge that always gives one score or writes none "
        "needs more or better ranked seed answers, more samples, or a larger model.",
        "continue",
        best,
    )
