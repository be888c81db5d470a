"""srlm plan: what a run will cost, here or on a cluster, as tables of at most 100 columns."""

from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from srlm.config import Config
    from srlm.planning.cluster import ClusterPlan
    from srlm.planning.lengths import Lengths
    from srlm.planning.machine import MachinePlan
    from srlm.planning.times import StepTime

SCALES = (1, 4, 16, 64, 256, 1024)
"""Replicas of the table that --simulate ends with, beside those of the cluster itself."""


@click.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1)
@click.option(
    "--calibrate/--no-calibrate", "calibrated", default=True, help="Measure this machine's rates first."
)
@click.option("--gpus", type=int, help="Plan for so many GPUs instead of this machine.")
@click.option("--gpu", metavar="KIND", help="Their kind: h100, a100, l40s ... By default like this machine.")
@click.option("--replicas", type=int, help="Replicas that write; by default those that write most a GPU.")
@click.option(
    "--strategy",
    type=click.Choice(["fsdp", "deepspeed", "ddp"]),
    help="How a training is divided over the GPUs; by default launcher.strategy, or fsdp, with adapters ddp.",
)
@click.option("--parameters", metavar="SIZE", help="Weights of a model that is not here: 70e9, 70B.")
@click.option("--assume", multiple=True, metavar="KEY=VALUE", help="See docs/scale-out.md; may be repeated.")
@click.option("--what-if", "what_ifs", multiple=True, metavar="OVERRIDES", help="What they would change.")
@click.option("--simulate", is_flag=True, help="Play a round: tasks, answers of all lengths, failures.")
@click.option("--lengths", type=click.Path(path_type=Path), help="A run whose answers' lengths it takes.")
def plan(
    recipe: str,
    overrides: tuple[str, ...],
    *,
    calibrated: bool,
    gpus: int | None,
    gpu: str | None,
    replicas: int | None,
    strategy: str | None,
    parameters: str | None,
    assume: tuple[str, ...],
    what_ifs: tuple[str, ...],
    simulate: bool,
    lengths: Path | None,
) -> None:
    """What a run will cost: steps, generations, tokens, time, disk, memory.

    With --gpus on a cluster, and what a changed setting would cost there.
    """
    from srlm.errors import ConfigError
    from srlm.planning.cluster import Wanted, plan_cluster
    from srlm.planning.hardware import assume as assumptions
    from srlm.planning.machine import plan_machine
    from srlm.planning.shapes import parse_size
    from srlm.recipes import load, parse_values

    config = load(recipe, overrides).config
    if gpus is None:
        if gpu or replicas or parameters or assume or what_ifs or simulate or lengths:
            raise ConfigError(
                "options of a cluster without --gpus",
                "they change nothing in the plan of this machine",
                "say how many GPUs, as in --gpus 64 --gpu h100",
            )
        _tell_machine(plan_machine(config, calibrated=calibrated))
        return _tell_judge(config)
    size = parse_size(parameters) if parameters else None
    given = assumptions(parse_values(assume))
    wanted = Wanted(gpus, gpu, replicas, strategy, size, given)  # type: ignore[arg-type]  # click checks it
    found = plan_cluster(config, wanted, what_ifs)
    _tell_cluster(found, [word.partition("=")[0] for word in assume])
    if simulate:
        _tell_simulation(found, config, _lengths(lengths))
    return _tell_judge(config)


def _lengths(folder: Path | None) -> "Lengths":
    from srlm.planning.lengths import Lengths, lengths_of_run
    from srlm.store.states import saved_config

    if folder is None:
        return Lengths()
    of_run = saved_config(folder)
    budgets = {"responses": of_run.responses.max_tokens, "judgments": of_run.judge.max_tokens}
    return lengths_of_run(folder, budgets)


def _tell_machine(found: "MachinePlan") -> None:
    rates = found.rates
    click.echo(
        f"{'step':<26}{'items':>8}{'generations':>13}{'read':>13}{'written':>13}{'trained':>13}{'minutes':>9}"
    )
    for step in found.steps:
        minutes = f"{rates.seconds(step) / 60:.1f}" if rates else "-"
        tokens = f"{step.prefill:>13,}{step.written:>13,}{step.trained:>13,}"
        click.echo(f"{step.name:<26}{step.items:>8,}{step.generations:>13,}{tokens}{minutes:>9}")
    click.echo("\nRead, written and trained are tokens, if every answer uses up its budget.")
    if rates:
        total = sum(rates.seconds(step) for step in found.steps) / 60
        click.echo(
            f"Time about {total:.0f} minutes or less, at {rates.prefill:.0f} tokens/s read, "
            f"{rates.written:.0f} written, {rates.trained:.0f} trained, measured here just now."
        )
    if found.parameters:
        click.echo(
            f"{found.parameters / 1e6:,.0f} million weights: disk about {found.disk_gib:.1f} GiB, "
            f"memory of the training process about {found.training_gib:.1f} GiB, of the generating one about "
            f"{found.generation_gib:.1f} GiB."
        )
    if found.missing:
        click.echo(f"Time, disk and memory are not estimated: {found.missing}")
    elif not rates:
        click.echo("Time is not estimated: nothing was calibrated.")


