"""Commands about runs: start, watch, report, talk."""

import json
import re
import sys
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path
from typing import Any

import click

from srlm.cli.options import run_folder, runs_option, stopped

EXIT_STATUS = {"continue": 0, "stop": 3, "roll_back": 4}


@click.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1)
@click.option("--name", help="Name of the run; the recipe's own by default.")
@runs_option
@click.option("--redo", metavar="STEP", help="Remake a step, such as M2/pairs, and all after it.")
@click.option(
    "--store",
    default="",
    metavar="URL",
    help="Keep the run there, too, as in s3://BUCKET/FOLDER.",
)
@click.option("--json", "json_lines", is_flag=True, help="Progress as JSON lines.")
def run(
    recipe: str,
    overrides: tuple[str, ...],
    *,
    name: str | None,
    runs: Path,
    redo: str | None,
    store: str,
    json_lines: bool,
) -> None:
    """Train M1, M2, M3 ... or go on with a run that was stopped.

    Exit status: 0 all is done, 2 an error, 3 a gate stopped the run, 4 a gate went back to an earlier model.
    """
    from rich.console import Console

    from srlm.console import watcher
    from srlm.loop import run_loop
    from srlm.monitors.signals import watched
    from srlm.recipes import load
    from srlm.store.outcome import forget_outcome, save_outcome
    from srlm.store.run import open_run

    loaded = load(recipe, overrides)
    folder = runs / (name or Path(recipe).stem)
    address = f"{store.rstrip('/')}/{folder.name}" if store else ""
    with (
        stopped(folder),
        watcher(Console(), json_lines=json_lines) as progress,
        open_run(folder, loaded.config, loaded.origins, progress, redo=redo, store=address) as opened,
    ):
        forget_outcome(folder)
        outcome = run_loop(loaded.config, opened)
        ended = save_outcome(folder, verdict=outcome.verdict, action=outcome.action, best=outcome.best)
    page = _reported(folder)
    if json_lines:
        click.echo(json.dumps({"event": "outcome"} | ended | {"report": page and str(page)}))
        sys.exit(EXIT_STATUS[outcome.action])
    click.echo(f"\n{outcome.verdict}\n")
    for model, signals in watched(folder).items():
        for item in signals:
            if item.alarm:
                click.echo(f"  alarm    {model}: {item.alarm} ({item.name} {item.text} {item.unit})")
    click.echo(f"  models   {folder}/M*/model")
    if page:
        click.echo(f"  report   {page}  (and {page.with_suffix('.md').name})")
    kept = outcome.best if outcome.action == "roll_back" else outcome.model.name
    against = "" if kept == "M1" else f" --against {folder}/M1"
    click.echo(f"  talk     srlm chat {folder / kept}{against}")
    sys.exit(EXIT_STATUS[outcome.action])


def _reported(folder: Path) -> Path | None:
    """The page of a run that has ended; the run is safe, so nothing that is wrong with its page ends it."""
    from srlm.report import write_report

    try:
        return write_report(folder)[1]
    except Exception as error:  # the exit status is the run's
        said = (str(error).splitlines() or [""])[0]
        click.echo(f"The report was not written: {type(error).__name__}: {said}", err=True)
        click.echo(f"The run itself is whole. Try again: srlm report {folder}", err=True)
        return None


@click.command()
@click.argument("name", required=False)
@runs_option
@click.option("--watch", "live", is_flag=True, help="Live: steps, training curves, signals; Ctrl-C ends it.")
def status(name: str | None, runs: Path, live: bool) -> None:
    """Every run, or every step of one with counts, rate and time left."""
    from srlm.loop import step_names
    from srlm.store.states import run_states, saved_config

    if live:
        from rich.console import Console

        from srlm.watching import newest_run, watch

        return watch(run_folder(name, runs) if name else newest_run(runs), Console())

    if name is None:
        found = sorted(path.parent for path in runs.glob("*/run.json"))
        for folder in found:
            states = run_states(folder)
            last = next((state["step"] for state in states if not state["done"]), "all begun steps done")
            click.echo(f"{folder.name:<24}{sum(state['done'] for state in states):>3} steps done   {last}")
        if not found:
            click.echo(f"No runs in {runs}/ yet. Start one: srlm run smollm2")
        return None
    folder = run_folder(name, runs)
    states = run_states(folder)
    for state in states:
        click.echo(_status_line(state))
    begun = {state["step"] for state in states}
    config = saved_config(folder)
    has_baseline = any(step.startswith("SFT/") for step in begun)
    asked_for = config.evaluation.sft_baseline or not config.eft.teach
    ranks_alone = "SFT/judgments" in begun or (has_baseline and not asked_for)
    for step in step_names(config, ranks_alone=ranks_alone):
        if step not in begun:
            click.echo(f"      {step}")
    return None


