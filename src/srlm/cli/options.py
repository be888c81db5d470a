"""What several commands share: options, a run's folder, what is said after Ctrl-C."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from srlm.errors import ConfigError

if TYPE_CHECKING:
    from srlm.config import Config
    from srlm.models import Model
    from srlm.store.run import Run

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
    from srlm.store.states import run_states

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


def own_config(reference: str | None) -> "Config | None":
    """The config of the run that a model came out of, if it came out of one."""
    from srlm.models import model_folder
    from srlm.store.states import saved_config

    folder = model_folder(reference or "")
    run = folder.parent.parent
    return saved_config(run) if folder.name == "model" and (run / "run.json").is_file() else None


def found_model(config: "Config", reference: str, name: str | None = None) -> "Model":
    """The model that a reference names; raises ModelError."""
    from srlm.config import ModelSection
    from srlm.models import resolve

    trust = config.model.trust_remote_code
    return resolve(ModelSection(name=reference, trust_remote_code=trust), name=name or reference)


def check_named(config: "Config", references: Sequence[str]) -> None:
    """Raises ConfigError for a model beside a server, which would be ignored, and where neither is named."""
    from srlm.config import is_server

    if not is_server(config.engine) and not references:
        raise ConfigError(
            "this command without --model",
            "no model is named, and engine.kind is not openai, so there is nobody to ask",
            "add --model, or set engine.kind=openai and engine.model",
        )
    if is_server(config.engine) and references:
        raise ConfigError(
            f"--model {references[0]} with engine.kind=openai",
            "a server has a model of its own, and the other would never be asked",
            "leave one of the two out",
        )


@contextmanager
def open_out(out: Path, config: "Config") -> "Iterator[Run]":
    """A run in the folder of --out, with its progress on the terminal."""
    from rich.console import Console

    from srlm.console import watcher
    from srlm.errors import RunChanged
    from srlm.store.run import open_run

    with stopped(out), watcher(Console(stderr=True), json_lines=False) as progress:
        try:
            with open_run(out, config, None, progress) as opened:
                yield opened
        except RunChanged as error:  # these commands have no --redo
            raise RunChanged(
                error.given, error.why, f"set them back, or choose another --out than {out}"
            ) from error
