"""THE LOOP: M0 → M1 → M2 → M3 by self-rewarding (arXiv 2401.10020, section 2).

Differences from the paper, each with its reason, stand in docs/the-loop.md. Run it with
``srlm run RECIPE``, or from Python as in examples/from_python.py.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

from srlm.config import Config, ModelSection
from srlm.engines.base import Engine
from srlm.engines.opening import open_engine
from srlm.errors import DataError
from srlm.evaluation.heldout import heldout_loss, measure
from srlm.judging.eft import as_responses
from srlm.judging.rubric import grading_rubric
from srlm.models import Model, resolve
from srlm.records import Example, Judgment, Pair, Prompt, Response
from srlm.seeds import SeedSet, load_seed
from srlm.stages.judgments import judge
from srlm.stages.pairs import make_pairs
from srlm.stages.prompts import write_prompts
from srlm.stages.responses import respond
from srlm.stages.teaching import teach
from srlm.store.jsonl import Records
from srlm.store.run import Run
from srlm.training.launch import train_dpo, train_sft


@dataclass(frozen=True)
class Outcome:
    """The last model, and how the loop ended, in a sentence."""

    model: Model
    verdict: str


def run_loop(config: Config, run: Run) -> Outcome:
    """Train M1 … M(iterations) from a base model by self-rewarding (section 2.4)."""
    seed, rubric = load_seed(config.data), grading_rubric(config.judge.rubric)
    base = resolve(config.model)
    others = resolve_others(config)
    measured = partial(evaluate, config, run, others, seed)
    judging_examples = teach_judging(config, run, base, seed, measured)
    examples = [*seed.instructions, *judging_examples]
    model = run.model("M1/sft", train_sft, config.sft, base, examples, seed.heldout_instructions)
    measured(base)
    measured(model)
    written: list[Prompt] = []
    for t in range(2, config.iterations + 1):
        with engines(config, model, others) as (writer, engine, judging):
            given = (writer, seed.instructions, written, seed.prompts())
            prompts = run.records(f"M{t}/prompts", Prompt, write_prompts, config.prompts, *given)
            responses = run.records(f"M{t}/responses", Response, respond, config.responses, engine, prompts)
            judgments = run.records(
                f"M{t}/judgments", Judgment, judge, config.judge, judging, rubric, responses
            )
        pairs = run.records(f"M{t}/pairs", Pair, make_pairs, config.pairs, responses, judgments)
        if not len(pairs):
            return run_out(run, t, model)
        model = run.model(f"M{t}/dpo", train_dpo, config.dpo, model, pairs, seed.heldout_instructions)
        measured(model)
        written += prompts
    return Outcome(model, f"{model.name} is trained: all {config.iterations} iterations are done.")


def teach_judging(
    config: Config, run: Run, base: Model, seed: SeedSet, measured: Callable[[Model], None]
) -> Records[Example]:
    """EFT (section 2.1): scored seed answers as they are; ranked ones as the SFT baseline scores them."""
    unscored, judgments, rubric = seed.unscored(), None, grading_rubric(config.judge.rubric)
    if unscored:
        baseline = run.model(
            "SFT/sft", train_sft, config.sft, base, seed.instructions, seed.heldout_instructions
        )
        measured(baseline)
        with open_engine(config.engine, baseline) as engine:
            judgments = run.records(
                "SFT/judgments", Judgment, judge, config.eft, engine, rubric, as_responses(unscored)
            )
    examples = run.records("M1/eft", Example, teach, config.eft, rubric, seed.ranked, judgments or [])
    if not len(examples):
        raise nothing_agreed(run.counts("M1/eft"))
    return examples


def evaluate(config: Config, run: Run, others: dict[str, Model], seed: SeedSet, model: Model) -> None:
    """Answer the held-out prompts, judge the held-out ranked answers, and measure both."""
    step, rubric = f"{model.name}/evaluation", grading_rubric(config.judge.rubric)
    with engines(config, model, others) as (_, engine, judging):
        answers = run.records(
            f"{step}/answers", Response, respond, config.evaluation, engine, seed.heldout_prompts()
        )
        ranked = as_responses(seed.heldout_ranked)
        judgments = run.records(f"{step}/judgments", Judgment, judge, config.judge, judging, rubric, ranked)
    loss = heldout_loss(run.folder, model.name)
    run.result(f"{step}/figures", measure, answers, judgments, seed.heldout_ranked, rubric, loss)


def resolve_others(config: Config) -> dict[str, Model]:
    """The models besides the one that is trained, found before any work begins."""
    trust = config.model.trust_remote_code
    names = [name for name in (config.prompts.writer, config.judge.judge) if name]
    return {name: resolve(ModelSection(name=name, trust_remote_code=trust), name=name) for name in names}


@contextmanager
def engines(
    config: Config, model: Model, others: dict[str, Model]
) -> Iterator[tuple[Engine, Engine, Engine]]:
    """Who writes prompts, answers and judges: the current model, unless the config names another."""
    with ExitStack() as stack:
        wanted = (config.prompts.writer, None, config.judge.judge)
        opened = {
            name: stack.enter_context(open_engine(config.engine, others[name] if name else model))
            for name in dict.fromkeys(wanted)
        }
        writer, engine, judging = (opened[name] for name in wanted)
        yield writer, engine, judging


def step_names(config: Config, *, ranks_alone: bool) -> list[str]:
    """Every step of a run in order, as they are called on the disk; `ranks_alone`: seed.unscored()."""
    evaluation = ["evaluation/answers", "evaluation/judgments", "evaluation/figures"]
    names = ["SFT/sft", *(f"SFT/{part}" for part in evaluation), "SFT/judgments"] if ranks_alone else []
    names += [
        "M1/eft",
        "M1/sft",
        *(f"M0/{part}" for part in evaluation),
        *(f"M1/{part}" for part in evaluation),
    ]
    for t in range(2, config.iterations + 1):
        parts = ["prompts", "responses", "judgments", "pairs", "dpo", *evaluation]
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


def run_out(run: Run, t: int, model: Model) -> Outcome:
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
    )
