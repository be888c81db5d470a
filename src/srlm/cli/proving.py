"""Commands about methods: prove arms in the small world."""

from pathlib import Path

import click


@click.command()
@click.argument("words", nargs=-1, metavar="[ARM]... [KEY=VALUE]...")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=4,
    show_default=True,
    help="Independent seeds, each with an M0 of its own.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("runs/proving"),
    show_default=True,
    help="Folder of the study; one that is there goes on.",
)
def prove(words: tuple[str, ...], *, seeds: int, out: Path) -> None:
    """Run variants of the method in a small world whose truth a program knows.

    Keys are those of a recipe, or of the world itself (world.slips=0.2). Ctrl-C loses nothing: the same
    command goes on.
    """
    import time

    from srlm.proving.arms import find
    from srlm.proving.conducting import conduct
    from srlm.proving.page import page_of, write_page
    from srlm.proving.study import study_of

    arms = find(tuple(word for word in words if "=" not in word))
    study = study_of(out, tuple(arms), seeds, tuple(word for word in words if "=" in word))
    began = time.monotonic()
    conduct(study, lambda line: click.echo(f"{(time.monotonic() - began) / 60:5.1f} min  {line}"))
    page = page_of(study)
    pages = write_page(page, out)
    click.echo()
    for line in [*page.verdicts, *page.missing]:
        click.echo(line)
    click.echo(f"\n  report   {pages[1]}  (and {pages[0].name})")
