"""``srlm eval SUITE``: what a recipe's list of suites runs each round, on any models and files of answers."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from inspect import cleandoc
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from srlm.cli.judging import FILE, FOLDER
from srlm.cli.options import check_named, found_model, open_out, own_config
from srlm.errors import ConfigError

if TYPE_CHECKING:
    from srlm.config import Config, Suite
    from srlm.evaluation.panel import Who
    from srlm.models import Model

SHORT = {
    "head_to_head": "Every two models on the same prompts, both orders.",
    "alpaca_eval": "Win rate against a baseline, and at equal length.",
    "mt_bench": "Two turns of 80 questions, each graded 1 to 10.",
    "ifeval": "Instructions that a program verifies; no judge.",
    "gsm8k": "School mathematics, and pass@k; no judge.",
    "checked": "Prompts and a program of yours that checks answers.",
    "harness": "Multiple choice and more, by lm-evaluation-harness.",
    "diversity": "How varied answers are, and KL to earlier models.",
}
JUDGED = {"head_to_head", "alpaca_eval", "mt_bench"}


class SuiteCommand(click.Command):
    """Loads the suite's section only for its help, so that `srlm --help` stays quick."""

    def __init__(self, suite: str) -> None:
        self.suite = suite
        params: list[click.Parameter] = [
            click.Argument(["settings"], nargs=-1, metavar="[KEY=VALUE]..."),
            click.Option(
                ["--model", "models"],
                multiple=True,
                help="runs/NAME/M1, a folder, a .gguf file, a hub id, a name in `servers`; may be repeated.",
            ),
            click.Option(
                ["--answers"],
                type=FILE,
                multiple=True,
                help="JSONL of prompt and response, in place of a model; may be repeated.",
            ),
            click.Option(
                ["--judge"],
                help="A model, or a name in `servers`; the same for all.",
            ),
            click.Option(["--out"], type=FOLDER, required=True, help="Folder of all answers and figures."),
        ]
        if suite not in JUDGED:
            params = [one for one in params if one.name != "judge"]
        super().__init__(suite.replace("_", "-"), params=params, callback=self._run)

    def get_short_help_str(self, limit: int = 45) -> str:
        return SHORT[self.suite]

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(cleandoc(_section(self.suite).__doc__ or ""))

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        fields = _section(self.suite).model_fields
        rows = []
        for name, field in fields.items():
            if name != "suite":
                default = "required" if field.is_required() else f"[{_plain(field.default)}]"
                rows.append((f"{name}=", f"{field.description} {default}"))
        with formatter.section("Keys"):
            formatter.write_dl(rows)
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(
                "Other keys of the config have their dots: engine.dtype=float32, "
                "evaluation.judge.justify=false, servers.NAME.base_url=... A stopped command goes on."
            )

    def _run(
        self,
        *,
        settings: tuple[str, ...],
        models: tuple[str, ...],
        answers: tuple[Path, ...],
        out: Path,
        judge: str | None = None,
    ) -> None:
        run_suite(self.suite, settings, models=models, answers=answers, judge=judge, out=out)


def run_suite(
    suite: str,
    settings: tuple[str, ...],
    *,
    models: tuple[str, ...],
    answers: tuple[Path, ...],
    judge: str | None,
    out: Path,
) -> None:
    """Measure models, servers and answer files with one suite, print its table, and write SUITE.json."""
    from srlm.config import DiversitySuite
    from srlm.engines.opening import resolve_roles
    from srlm.evaluation.panel import Panel
    from srlm.evaluation.suites.tables import suite_table, win_square
    from srlm.seeds import load_seed
    from srlm.store.files import write_atomically

    _refuse_a_loops_run(out)
    config = suite_config(suite, settings, models, answers, judge)
    section, yardstick = config.evaluation.suites[0], config.evaluation.judge
    contestants = _contestants(config, models, answers)
    if suite == "head_to_head" and len(contestants) < 2:
        raise ConfigError(
            "srlm eval head-to-head",
            "it needs two contestants at least",
            "name more with --model or --answers; both may be repeated",
        )
    wanted = section.references if isinstance(section, DiversitySuite) else ()
    if missing := set(wanted) - contestants.keys():
        raise ConfigError(
            f"references={','.join(sorted(missing))}",
            f"no contestant has that name; they are {', '.join(contestants)}",
            "name some of these, or none with references=",
        )
    heldout = load_seed(config.data).heldout_prompts() if getattr(section, "prompts", "") == "builtin" else []
    others = resolve_roles(config, [yardstick.model] if section.judged else [])
    with open_out(out, config) as run:
        panel = Panel(config, run, others, None, heldout)
        results = {name: panel.measure(who, name)[section.title] for name, who in contestants.items()}
        made_with = json.loads((out / "run.json").read_text("utf-8"))
    whole = {
        "suite": suite,
        "settings": section.model_dump(mode="json"),
        "judge": _described_judge(config, others) if section.judged else None,
        "made_with": made_with,
        "contestants": {name: _described(who) for name, who in contestants.items()},
        "models": results,
    }
    if suite == "head_to_head":
        whole["win_matrix"] = win_square(results)
    path = out / f"{suite}.json"
    write_atomically(path, json.dumps(whole, indent=1, ensure_ascii=False) + "\n")
    click.echo(suite_table(suite, results))
    click.echo(f"\nAll figures: {path}; every answer beside it.")


