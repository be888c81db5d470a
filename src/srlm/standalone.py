"""The judge on its own, without the loop: score a file, read replies again, measure a judge, probe it.

Each works in a run folder of its own, so that it goes on where it was stopped and refuses to mix settings.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from srlm.config import Config
from srlm.engines.opening import open_engine
from srlm.errors import ConfigError, DataError, RunError
from srlm.evaluation.heldout import judge_figures
from srlm.evaluation.probes import bias, couples, graded_texts
from srlm.judging.eft import agreed, as_responses
from srlm.judging.reading import mean_score, read_verdict
from srlm.judging.rubric import BUILTIN, Rubric, comparing_rubric, grading_rubric, load_rubric
from srlm.judging.scoring import sampled_variance
from srlm.models import Model
from srlm.records import Comparison, Judgment
from srlm.seeds.answers import AnswerFile
from srlm.seeds.loading import RankedPrompt
from srlm.stages.comparisons import Couples, compare
from srlm.stages.judgments import judge
from srlm.store.jsonl import read_records
from srlm.store.run import Run


def judge_file(config: Config, run: Run, model: Model | None, answers: AnswerFile) -> Path:
    """``judged.jsonl``: every line of the file with a `judgment` added, its score None for lines left out.

    ``judgments.jsonl`` beside it grows block by block and is what a stopped run goes on from. Raises
    DataError when a line has a field `judgment` already.
    """
    _refuse_judged(answers)
    rubric = grading_rubric(config.judge.rubric)
    with open_engine(config.engine, model) as engine:
        judgments = run.records("judgments", Judgment, judge, config.judge, engine, rubric, answers)
    path = run.folder / "judged.jsonl"
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as out:
        out.writelines(_judged_lines(answers, judgments))
    temporary.replace(path)
    return path


def _refuse_judged(answers: AnswerFile) -> None:
    judged = (
        line.number for line in answers.lines() if isinstance(line.value, dict) and "judgment" in line.value
    )
    if number := next(judged, None):
        raise DataError(
            f"file {answers.path}, line {number}",
            "it has a field `judgment` already, which would be lost",
            "rename that field, or judge the file that it was made from",
        )


def _judged_lines(answers: AnswerFile, judgments: Iterable[Judgment]) -> Iterator[str]:
    found = iter(judgments)
    for line in answers.lines():
        said: dict[str, Any] = {"score": None}
        if line.response:
            said = next(found).model_dump(mode="json", exclude={"prompt_id", "response_id"})
        value = line.value if isinstance(line.value, dict) else {}
        said |= {"line": line.number, "fault": line.fault}
        yield json.dumps(value | {"judgment": said}) + "\n"  # in ASCII: half a surrogate pair has no UTF-8


@dataclass
class Reread:
    """How many judgments there were, how many scores changed, and the reasons before and after."""

    judgments: int = 0
    changed: int = 0
    before: Counter[str] = field(default_factory=Counter)
    after: Counter[str] = field(default_factory=Counter)


def reread(path: Path, rubric_name: str | None, out: Path) -> Reread:
    """Read the stored replies of a judgments file again, without a model, into another file.

    Expected scores do not come from the replies and stay as they are. Raises RunError for a line that is
    no judgment, and ConfigError when the rubric that judged is not here as it was and no other is named.
    """
    if not path.is_file() or out.is_dir():
        what, why = (path, "there is no such file") if not path.is_file() else (out, "it is a folder")
        raise RunError(
            f"file {what}",
            f"it cannot be read or written: {why}",
            "give a judgments.jsonl, and a file as --out",
        )
    found, named = Reread(), grading_rubric(rubric_name) if rubric_name else None
    known: dict[str, Rubric] = {}
    temporary = out.with_name(f".{out.name}.tmp")
    with temporary.open("w", encoding="utf-8") as lines:
        for item in read_records(path, Judgment):
            rubric = named or known.get(item.rubric) or known.setdefault(item.rubric, _as_judged(item))
            again = _reread(item, rubric)
            found.judgments += 1
            found.changed += again.score != item.score
            found.before.update(reason for reason in item.reasons if reason)
            found.after.update(reason for reason in again.reasons if reason)
            lines.write(again.model_dump_json() + "\n")
    if not found.judgments:
        temporary.unlink()
        raise RunError(f"file {path}", "it holds no judgments", "give a judgments.jsonl of a run")
    temporary.replace(out)
    return found


def _as_judged(item: Judgment) -> Rubric:
    """The rubric that a judgment was made with; raises ConfigError when it is not here, or not as it was."""
    name = item.rubric.partition("@")[0]
    rubric = load_rubric(name) if name in BUILTIN else None
    if rubric is None or rubric.version != item.rubric:
        raise ConfigError(
            f"judgments made with rubric {item.rubric}",
            f"it is not built in{'' if rubric is None else ' as it was then'}, and its file is not known",
            "name its file, or the rubric to read by, with --rubric",
        )
    return rubric


def _reread(item: Judgment, rubric: Rubric) -> Judgment:
    readings = [
        read_verdict(reply, finish, rubric, flagged=item.flagged)
        for reply, finish in zip(item.replies, item.finishes, strict=True)
    ]
    scores = [reading.score for reading in readings]
    update: dict[str, Any] = {"scores": tuple(scores), "rubric": rubric.version}
    if item.scoring == "sampled" and readings:
        reasons = tuple(reading.reason for reading in readings)
        update |= {"score": mean_score(scores), "variance": sampled_variance(scores), "reasons": reasons}
    return item.model_copy(update=update)


def score_seed(
    config: Config, run: Run, model: Model | None, ranked: list[RankedPrompt]
) -> tuple[list[RankedPrompt], Counter[str]]:
    """Ranked seed answers with the scores of an SFT baseline where they agree (section 2.1), and counts.

    Lines that have scores stay as they are; of the others those are left out of which no score is left.
    """
    scored = [line for line in ranked if line.is_scored]
    ranked = [line for line in ranked if not line.is_scored]
    rubric = grading_rubric(config.judge.rubric)
    with open_engine(config.engine, model) as engine:
        judgments = run.records(
            "judgments", Judgment, judge, config.eft, engine, rubric, as_responses(ranked)
        )
    found, counts = agreed(config.eft, rubric, ranked, judgments, config.seed)
    return scored + [line for line in found if line.is_scored], counts


def evaluate_judge(
    config: Config, run: Run, model: Model | None, data: Sequence[tuple[str, list[RankedPrompt]]]
) -> dict[str, Any]:
    """The figures of a judge on each named set of ranked answers (section 3.1.2)."""
    rubric = grading_rubric(config.judge.rubric)
    figures = {}
    with open_engine(config.engine, model) as engine:
        for name, ranked in data:
            judgments = run.records(
                f"{name}/judgments", Judgment, judge, config.judge, engine, rubric, as_responses(ranked)
            )
            figures[name] = run.result(f"{name}/figures", judge_figures, judgments, ranked, rubric)
    return figures


def probe_judge(
    config: Config,
    run: Run,
    model: Model | None,
    lines: list[RankedPrompt],
    *,
    author: str | None = None,
    comparing: str = "pairwise",
) -> dict[str, Any]:
    """The effect sizes of evaluation/probes.py for one judge; `comparing` is its rubric for two responses."""
    grading, pairwise = grading_rubric(config.judge.rubric), comparing_rubric(comparing)
    with open_engine(config.engine, model) as engine:
        judgments = run.records(
            "probes/judgments", Judgment, judge, config.judge, engine, grading, graded_texts(lines, grading)
        )
        comparisons = run.records(
            "probes/comparisons", Comparison, compare, config.judge, engine, pairwise, Couples(couples(lines))
        )
    return run.result("probes/figures", bias, lines, judgments, comparisons, grading, author)


def set_names(paths: Sequence[Path]) -> list[str]:
    """A short name for every data file; raises DataError when two would be called the same."""
    names = [path.name.split(".")[0] for path in paths]
    if twice := [name for name, number in Counter(names).items() if number > 1]:
        raise DataError(
            f"data files {', '.join(map(str, paths))}",
            f"two of them are called {twice[0]}, and results are kept by name",
            "rename one of them",
        )
    return names
