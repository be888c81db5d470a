"""The judge on its own, without the loop: score a file, read replies again, measure a judge, probe it.

Each works in a run folder of its own, so that it goes on where it was stopped and refuses to mix settings.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srlm.config import Config
from srlm.engines.opening import open_engine
from srlm.errors import DataError, RunError
from srlm.evaluation.heldout import judge_figures
from srlm.evaluation.probes import bias, couples, graded_texts
from srlm.judging.eft import agreed, as_responses
from srlm.judging.reading import mean_score, read_verdict
from srlm.judging.rubric import Rubric, grading_rubric, load_rubric
from srlm.judging.scoring import sampled_variance
from srlm.models import Model
from srlm.records import Comparison, Judgment
from srlm.seeds.answers import AnswerFile
from srlm.seeds.loading import RankedPrompt
from srlm.stages.comparisons import Couples, compare
from srlm.stages.judgments import judge
from srlm.store.files import write_atomically
from srlm.store.jsonl import read_records
from srlm.store.run import Run


def judge_file(config: Config, run: Run, model: Model, answers: AnswerFile) -> Path:
    """``judged.jsonl``: every line of the file with a `judgment` added, None for lines left out.

    ``judgments.jsonl`` beside it grows block by block and is what a stopped run goes on from.
    """
    rubric = grading_rubric(config.judge.rubric)
    with open_engine(config.engine, model) as engine:
        judgments = run.records("judgments", Judgment, judge, config.judge, engine, rubric, answers)
    path = run.folder / "judged.jsonl"
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("w", encoding="utf-8") as out:
        out.writelines(_judged_lines(answers, judgments))
    temporary.replace(path)
    return path


def _judged_lines(answers: AnswerFile, judgments: Iterable[Judgment]) -> Iterator[str]:
    found = iter(judgments)
    for line in answers.lines():
        judgment = next(found) if line.response else None
        said = judgment.model_dump(mode="json", exclude={"prompt_id", "response_id"}) if judgment else None
        value = line.value if isinstance(line.value, dict) else {}
        added = {"line": line.number, "judgment": said, "fault": line.fault}
        yield json.dumps(value | added) + "\n"  # in ASCII: half of a surrogate pair could not be written


@dataclass(frozen=True)
class Reread:
    """How many judgments there were, how many scores changed, and the reasons before and after."""

    judgments: int
    changed: int
    before: Counter[str]
    after: Counter[str]


def reread(path: Path, rubric_name: str | None, out: Path) -> Reread:
    """Read the stored replies of a judgments file again, without a model, into another file.

    Expected scores do not come from the replies and stay as they are. Raises RunError for a line that is
    no judgment, and ConfigError for a rubric that is not here.
    """
    if not path.is_file():
        raise RunError(
            f"file {path}", "it cannot be read: there is no such file", "give a judgments.jsonl of a run"
        )
    before, after, number, changed = Counter[str](), Counter[str](), 0, 0
    lines: list[str] = []
    for item in read_records(path, Judgment):
        rubric = load_rubric(rubric_name or item.rubric.partition("@")[0])
        again = _reread(item, rubric)
        number += 1
        changed += again.score != item.score
        before.update(reason for reason in item.reasons if reason)
        after.update(reason for reason in again.reasons if reason)
        lines.append(again.model_dump_json() + "\n")
    if not number:
        raise RunError(f"file {path}", "it holds no judgments", "give a judgments.jsonl of a run")
    write_atomically(out, "".join(lines))
    return Reread(number, changed, before, after)


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
    config: Config, run: Run, model: Model, ranked: list[RankedPrompt]
) -> tuple[list[RankedPrompt], Counter[str]]:
    """Ranked seed answers with the scores of an SFT baseline where they agree (section 2.1), and counts."""
    rubric = grading_rubric(config.judge.rubric)
    with open_engine(config.engine, model) as engine:
        judgments = run.records(
            "judgments", Judgment, judge, config.eft, engine, rubric, as_responses(ranked)
        )
    return agreed(config.eft, rubric, ranked, judgments, config.seed)


def evaluate_judge(
    config: Config, run: Run, model: Model, data: Sequence[tuple[str, list[RankedPrompt]]]
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
    config: Config, run: Run, model: Model, lines: list[RankedPrompt], author: str | None
) -> dict[str, Any]:
    """The effect sizes of evaluation/probes.py for one judge."""
    grading, comparing = grading_rubric(config.judge.rubric), load_rubric("pairwise")
    with open_engine(config.engine, model) as engine:
        judgments = run.records(
            "probes/judgments", Judgment, judge, config.judge, engine, grading, graded_texts(lines)
        )
        comparisons = run.records(
            "probes/comparisons",
            Comparison,
            compare,
            config.judge,
            engine,
            comparing,
            Couples(couples(lines)),
        )
    return run.result("probes/figures", bias, lines, judgments, comparisons, author)


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
