"""Commands for people: judge a run's answers blind, and look at its records."""

from contextlib import closing
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srlm.cli.options import run_folder, runs_option

if TYPE_CHECKING:
    from srlm.people.votes import BallotBox
    from srlm.web.serving import Links

host_option = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
expose_option = click.option(
    "--expose", is_flag=True, help="Let other machines in, by --host; not encrypted."
)
port_option = click.option(
    "--port", type=click.IntRange(0, 65535), default=8423, show_default=True, help="0: any that is free."
)
renew_option = click.option("--renew-links", is_flag=True, help="New links; the old ones end.")


@click.command()
@click.argument("run")
@runs_option
@click.option(
    "--models", help="Whose answers, such as M1,M3; the first is what all others are compared with."
)
@click.option(
    "--prompts",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Prompts (JSONL) that the models answer now; those of the run's evaluation by default.",
)
@click.option(
    "--annotators", type=click.IntRange(1, 200), default=3, show_default=True, help="People with a link each."
)
@click.option("--rate", is_flag=True, help="Grade single answers from 0 to 5 by the rubric, do not compare.")
@click.option(
    "--limit", type=click.IntRange(min=1), help="Prompts of each match; 50 by default, as in the paper."
)
@click.option("--checks", type=click.IntRange(0, 100), help="Attention checks of each kind; none by default.")
@click.option("--study", help="Name of the votes' file in human/; `votes` by default, with --rate `ratings`.")
@host_option
@port_option
@expose_option
@renew_option
@click.option("--export", "exporting", is_flag=True, help="Serve nothing: write the votes and what they say.")
def annotate(
    run: str,
    *,
    runs: Path,
    annotators: int,
    rate: bool,
    study: str | None,
    host: str,
    port: int,
    expose: bool,
    renew_links: bool,
    exporting: bool,
    **wanted: Any,
) -> None:
    """Let people judge a run's answers blind: a link for each annotator, and one for you to look at the run.

    Votes lie in RUN/human/STUDY.sqlite. The same command goes on with a study; the report shows what it says.
    """
    from srlm.people.study import study_path

    folder, name = run_folder(run, runs), study or ("ratings" if rate else "votes")
    if exporting:
        _export(folder, study_path(folder, name))
        return
    models, prompts = wanted.pop("models"), wanted.pop("prompts")
    wanted["models"] = models and tuple(part.strip() for part in models.split(","))
    wanted["prompts"] = prompts and str(prompts.resolve())
    wanted["kind"] = "rating" if rate else "comparison"
    opened = partial(_open, folder, name, wanted)
    _serve(folder, (host, port, expose), study=opened, annotators=annotators, renew=renew_links)


@click.command()
@click.argument("run")
@runs_option
@host_option
@port_option
@expose_option
@renew_option
def browse(run: str, *, runs: Path, host: str, port: int, expose: bool, renew_links: bool) -> None:
    """Look at a run's records in a browser: search, filter, read judgments, compare two rounds."""
    _serve(run_folder(run, runs), (host, port, expose), renew=renew_links)


def _open(folder: Path, name: str, wanted: dict[str, Any]) -> "BallotBox":
    """The study, with progress on the terminal where models answer prompts first."""
    from rich.console import Console

    from srlm.console import watcher
    from srlm.people.study import open_study

    with watcher(Console(stderr=True), json_lines=False) as progress:
        return open_study(folder, name, wanted, progress)


def _serve(folder: Path, where: tuple[str, int, bool], **more: Any) -> None:
    """Print the links and serve until Ctrl-C."""
    from srlm.web.serving import Where, serve_run

    address = Where(*where)
    if address.exposed:
        said = f"Other machines can reach {address.host}: whoever has a link can use it"
        click.echo(f"{said}, and nothing is encrypted.", err=True)
    serve_run(folder, address, _told, **more)
    if more.get("study"):
        click.echo("\nEvery vote is kept, and the same command goes on. The report shows what they say:")
        click.echo(f"  srlm report {folder}")


def _told(links: "Links") -> None:
    """Print the links."""
    if links.box:
        models, num = ", ".join(links.box.study.models), len(links.box.items)
        click.echo(f"{num} ballots of {models}. A link for each annotator:")
    for number, link in enumerate(links.people, 1):
        click.echo(f"  annotator {number:<4}{link}")
    click.echo(f"For you alone, it shows the models' names:\n  the run       {links.owner}\nCtrl-C ends it.")


def _export(folder: Path, path: Path) -> None:
    """Write the votes and what they say, and print it."""
    from srlm.people.export import export_study
    from srlm.people.tables import figures_text
    from srlm.people.votes import open_box

    with closing(open_box(path)) as box:
        paths, found, left_out = export_study(folder, box)
    click.echo(figures_text(found["figures"], found["judges"]) + "\n")
    for written in paths:
        click.echo(str(written))
    if left_out:
        click.echo("No seed data: " + ", ".join(f"{number} {why}" for why, number in left_out.items()))