def _contestants(config: "Config", models: tuple[str, ...], answers: tuple[Path, ...]) -> "dict[str, Who]":
    """Models, servers and files of answers by their short names."""
    from srlm.config import OpenAIEngineSection
    from srlm.evaluation.suites.asking import GivenAnswers

    servers = dict(config.servers)
    if isinstance(config.engine, OpenAIEngineSection) and not models:
        models, servers[config.engine.model] = (config.engine.model,), config.engine
    local = [one for one in models if one not in servers]
    if local or not (models or answers):
        check_named(config, local)
    names = short_names(models, answers)
    found: dict[str, Who] = {}
    for name, reference in zip(names, models, strict=False):
        found[name] = servers.get(reference) or found_model(config, reference, name)
    for name, path in zip(names[len(models) :], answers, strict=True):
        found[name] = GivenAnswers.read(path)
    return found


def _described(who: "Who") -> dict[str, str]:
    """Who was measured, so that it can be told later."""
    from srlm.config import OpenAIEngineSection
    from srlm.models import Model

    if isinstance(who, Model):
        return {"model": str(who.path), "digest": who.digest}
    if isinstance(who, OpenAIEngineSection):
        return {"server": who.base_url, "model": who.model}
    return {"answers": str(who.path), "sha256": hashlib.sha256(who.path.read_bytes()).hexdigest()}


def _described_judge(config: "Config", others: "Mapping[str, Model]") -> dict[str, Any]:
    """How the judge was asked, and who it is."""
    name = config.evaluation.judge.model or ""
    who = config.servers.get(name) or others[name]
    return {"asked": config.evaluation.judge.model_dump(mode="json"), **_described(who)}


def _refuse_a_loops_run(out: Path) -> None:
    """The folder of a run of the loop has a config of its own, which would be overwritten."""
    if any(out.glob("M*/*.step.json")) and any(out.glob("M*/model")):
        raise ConfigError(
            f"--out {out}",
            "it is the folder of a run of the loop",
            "name another folder, or add the suite to the recipe's evaluation.suites and run it again",
        )


def suite_config(
    suite: str,
    settings: tuple[str, ...],
    models: tuple[str, ...],
    answers: tuple[Path, ...],
    judge: str | None,
) -> "Config":
    """The config of the first model's own run or of the defaults, with this suite alone.

    A key without a dot is the suite's, but for the config's `seed`.
    """
    from srlm.recipes import override, parse_values

    own = [one for one in settings if "." not in one.partition("=")[0] and not one.startswith("seed=")]
    rest = [one for one in settings if one not in own]
    section = {"suite": suite, **parse_values(own)}
    if suite == "diversity":  # there need not be an M0 by that name here
        section.setdefault("references", short_names(models, answers)[: min(1, len(models))])
    given: dict[str, Any] = {"suites": [section]}
    if judge:
        given["judge"] = {"model": judge}
    base = own_config(models[0]) if models else None
    if base:
        asked = f", judge {base.evaluation.judge.model}" if base.evaluation.judge.model and not judge else ""
        click.echo(f"Settings of the run of {models[0]}: engine, seed{asked}.", err=True)
    try:
        return override(base, rest, {"evaluation": given})
    except ConfigError as error:
        said = error.given.replace("evaluation.suites.0.", "").replace(
            "set evaluation.judge.model", "add --judge"
        )
        raise ConfigError(
            said, error.why, f"mend it; see `srlm eval {suite.replace('_', '-')} --help`"
        ) from error


