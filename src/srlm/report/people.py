"""What people's votes say, from the files in which a run keeps them (human/STUDY.sqlite), and its tables."""

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from srlm.people.figures import study_figures
from srlm.people.study import studies
from srlm.people.tables import figures_text
from srlm.people.votes import open_box
from srlm.report import paper
from srlm.report.cells import Column, Found, Table, beside, number, outcomes, outcomes_of, share
from srlm.report.reading import Reading

Studies = Mapping[str, Mapping[str, Any]]
"""By the name of a study its `kind`, `figures` (people/results.py) and `judges` (people/judges.py)."""


def people_results(reading: Reading) -> dict[str, Any]:
    """The studies of a run whose files can be shown."""
    results = {}
    for path in studies(reading.folder):
        if found := reading.piece(f"human/{path.name}", partial(_study, reading.folder, path)):
            results[path.stem] = found
    return results


def are_votes(reading: Reading, people: Studies) -> bool:
    """Whether there are votes of people, or files of them that cannot be read."""
    voted = any(saved["figures"].get("votes") for saved in people.values())
    return voted or len(people) < len(studies(reading.folder))


def by_name(people: Studies, kind: str) -> dict[str, Any]:
    """The figures of all `matches` or `models` with the judges beside them; a second one of a name has that
    of its study in it.

    `agreement` is that of a match, or of a study's grades of all models.
    """
    found: dict[str, Any] = {}
    for study, saved in people.items():
        shared = {"agreement": saved["figures"].get("agreement")}
        for name, figures in saved["figures"].get(kind, {}).items():
            judges = {"judges": (saved.get("judges") or {}).get(name, {})}
            found[name if name not in found else f"{name} ({study})"] = shared | figures | judges
    return found


def study_table(saved: Mapping[str, Any]) -> str:
    """All that a study found, as plain text."""
    return figures_text(saved["figures"], saved.get("judges"))


def _study(folder: Path, path: Path) -> dict[str, Any]:
    with closing(open_box(path)) as box:
        return study_figures(folder, box)


def humans(matches: Mapping[str, Found]) -> Table:
    """People's blind votes, and how far judges agree with them, beside the paper's votes."""
    columns = [
        Column("Win / tie / loss", outcomes, outcomes_of(paper.HUMANS)),
        Column("Win rate", share("win_rate")),
        Column("Prompts", number("prompts", "{:,}")),
        Column("Annotators", number("annotators", "{}")),
        Column("Krippendorff’s α", number("agreement.outcome.alpha")),
        Column("Own judge agrees", share("judges.own.agreement")),
        Column("Frozen judge agrees", share("judges.frozen.agreement")),
        Column("Longer wins", share("length.longer")),
    ]
    if not matches:
        note = "No comparisons by people yet in this run; the paper’s, in percent of 50 prompts."
        return beside("Votes of people", note, columns[:1], {}, "Match")
    note = (
        "The majority of annotators decides a prompt, and a tie is half a win; in brackets 95 % intervals "
        "over prompts. Judges and “longer wins”: of the prompts that people decided. An answer’s own judge "
        "is that of its model’s round; the frozen one, M1, judged both. The paper’s are of 50 prompts and 3 "
        "annotators."
    )
    return beside("Votes of people", note, columns, matches, "Match")


def ratings(models: Mapping[str, Found]) -> Table:
    """People's blind grades by the rubric; no row where they gave none, as in the paper."""
    columns = [
        Column("Mean grade", number("mean")),
        Column("Answers", number("answers", "{:,}")),
        Column("Annotators", number("annotators", "{}")),
        Column("Krippendorff’s α", number("agreement.alpha")),
        Column("Spearman with own judge", number("judges.own.spearman")),
        Column("Spearman with frozen judge", number("judges.frozen.spearman")),
        Column("Spearman with length", number("length")),
    ]
    note = (
        "Grades from 0 to 5, an answer’s the mean of its annotators’; in brackets 95 % intervals over "
        "prompts. α is of the grades of all models of a study."
    )
    return beside("Grades of people", note, columns, models)
