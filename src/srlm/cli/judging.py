"""Commands about a judge alone: score a file, read stored replies again, measure it, probe it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from srlm.cli.options import check_named, found_model, map_option, open_out, own_config
from srlm.errors import ConfigError

if TYPE_CHECKING:
    from srlm.config import Config
    from srlm.models import Model
    from srlm.store.run import Run

FILE = click.Path(path_type=Path, dir_okay=False)
FOLDER = click.Path(path_type=Path, file_okay=False)
model_option = click.option(
    "--model", "reference", help="Judge: runs/NAME/M1, a folder, a .gguf file, a hub id; none for a server."
)


@click.command()
@click.argument("file", type=FILE)
@click.argument("overrides", nargs=-1)
@model_option
@click.option("--reparse", is_flag=True, help="Read the replies of a judgments.jsonl again, without a model.")
@click.option("--rubric", help="With --reparse: a rubric's name or file; that of each judgment by default.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results (--reparse: the file).")
@map_option
def judge(
    file: Path,
    overrides: tuple[str, ...],
    *,
    reference: str | None,
    reparse: bool,
    rubric: str | None,
    out: Path | None,
    mapping: tuple[str, ...],
) -> None:
    """Score the responses in FILE (JSONL of prompt and response), or read stored replies again.

    OVERRIDES are judge.samples=5, judge.scoring=expected, engine.batch_tokens=... A stopped command goes on.
    """
    if reparse:
        _refuse_together(
            file, reparse=True, given={"--model": reference, "--map": mapping, "overrides": overrides}
        )
        _reparse(file, rubric, out or file.with_suffix(".reparsed.jsonl"))
        return
    _refuse_together(file, reparse=False, given={"--rubric": rubric})
    from srlm.seeds.answers import AnswerFile, parse_fields
    from srlm.standalone import judge_file

    answers = AnswerFile(file, parse_fields(mapping))
    folder = out or Path(f"{file.name.split('.')[0]}-judged")
    with open_judging(reference, overrides, folder) as (loaded, run, model):
        path = judge_file(loaded, run, model, answers)
        counts = run.counts("judgments")
    unreadable = sum(number for key, number in counts.items() if key.startswith("unreadable"))
    draws = counts.get("replies", 0)
    click.echo(f"{len(answers)} responses judged, {unreadable} of {draws} draws unreadable: {path}")
    _say_left_out(file, [f"line {number}: {reason}" for number, reason in answers.faults])


def _refuse_together(file: Path, *, reparse: bool, given: dict[str, object]) -> None:
    """An option that would be ignored is refused."""
    for option, value in given.items():
        if value:
            todo = (
                "leave one of the two out"
                if reparse
                else "write judge.rubric=... to judge with another rubric"
            )
            kind = "reading stored replies again uses no model" if reparse else "it belongs to --reparse"
            raise ConfigError(f"srlm judge {file} with {option}", kind, todo)


def _say_left_out(file: Path, faults: list[str]) -> None:
    for fault in faults[:20]:
        click.echo(f"  {file}, {fault}: left out", err=True)
    if rest := faults[20:]:
        click.echo(f"  and {len(rest)} more left out of {file}", err=True)


def _reparse(file: Path, rubric: str | None, out: Path) -> None:
    from srlm.standalone import reread

    found = reread(file, rubric, out)
    click.echo(f"{found.judgments} judgments read again, {found.changed} scores changed: {out}")
    for when, reasons in (("before", found.before), ("now", found.after)):
        listed = ", ".join(f"{number} {reason}" for reason, number in sorted(reasons.items())) or "none"
        click.echo(f"  unreadable {when}: {listed}")


@click.group("eval")
def evaluation() -> None:
    """Measure a model."""


@evaluation.command("judge")
@click.argument("overrides", nargs=-1)
@model_option
@click.option(
    "--data", "files", type=FILE, multiple=True, required=True, help="Human preferences; may be repeated."
)
@click.option("--out", type=FOLDER, required=True, help="Folder of judgments and figures.")
@map_option
def eval_judge(
    overrides: tuple[str, ...],
    *,
    reference: str | None,
    files: tuple[Path, ...],
    out: Path,
    mapping: tuple[str, ...],
) -> None:
    """How well a judge's scores agree with people: the paper's five metrics with 95 % intervals.

    FILES are ranked answers of our own form, or UltraFeedback, HH, PandaLM, auto-j, LLMBar, JudgeBench or
    Prometheus files, or any other with --map. See `srlm seed check FILE`.
    """
    from srlm.evaluation.tables import quality_table
    from srlm.seeds.preferences import heldout_preferences
    from srlm.standalone import evaluate_judge, set_names

    data = []
    for name, path in zip(set_names(files), files, strict=True):
        lines, faults = heldout_preferences(path, mapping)
        data.append((name, lines))
        _say_left_out(path, faults)
    with open_judging(reference, overrides, out) as (loaded, run, model):
        figures = evaluate_judge(loaded, run, model, data)
    (out / "figures.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    click.echo(quality_table(figures))
    click.echo(f"\nAll figures: {out}/figures.json")


@evaluation.command("bias")
@click.argument("overrides", nargs=-1)
@model_option
@click.option("--data", "file", type=FILE, help="Human preferences to probe with; built-in ones by default.")
@click.option(
    "--prompts",
    type=click.IntRange(min=1),
    default=32,
    show_default=True,
    help="Prompts to probe with, at most.",
)
@click.option(
    "--comparing",
    default="pairwise",
    show_default=True,
    help="Rubric to compare two responses: name or file.",
)
@click.option("--author", help="Name of this model in the data's `author` field, to see self-preference.")
@click.option("--out", type=FOLDER, required=True, help="Folder of judgments and figures.")
@map_option
def eval_bias(
    overrides: tuple[str, ...],
    *,
    reference: str | None,
    file: Path | None,
    prompts: int,
    author: str | None,
    comparing: str,
    out: Path,
    mapping: tuple[str, ...],
) -> None:
    """Whether a judge is swayed by position, length, its own style, magic tokens or orders in the text."""
    from srlm.evaluation.probes import probe_set
    from srlm.evaluation.tables import probe_table
    from srlm.standalone import probe_judge

    probes = probe_set(file, mapping, prompts)
    with open_judging(reference, overrides, out) as (loaded, run, model):
        figures = probe_judge(loaded, run, model, probes, author=author, comparing=comparing)
    (out / "bias.json").write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    click.echo(probe_table(figures))
    click.echo(f"\nAll figures: {out}/bias.json")


@contextmanager
def open_judging(
    reference: str | None, overrides: tuple[str, ...], out: Path
) -> "Iterator[tuple[Config, Run, Model | None]]":
    """The config of the model's own run or the default, an open folder, and the model; None for a server."""
    from srlm.recipes import override

    config = override(own_config(reference), overrides)
    if config.judge.judge:
        raise ConfigError(
            f"judge.judge={config.judge.judge}",
            "the judge here is the model of --model",
            "give that model as --model, or set judge.judge= to nothing",
        )
    check_named(config, [reference] if reference else [])
    model = found_model(config, reference) if reference else None
    with open_out(out, config) as opened:
        yield config, opened, model