def short_names(references: Sequence[str], files: Sequence[Path] = ()) -> list[str]:
    """The last part of each reference and each file's stem, or all of it where two end alike, as folders."""
    whole = [*references, *map(str, files)]
    stems = (re.sub(r"(\.jsonl?)?(\.gz)?$", "", path.name) for path in files)
    last = [*(Path(one).name or one for one in references), *stems]
    twice = {name for name, num in Counter(last).items() if num > 1}
    full = [one if name in twice else name for one, name in zip(whole, last, strict=True)]
    names = [re.sub(r"[^\w.-]+", "_", name).strip("_.")[-100:] or "model" for name in full]
    if same := [name for name, num in Counter(names).items() if num > 1]:
        raise ConfigError(
            ", ".join(whole),
            f"two of them would be called {same[0]}, and figures are kept by name",
            "name each once, or copy a file to another name",
        )
    return names


def _section(suite: str) -> "type[Suite]":
    from srlm.config import section_types

    found = {
        kind.model_fields["suite"].default: kind
        for kind in section_types().values()
        if "suite" in kind.model_fields
    }
    return found[suite]  # type: ignore[return-value]


def _plain(value: Any) -> str:
    if value is None or value == "":
        return ""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


@click.command("alpaca-annotations")
@click.argument("files", type=FILE, nargs=-1, required=True)
@click.option("--prompts", type=FILE, help="File of all prompts: those without an annotation are counted.")
@click.option("--difficulty", type=FILE, help="CSV of instruction difficulty, by row.")
@click.option("--regularisation", type=FILE, help="CSV of regularisation rows.")
@click.option("--out", type=FILE, help="JSON file for all figures.")
def alpaca_annotations(
    files: tuple[Path, ...],
    *,
    prompts: Path | None,
    difficulty: Path | None,
    regularisation: Path | None,
    out: Path | None,
) -> None:
    """AlpacaEval's win rate and length-controlled win rate of annotation FILES that are there already."""
    from srlm.evaluation.alpaca import (
        alpaca_eval,
        alpaca_table,
        read_annotations,
        read_difficulty,
        read_regularisation,
    )
    from srlm.seeds.prompts import read_prompts

    wanted = [one.text for one in read_prompts(prompts)] if prompts else []
    hard = read_difficulty(difficulty) if difficulty else None
    rows = read_regularisation(regularisation) if regularisation else []
    names = short_names([], files)
    found = {
        name: alpaca_eval(read_annotations(path, wanted), hard, rows)
        for name, path in zip(names, files, strict=True)
    }
    click.echo(alpaca_table(found))
    _say_faults({name: figures["faults"] for name, figures in found.items()})
    _write(out, found)


@click.command("mt-bench-judgments")
@click.argument("file", type=FILE)
@click.option("--questions", type=FILE, required=True, help="MT-Bench's question.jsonl.")
@click.option("--references", type=FILE, help="Its reference_answer file: known wrong ones are flagged.")
@click.option("--out", type=FILE, help="JSON file for all figures.")
def mt_bench_judgments(file: Path, *, questions: Path, references: Path | None, out: Path | None) -> None:
    """MT-Bench's means of a FILE of single-answer judgments (FastChat's form) that is there already."""
    from srlm.evaluation.mt_bench import (
        WRONG_REFERENCES,
        mt_bench,
        mt_bench_table,
        read_grades,
        read_questions,
        wrong_references,
    )

    grades = read_grades(file)
    categories = {one.number: one.category for one in read_questions(questions)}
    wrong = wrong_references(references) if references else WRONG_REFERENCES
    found = {model: mt_bench(rows, categories, wrong) for model, rows in grades.by_model.items()}
    click.echo(mt_bench_table(found))
    _say_faults({str(file): [f"record {fault.number}: {fault}" for fault in grades.faults]})
    _write(out, found)


def _say_faults(by_name: dict[str, list[str]]) -> None:
    for name, faults in by_name.items():
        for fault in faults[:20]:
            click.echo(f"  {name}, {fault}: left out", err=True)
        if rest := faults[20:]:
            click.echo(f"  and {len(rest)} more left out of {name}", err=True)


def _write(out: Path | None, figures: dict[str, Any]) -> None:
    from srlm.store.files import write_atomically

    if out:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
        click.echo(f"\nAll figures: {out}")


def suite_commands() -> list[click.Command]:
    """What `srlm eval` has for suites."""
    return [*(SuiteCommand(name) for name in SHORT), alpaca_annotations, mt_bench_judgments]