def _tell_judge(config: "Config") -> None:
    """What the phase map says of the judge that the config's N and margin want."""
    from srlm.evaluation.phase_map import before_a_run

    where = (config.responses.samples, config.pairs.min_margin)
    if config.pairs.rank_by == "judge" and (said := before_a_run(*where)):
        click.echo()
        _say(said)


def _tell_cluster(found: "ClusterPlan", set_otherwise: Sequence[str]) -> None:
    cluster = found.cluster
    kind = cluster.gpu.name if cluster.gpu else "machine like this one, measured just now"
    replicas = f"{cluster.replicas:,} replica{'s' * (cluster.replicas > 1)} of {cluster.tensor_parallel}"
    model = f"{cluster.shape.parameters / 1e9:,.2f} billion weights ({cluster.shape.origin})"
    _say(f"Prediction for {cluster.gpus:,} x {kind}, as {replicas} while it writes; {model}.")
    click.echo()
    _tell_steps(found)
    if found.training:
        _tell_memory(found)
    disk = ", ".join(f"{name} {_bytes(size)}" for name, size in found.disk.items())
    click.echo(f"disk  {disk}\n")
    _tell_what_ifs(found)
    given = cluster.given
    shares = f"reading {given.reading:g}, writing {given.writing:g}, training {given.training:g}"
    also = "".join(f", {key} {getattr(given, key):g}" for key in set_otherwise if key not in shares)
    if cluster.gpu:
        _say(f"Assumed shares of the data sheet: {shares}{also} (--assume, docs/scale-out.md).")


def _tell_steps(found: "ClusterPlan") -> None:
    gpus = found.cluster.gpus
    titles = ("generations", "read", "written", "trained", "hours", "GPU-hours", "busy", "limit")
    widths = (12, 9, 9, 9, 9, 11, 6, 12)
    click.echo(
        f"{'step':<23}" + "".join(f"{name:>{width}}" for name, width in zip(titles, widths, strict=True))
    )
    for name, times in _grouped(found.times):
        click.echo(f"{name:<23}" + _line(times, gpus, widths))
    click.echo(f"{'all':<23}" + _line(found.times, gpus, widths[:-1]))
    unknown = [one.step.name.rpartition("/")[2] for one in found.times if one.limit == "not known"]
    if unknown:
        click.echo(f"Without {', '.join(unknown)}, whose work is not known before it runs.")
    kind, share, limit = found.bottleneck
    click.echo()
    _say(f"Bottleneck: {kind}, {share:.0%} of the wall time; {_why(found, kind, limit)}.")
    click.echo()


def _line(times: "Sequence[StepTime]", gpus: int, widths: Sequence[int]) -> str:
    seconds = sum(one.seconds for one in times)
    busy = sum(one.seconds * one.busy for one in times) / seconds if seconds else 0.0
    counts = [sum(getattr(one.step, key) for one in times) for key in _COUNTED]
    cells = [*map(_short, counts), f"{seconds / 3600:,.2f}", f"{gpus * seconds / 3600:,.1f}", f"{busy:.0%}"]
    cells.append(max(times, key=lambda one: one.seconds).limit)
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=False))


_COUNTED = ("generations", "prefill", "written", "trained")


def _grouped(times: "Sequence[StepTime]") -> "list[tuple[str, list[StepTime]]]":
    """The loop's steps one by one; evaluation and monitors of all models in a line."""
    groups: dict[str, list[StepTime]] = {}
    for one in times:
        beside = "/evaluation/" in one.step.name or one.step.name.endswith("/watch")
        groups.setdefault("evaluation, monitors" if beside else one.step.name, []).append(one)
    last = groups.pop("evaluation, monitors", None)
    return [*groups.items(), *([("evaluation, monitors", last)] if last else [])]


