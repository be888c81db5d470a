"""Commands about many runs at a time: sweep over values and seeds."""

from pathlib import Path

import click


@click.command()
@click.argument("recipe", metavar="RECIPE[,RECIPE]...")
@click.argument("words", nargs=-1, metavar="[KEY=A,B,C]... [KEY=VALUE]...")
@click.option(
    "--seeds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Every setting on seeds 0, 1 ... up to so many.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Folder of the sweep; one that is there goes on.",
)
@click.option(
    "--at-once",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Runs at a time, where a cluster has room for them (docs/comparing.md).",
)
def sweep(recipe: str, words: tuple[str, ...], *, seeds: int, out: Path, at_once: int) -> None:
    """Run recipes with every combination of listed values on every seed, and compare them.

    A comma outside brackets parts values: dpo.beta=0.1,0.3 are two; data.ranked=[a.jsonl,b.jsonl] is one.
    Ctrl-C loses nothing: the same command goes on. Exit status: 0 all is done, 1 some failed, 2 an error.
    """
    import sys
    import time

    from srlm.report import compare_runs, comparison_text, write_pages
    from srlm.sweep.conducting import conduct
    from srlm.sweep.folder import sweep_of

    asked = sweep_of(out, recipe, words, seeds)
    began = time.monotonic()
    conduct(asked, lambda line: click.echo(f"{(time.monotonic() - began) / 60:5.1f} min  {line}"), at_once)
    failures = asked.failures
    if asked.done:
        comparison = compare_runs(asked.done, [f"Not here: {failure}." for failure in failures])
        markdown, html = write_pages(comparison, out)
        click.echo(f"\n{comparison_text(comparison)}\n\n  report   {html}  (and {markdown.name})")
    for failure in failures:
        click.echo(f"Failed: {failure}", err=True)
    sys.exit(1 if failures else 0)
