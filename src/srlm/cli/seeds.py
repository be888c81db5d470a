"""Commands about seed data: build it from Open Assistant or other rankings, score it, check a file."""

from pathlib import Path
from typing import Any

import click

from srlm.cli.options import map_option

FILE = click.Path(path_type=Path, dir_okay=False)
OUT = click.option(
    "--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="Folder of the files."
)


@click.group()
def seed() -> None:
    """Make and check seed data."""


@seed.group()
def build() -> None:
    """Make seed files, for data.instructions and data.ranked, from human rankings."""


@build.command()
@click.argument("sources", nargs=-1, required=True)
@click.option(
    "--scores",
    type=click.Choice(["none", "rank"]),
    default="none",
    show_default=True,
    help="none: the SFT baseline of the run writes scores (paper); rank: from the human rank.",
)
@click.option("--justify/--no-justify", default=True, help="With --scores rank: reasons before the score.")
@click.option(
    "--balance-length/--no-balance-length",
    default=False,
    help="Train on prompts among which the longer answer wins as often as not.",
)
@click.option("--lang", default="en", show_default=True, help="Language of prompts and answers.")
@click.option(
    "--turns", "eft_turns", default=1, show_default=True, help="User turns a ranked prompt may have."
)
@click.option("--max-prompt-chars", default=2000, show_default=True, help="Longest prompt taken.")
@click.option("--max-answer-chars", default=8000, show_default=True, help="Longest answer taken.")
@click.option(
    "--eft-share",
    default=0.5,
    show_default=True,
    help="Share of the prompts good for both that teach judging (paper: about 0.2).",
)
@click.option("--heldout", default=0.25, show_default=True, help="Share of the ranked prompts held out.")
@click.option(
    "--ift-heldout", default=0.1, show_default=True, help="Share of the instructions held out (paper: 0)."
)
@click.option(
    "--avoid",
    type=FILE,
    multiple=True,
    help="Evaluation prompts to keep out: JSONL or JSON; may be repeated.",
)
@OUT
def oasst(sources: tuple[str, ...], avoid: tuple[Path, ...], out: Path, **options: Any) -> None:
    """IFT and EFT from Open Assistant, as in the paper (section 3.1.1), with a funnel of every filter.

    SOURCES are oasst1 or oasst2 from the hub, or files: *.trees.jsonl[.gz], *.messages.jsonl[.gz].
    """
    from srlm.seeds.building import BuildOptions, build_seed, funnel_table, seed_files
    from srlm.seeds.oasst import fault_lines, read_trees
    from srlm.seeds.preferences import prompts_of

    forest = read_trees(*sources)
    built = build_seed(
        forest.trees, BuildOptions(**options), [text for path in avoid for text in prompts_of(path)]
    )
    _write(out, seed_files(built, forest.faults, forest.shared))
    click.echo(funnel_table(built))
    for line in fault_lines(forest.faults):
        click.echo(f"left out: {line}", err=True)
    if forest.shared:
        click.echo(f"{len(forest.shared)} trees stand in two sources and are taken once.")
    _say_how_to_use(out, ("instructions", "ranked"))


@build.command()
@click.argument("files", nargs=-1, type=FILE, required=True)
@map_option
@OUT
def preferences(files: tuple[Path, ...], mapping: tuple[str, ...], out: Path) -> None:
    """Ranked answers from UltraFeedback, HH, PandaLM, auto-j, LLMBar, JudgeBench, Prometheus or mapped files.

    Answers get ranks, not scores: the SFT baseline of the run scores them, as in the paper.
    """
    from srlm.seeds.preferences import ranked_lines

    text, said = ranked_lines(files, mapping)
    _write(out, {"ranked.jsonl": text})
    for line in said:
        click.echo(line)
    _say_how_to_use(out, ("ranked",))


@seed.command()
@click.argument("file", type=FILE)
@click.argument("overrides", nargs=-1)
@click.option("--model", "reference", required=True, help="The SFT baseline: runs/NAME/SFT, a folder ...")
@OUT
def score(file: Path, overrides: tuple[str, ...], reference: str, out: Path) -> None:
    """Score ranked answers with a model and keep what agrees with people (section 2.1).

    FILE has ranks alone, as `srlm seed build` makes it. A run does the same by itself with its own SFT
    baseline. Held-out prompts stay as they are. OVERRIDES are eft.samples=5, eft.ties=keep ...
    """
    from srlm.cli.judging import open_judging
    from srlm.config import SeedSection
    from srlm.judging.eft import agreement_table
    from srlm.seeds.loading import load_ranked
    from srlm.standalone import score_seed

    ranked, heldout = load_ranked(SeedSection(ranked=(str(file),)))
    with open_judging(reference, overrides, out) as (config, run, model):
        scored, counts = score_seed(config, run, model, ranked)
    text = "".join(line.model_dump_json(exclude_defaults=True) + "\n" for line in [*scored, *heldout])
    _write(out, {"ranked.jsonl": text})
    click.echo(agreement_table(counts))
    if any(line.is_scored for line in scored):
        _say_how_to_use(out, ("ranked",))
    else:
        click.echo("\nNothing agreed, so there is nothing to teach: srlm seed build oasst --scores rank")


@seed.command()
@click.argument("file", type=FILE)
@map_option
def check(file: Path, mapping: tuple[str, ...]) -> None:
    """What of FILE would be used as seed or evaluation data, and why not the rest."""
    from srlm.seeds.checking import check_file, checked_text
    from srlm.seeds.mapping import parse_mapping

    click.echo(checked_text(check_file(file, parse_mapping(mapping) if mapping else None)))


def _write(out: Path, texts: dict[str, str]) -> None:
    from srlm.store.files import write_atomically

    for name, text in texts.items():
        write_atomically(out / name, text)


def _say_how_to_use(out: Path, parts: tuple[str, ...]) -> None:
    given = " ".join(f"data.{part}=builtin,{out}/{part}.jsonl" for part in parts)
    click.echo(f"\nUse it: srlm run smollm2 {given} --name mine")