def _why(found: "ClusterPlan", kind: str, limit: str) -> str:
    section = {"judgments": "judge", "answers": "evaluation.answers"}.get(kind, kind)
    replicas = found.cluster.replicas
    return {
        "few rows": f"too few samples are under way for {replicas} replicas: raise {section}.block",
        "bandwidth": "every decoding step reads all weights: more rows a replica would share that",
        "FLOP/s": "the products themselves: it grows with GPUs and their efficiency",
        "reading": "prompts take longer to read than answers to write",
        "network": "weights and gradients take longer on the network than the products",
        "batch_size": f"a batch of {kind} has fewer examples than there are GPUs, and the others wait",
    }.get(limit, limit)


def _tell_memory(found: "ClusterPlan") -> None:
    from srlm.planning.hardware import GIB

    gpu, cluster = found.cluster.gpu, found.cluster
    if gpu is None or found.replica is None:
        return
    room = cluster.given.memory * gpu.memory
    names = [field.name for field in fields(next(iter(found.training.values())))]
    click.echo(
        f"{'GiB of each GPU':<17}" + "".join(f"{name:>12}" for name in [*names, "all"]) + f"  of {room:.1f}"
    )
    way = f", {cluster.strategy}" if cluster.gpus > 1 else ""
    for section, memory in found.training.items():
        sizes = [getattr(memory, name) for name in names] + [memory.total]
        fits = "fits" if memory.total <= room * GIB else "NO"
        click.echo(f"{section + way:<17}" + "".join(f"{size / GIB:>12.1f}" for size in sizes) + f"  {fits}")
    replica = found.replica
    click.echo(
        f"{'writing':<17}{replica.weights / GIB:>12.1f}  beside {replica.rows} samples of "
        f"{replica.row / GIB:.2f} each: {replica.total(replica.rows) / GIB:.1f}"
    )
    if found.mends:
        _say(f"A training does not fit. What would: {found.mends}.")
    click.echo()


def _tell_what_ifs(found: "ClusterPlan") -> None:
    click.echo(f"{'what if':<56}{'hours':>11}{'GPU-hours':>13}{'of all':>9}")
    for one in found.alternatives:
        share = one.hours / found.hours if found.hours else 0.0
        spent = found.cluster.gpus * one.hours
        row = f"{' '.join(one.words):<56}{one.hours:>+11,.2f}{spent:>+13,.1f}{share:>+9.0%}"
        click.echo(row + ("   does not fit" if one.mends else ""))
    click.echo()


def _tell_simulation(found: "ClusterPlan", config: "Config", lengths: "Lengths") -> None:
    from srlm.errors import ConfigError
    from srlm.planning.rounds import round_steps, simulate_round

    if config.iterations < 2:
        raise ConfigError(
            "--simulate with iterations=1", "there is no round to play", "set iterations to 2 or more"
        )
    steps = round_steps([one.step for one in found.times], "M2")
    training = next(one for one in found.times if one.step.name == "M2/dpo")
    cluster = found.cluster
    seed = config.seed
    here = simulate_round(cluster, config, steps, training, lengths, seed=seed)
    parts = ("useful", "loading", "copied", "failed", "waiting", "tail")
    click.echo(
        f"\n{'a simulated round':<23}{'hours':>9}"
        + "".join(f"{name:>9}" for name in parts)
        + f"{'failures':>10}"
    )
    for stage in here.stages:
        whole = cluster.replicas * stage.seconds
        shares = "".join(f"{getattr(stage, name) / whole:>9.1%}" for name in parts)
        click.echo(f"{stage.name:<23}{stage.seconds / 3600:>9.2f}{shares}{stage.failures:>10}")
    click.echo(
        f"{training.step.name:<23}{here.training / 3600:>9.2f}\n{'all':<23}{here.seconds / 3600:>9.2f}\n"
    )
    click.echo(f"{'replicas':>10}{'GPUs':>9}{'hours of writing':>18}{'busy':>8}{'efficiency':>12}")
    alone = simulate_round(cluster, config, steps, training, lengths, replicas=1, seed=seed).writing
    for number in sorted({*SCALES, cluster.replicas}):
        one = simulate_round(cluster, config, steps, training, lengths, replicas=number, seed=seed)
        efficiency = alone / one.writing / number
        used = f"{number:>10,}{number * cluster.tensor_parallel:>9,}{one.writing / 3600:>18,.2f}"
        click.echo(f"{used}{one.busy:>8.0%}{efficiency:>12.0%}")
    _say("Efficiency: one replica's time, divided by theirs together. Answers have drawn lengths.")


def _say(text: str) -> None:
    click.echo(fill(text, 100, break_on_hyphens=False))


def _short(number: int) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "K")):
        if number >= size:
            return f"{number / size:.1f}{letter}"
    return str(number) if number else "-"


def _bytes(size: float) -> str:
    return f"{size / 2**40:,.2f} TiB" if size >= 2**40 else f"{size / 2**30:,.1f} GiB"
