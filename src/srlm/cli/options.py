"""What several commands share: options, a run's folder, what is said after Ctrl-C."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

runs_option = click.option(
    "--runs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("runs"),
    show_default=True,
    help="Folder of all runs.",
)
map_option = click.option(
    "--map",
    "mapping",
    multiple=True,
    metavar="KEY=FIELD",
    help="Which field of a line is what; may be repeated (docs/judging.md).",
)


def run_folder(name: str, runs: Path) -> Path:
    """The folder of a run, by its name or its path."""
    return Path(name) if (Path(name) / "run.json").is_file() else runs / name


@contextmanager
def stopped(folder: Path) -> Iterator[None]:
    """After Ctrl-C say what lies on the disk and how to go on."""
    from srlm.store.run import run_states

    try:
        yield
    except KeyboardInterrupt:
        states = run_states(folder) if (folder / "run.json").exists() else []
        safe = [f"{sum(state['done'] for state in states)} whole steps"]
        for state in states:
            if not state["done"]:
                done, total = state["progress"]
                count = f" ({done} of {total})" if total else ""
                safe.append(f"{state['step']} up to its last block or checkpoint{count}")
        click.echo(f"\nStopped in {folder}. On the disk and safe: {', and '.join(safe)}.", err=True)
        click.echo("The same command goes on from there.", err=True)
        raise
