"""What a table of a report is made of: cells with intervals, columns, rows of a run beside the paper's."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from srlm.evaluation.differences import SURE, Difference

NOT_MEASURED, NO_DATA, SAME = "not measured", "no data", "–"
"""Nobody asked; what was asked cannot say (no answer got the top grade); a model beside itself."""

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Cell:
    """A figure in words, its 95 % interval, the paper's figure of the same, and whether it is alarming."""

    text: str = ""
    interval: str = ""
    paper: str = ""
    alarm: bool = False


@dataclass(frozen=True)
class Table:
    """What it shows, what to know before reading it, the heads of all columns, the rows by their names."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


@dataclass(frozen=True)
class Column:
    """A head, a row's cell from its figures, and the paper's figures by the names of rows."""

    title: str
    cell: Callable[[Found], Cell]
    paper: Mapping[str, str] = field(default_factory=dict)


def share(path: str) -> Callable[[Found], Cell]:
    """Cells of a share of 0 to 1, in percent: an estimate, or a number without an interval."""
    return lambda found: estimate(at(found, *path.split(".")), percent, whole)


def number(path: str, form: str = "{:.2f}") -> Callable[[Found], Cell]:
    """Cells of a figure as it is: an estimate, or a number without an interval."""
    return lambda found: estimate(at(found, *path.split(".")), form.format)


def beside(
    title: str, note: str, columns: Sequence[Column], results: Mapping[str, Found], head: str = "Model"
) -> Table:
    """A row for each of the run's results with the paper's figures in it; then what only the paper has."""
    ours = [
        (name, tuple(replace(one.cell(found), paper=one.paper.get(name, "")) for one in columns))
        for name, found in results.items()
    ]
    others = dict.fromkeys(name for one in columns for name in one.paper if name not in results)
    theirs = [(papers(name), tuple(Cell(one.paper.get(name, "")) for one in columns)) for name in others]
    return Table(title, note, (head, *(one.title for one in columns)), (*ours, *theirs))


def differences_table(
    title: str, head: str, found: Mapping[str, Difference], units: Mapping[str, float] | None = None
) -> Table:
    """Differences over seeds by the names of their rows; a figure's numbers are shown times its unit."""
    note = (
        "Mean over seeds of the difference within a seed, with its 95 % t interval; p of a paired t test, "
        f"corrected by Holm over the rows of this table; sure is what is below {SURE}."
    )
    rows = []
    for name, one in found.items():
        times = (units or {}).get(one.figure, 1.0)
        low, high = one.low, one.high
        cells = (
            Cell(
                signed(times * one.mean),
                "" if low is None or high is None else f"[{signed(times * low)}, {signed(times * high)}]",
            ),
            Cell("–" if one.p is None else f"{one.p:.2g}{' (sure)' if one.is_sure else ''}"),
            Cell(str(len(one.by_seed))),
            Cell(" ".join(signed(times * value, 2) for value in one.by_seed)),
        )
        rows.append((name, cells))
    return Table(title, note, (head, "difference", "p", "seeds", "seed by seed"), tuple(rows))


def signed(value: float, digits: int = 3) -> str:
    """A difference with its sign, and fewer decimals where it is large."""
    digits = digits if abs(value) < 10 else min(digits, 1)
    return f"{value:+.{digits}f}"


def papers(name: str) -> str:
    """The name of a row of the paper's."""
    return f"paper’s {name}"


def unless_measured(results: Mapping[str, Found], suite: str, note: str) -> str:
    """A table's note; where the suite was not run, it says so first."""
    return note if results else f"Not measured in this run (suite {suite}); the paper’s figures. {note}"


def at(found: Found, *path: str) -> Any:
    """What lies at a path of keys; None where an older or unfinished run lacks one."""
    value: Any = found
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def estimate(found: Any, form: Callable[[float], str], bound: Callable[[float], str] | None = None) -> Cell:
    """An estimate {value, low, high}, or a number, as a cell."""
    if found is None:
        return Cell(NOT_MEASURED)
    if not isinstance(found, Mapping):
        return Cell(form(found))
    if found.get("value") is None:
        return Cell(NO_DATA)
    low, high = (found.get(side) for side in ("low", "high"))
    if low is None or high is None:
        return Cell(form(found["value"]))
    inside = bound or form
    return Cell(form(found["value"]), f"[{inside(low)}, {inside(high)}]")


def outcomes(match: Found) -> Cell:
    """Wins, ties and losses of a match in percent."""
    counts = [match[what] for what in ("wins", "ties", "losses")]
    if not sum(counts):
        return Cell(NO_DATA)
    return Cell(" / ".join(f"{100 * count / sum(counts):.0f}" for count in counts))


def outcomes_of(matches: Mapping[tuple[str, str], Iterable[float]]) -> dict[str, str]:
    """The same of the paper's matches, by the names of rows."""
    return {" against ".join(names): " / ".join(map(str, counts)) for names, counts in matches.items()}


def percents(values: Mapping[str, float]) -> dict[str, str]:
    """The paper's percentages in words."""
    return texts(values, "{:.1f} %")


def texts(values: Mapping[str, float], form: str) -> dict[str, str]:
    """The paper's figures in words."""
    return {name: form.format(value) for name, value in values.items()}


def percent(share: float) -> str:
    """A share with a decimal and its sign, for a figure."""
    return f"{100 * share:.1f} %"


def whole(share: float) -> str:
    """A share in whole percent, for a bound."""
    return f"{100 * share:.0f}"


def two(value: float) -> str:
    """Two decimals."""
    return f"{value:.2f}"
