"""The command line: parse, call one function, print. One file a group of commands."""

from typing import Any

import click

from srlm.cli.judging import evaluation, judge
from srlm.cli.people import annotate, browse
from srlm.cli.planning import plan
from srlm.cli.proving import prove
from srlm.cli.runs import chat, compare, config, export, fetch, recipes, report, run, status
from srlm.cli.seeds import seed
from srlm.cli.suites import suite_commands
from srlm.cli.sweeping import sweep
from srlm.errors import FULL, SrlmError, full_disk


class Commands(click.Group):
    """Prints our errors as messages, and says what is safe after Ctrl-C."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except SrlmError as error:
            click.echo(f"Error: {error}", err=True)
            ctx.exit(2)
        except OSError as error:
            if error.errno not in FULL:
                raise
            click.echo(f"Error: {full_disk(ctx.invoked_subcommand or 'srlm', error)}", err=True)
            ctx.exit(2)
        except KeyboardInterrupt:
            ctx.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="srlm")
def main() -> None:
    """Self-rewarding language models: M0 to M3 by judging one's own answers.

    A RECIPE is a built-in name (see `srlm recipes`) or a YAML file. OVERRIDES are section.key=value.
    """


for command in suite_commands():
    evaluation.add_command(command)
for command in (
    *(run, sweep, prove, fetch, status, recipes, config, plan, report, compare, export, chat),
    *(annotate, browse, seed, judge, evaluation),
):
    main.add_command(command)