@click.command()
@click.argument("url")
@runs_option
def fetch(url: str, runs: Path) -> None:
    """Bring a run that `srlm run --store` keeps elsewhere to this machine, to look at it.

    URL is the run's own, its name at the end. What is here and no less far is left as it is.
    """
    from srlm.store import mirror

    folder = runs / url.rstrip("/").rpartition("/")[2]
    mirror.fetch(url, folder)
    click.echo(f"{folder} holds the run; see it with `srlm status {folder}`.")


@click.command()
def recipes() -> None:
    """The built-in recipes and what each is for."""
    from srlm.recipes import recipe_names, recipe_text

    names = recipe_names()
    for name in names:
        lines = takewhile(lambda line: line.startswith("#"), recipe_text(name).splitlines())
        sentence = re.split(r"(?<=\.) ", " ".join(line.lstrip("# ") for line in lines))[0]
        click.echo(f"{name:<{max(map(len, names)) + 2}}{sentence}")


@click.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1)
def config(recipe: str, overrides: tuple[str, ...]) -> None:
    """The resolved values of a recipe, and where each came from."""
    from srlm.config import flatten
    from srlm.recipes import load

    loaded = load(recipe, overrides)
    for key, value in flatten(loaded.config.model_dump()).items():
        click.echo(f"{key:<36}{'' if value is None else value!s:<28}{loaded.origins[key]}")


@click.command()
@click.argument("names", nargs=-1, required=True)
@runs_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the comparison; that of the first run's report by default.",
)
def report(names: tuple[str, ...], runs: Path, out: Path | None) -> None:
    """Write the report of each run, finished or not, and of several a comparison: Markdown and HTML."""
    from srlm.report import write_comparison, write_report

    folders = [run_folder(name, runs) for name in names]
    for folder in folders:
        for path in write_report(folder):
            click.echo(str(path))
    if len(folders) > 1:
        for path in write_comparison(folders, out or folders[0] / "report"):
            click.echo(str(path))


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="RUN RUN...")
@runs_option
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the comparison as Markdown and HTML, with figures.",
)
def compare(names: tuple[str, ...], runs: Path, out: Path | None) -> None:
    """How far runs are from the first one: prompt by prompt, and seed by seed where settings have several."""
    from srlm.report import compare_runs, comparison_text, write_pages

    comparison = compare_runs([run_folder(name, runs) for name in names])
    click.echo(comparison_text(comparison))
    if out:
        markdown, html = write_pages(comparison, out)
        click.echo(f"\n  report   {html}  (and {markdown.name})")


@click.command()
@click.argument("model")
@click.argument("target", type=click.Path(path_type=Path, file_okay=False))
@click.option("--gguf", is_flag=True, help="Beside it model.gguf, by llama.cpp's converter on the PATH.")
def export(model: str, target: Path, gguf: bool) -> None:
    """Copy a model of a run, such as runs/NAME/M3, to TARGET with a model card, ready to publish."""
    from srlm.report.export import export, write_gguf

    folder = export(model, target)
    click.echo(f"{folder}: model, README.md (the card), srlm.json (config, versions, figures)")
    if gguf:
        click.echo(str(write_gguf(folder)))


@click.command()
@click.argument("model")
@click.option("--against", metavar="MODEL", help="A second model, side by side.")
@click.option("--temperature", default=0.7, show_default=True)
@click.option("--max-tokens", default=256, show_default=True)
def chat(model: str, against: str | None, temperature: float, max_tokens: int) -> None:
    """Talk with a model: runs/NAME/M2, a folder, a .gguf file, a hub id or a built-in name."""
    from rich.console import Console

    from srlm.chat import chat as talk
    from srlm.config import Sampling

    console = Console()
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
    if sys.stdin.isatty():
        console.print("[dim]/new forgets the conversation, Ctrl-D ends.[/dim]")
    talk([model, *([against] if against else [])], sampling, _reader(), console)


def _reader() -> Callable[[], str | None]:
    def read() -> str | None:
        if not sys.stdin.isatty():
            line = sys.stdin.readline()
            return line.rstrip("\n") if line else None
        try:
            return input("\n> ")
        except EOFError:
            return None

    return read


def _status_line(state: dict[str, Any]) -> str:
    from srlm.console import summary

    done, total = state["progress"]
    rate = done / state["seconds"] if state["seconds"] else 0.0
    count = f"{done}/{total}" if total else ""
    speed = f"{rate:.2f}/s" if rate else ""
    left = (
        f"{(total - done) / rate:.0f} s left" if rate and not state["done"] else f"{state['seconds']:.0f} s"
    )
    mark = "done" if state["done"] else "open"
    return f"{mark}  {state['step']:<26}{count:>12}{speed:>10}{left:>14}  {summary(state)}".rstrip()
