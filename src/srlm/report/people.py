"""What people's votes say, from the files in which a run keeps them: human/STUDY.sqlite."""

from collections.abc import Mapping
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from srlm.people.figures import study_figures
from srlm.people.study import studies
from srlm.people.tables import figures_text
from srlm.people.votes import open_box
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
