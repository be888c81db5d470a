"""THE LOOP: M0 → M1 → M2 → M3 by self-rewarding (arXiv 2401.10020, section 2).

Differences from the paper, each with its reason, stand in docs/the-loop.md. Run it with
``srlm run RECIPE``, or from Python as in examples/from_python.py.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from srlm.config import Config, ModelSection
from srlm.engines.base import Engine
from srlm.engines.opening import open_engine
from srlm.evaluation.heldout import heldout_loss, measure
from srlm.judging.eft import as_responses, eft_examples
from srlm.models import Model, resolve
from srlm.records import Judgment, Pair, Prompt, Response
from srlm.seeds import SeedSet, load_seed
from srlm.stages.judgments import judge
from srlm.stages.pairs import make_pairs
from srlm.stages.prompts import write_prompts
from srlm.stages.responses import respond
from srlm.store.run import Run
from srlm.training.launch import train_dpo, train_sft


@dataclass(frozen=True)
class Outcome:
    """The last model, and how the loop ended, in a sentence."""

    model: Model
    verdict: str


def run_loop(config: Config, run: Run) -> Outcome:
    """Train M1 … M(iterations) from a base model by self-rewarding (section 2.4)."""
    seed = load_seed(config.data)
    base = resolve(config.model)
    examples = seed.instructions + eft_examples(seed.ranked)
    model = run.model("M1/sft", train_sft, config.sft, base, examples, seed.heldout_instructions)
    evaluate(config, run, base, seed, heldout_loss(run.folder / "M1/sft", before=True))
    evaluate(config, run, model, seed, heldout_loss(run.folder / "M1/sft"))
    written: list[Prompt] = []
    for t in range(2, config.iterations + 1):
        with engines(config, model) as (writer, engine, judging):
            prompts = run.records(
                f"M{t}/prompts", Prompt, write_prompts, config.prompts, writer, seed.instructions, written
            )
            responses = run.records(f"M{t}/responses", Response, respond, config.responses, engine, prompts)
            judgments = run.records(f"M{t}/judgments", Judgment, judge, config.judge, judging, responses)
        pairs = run.records(f"M{t}/pairs", Pair, make_pairs, config.pairs, responses, judgments)
        if not len(pairs):
            return run_out(run, t, model)
        model = run.model(f"M{t}/dpo", train_dpo, config.dpo, model, pairs, seed.heldout_instructions)
        evaluate(config, run, model, seed, heldout_loss(run.folder / f"M{t}/dpo"))
        written += prompts
    return Outcome(model, f"{model.name} is trained: all {config.iterations} iterations are done.")


def evaluate(config: Config, run: Run, model: Model, seed: SeedSet, loss: float | None) -> None:
    """Answer the held-out prompts, judge the held-out ranked answers, and measure both."""
    step = f"{model.name}/evaluation"
    with engines(config, model) as (_, engine, judging):
        answers = run.records(
            f"{step}/answers", Response, respond, config.evaluation, engine, seed.heldout_prompts()
        )
        judgments = run.records(
            f"{step}/judgments", Judgment, judge, config.judge, judging, as_responses(seed.heldout_ranked)
        )
    run.result(f"{step}/figures", measure, answers, judgments, seed.heldout_ranked, loss)


@contextmanager
def engines(config: Config, model: Model) -> Iterator[tuple[Engine, Engine, Engine]]:
    """Who writes prompts, answers and judges: the current model, unless the config names another."""
    with ExitStack() as stack:

        def opened(current: Model) -> Engine:
            return stack.enter_context(open_engine(config.engine, current))

        def other(reference: str) -> Engine:
            return opened(resolve(ModelSection(name=reference), name=reference))

        engine = opened(model)
        writer = other(config.prompts.writer) if config.prompts.writer else engine
        judging = other(config.judge.judge) if config.judge.judge else engine
        yield writer, engine, judging


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
