"""AlpacaEval's figures from annotations: the win rate, and the win rate at equal length.

An annotation says how strongly a judge prefers the model's answer (output_2) to the baseline's (output_1),
from 1, wholly the baseline's, to 2, wholly the model's. Figures are percent, as AlpacaEval prints them.

The length-controlled win rate (arXiv 2404.04475) asks what the judge would have said had both answers been
of one length: a logistic regression of (preference - 1) on the tanh of the standardised difference of
lengths, on how hard the prompt is, and on a constant; then its mean prediction with the length term at 0.
Without `regularisation`, rows of other models that pull the length term towards what length usually buys, a
model whose answers all differ from the baseline's in the same direction has too little to learn it from.
"""

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize
from scipy.special import expit

from srlm.errors import DataError
from srlm.evaluation.intervals import bootstrap
from srlm.seeds.source import Bad, Fault, Source, shown

Floats = npt.NDArray[np.float64]
Difficulty = Sequence[float] | Mapping[str, float]
"""How hard the baseline finds a prompt: by row position, as the published fits, or by the prompt's text."""

REGULARISATION_WEIGHT = 0.1
_RIDGE = 1e-6  # of a sum over all rows: no digit of a figure; but an optimum exists when every row is a win
_SHOWN = 20


@dataclass(frozen=True)
class Annotation:
    """A judge's preference, 1..2, for a prompt; `position` is the row in its file, lengths are characters."""

    position: int
    instruction: str
    preference: float
    baseline_length: int
    model_length: int


@dataclass(frozen=True)
class Annotations:
    """What of a file can be used, and by number what cannot; `missing`, prompts that no usable row has."""

    usable: tuple[Annotation, ...]
    faults: tuple[Fault, ...] = ()
    num: int = 0
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class RegularisationRow:
    """A row of other models that enters every fit; `length` is standardised, before the tanh."""

    preference: float
    length: float
    difficulty: float
    constant: float = 0.0


def read_annotations(path: Path, prompts: Sequence[str] = ()) -> Annotations:
    """The annotations of a .json or .jsonl file, gzipped or not; every record is usable or a named fault.

    With `prompts`, those that should be there, the absent are `missing` and any other prompt is a fault.
    A prompt that stands a second time is a fault. Raises DataError when the file cannot be read.
    """
    wanted = set(prompts)
    usable: dict[str, Annotation] = {}
    faults = []
    num = 0
    for number, value in Source.open(path):
        try:
            found = annotation_of(value, num)
            if wanted and found.instruction not in wanted:
                raise Bad("its instruction is not one of the prompts", found.instruction[:80])
            if found.instruction in usable:
                raise Bad("its instruction stands in an earlier record", found.instruction[:80])
            usable[found.instruction] = found
        except Bad as bad:
            faults.append(Fault(number, bad.reason, bad.detail))
        num += 1
    missing = tuple(prompt for prompt in dict.fromkeys(prompts) if prompt not in usable)
    return Annotations(tuple(usable.values()), tuple(faults), num, missing)


def annotation_of(value: object, position: int) -> Annotation:
    """A record of AlpacaEval's annotations as an Annotation; raises Bad with the reason."""
    if isinstance(value, Bad):
        raise value
    if not isinstance(value, dict):
        raise Bad("the record is not an object")
    for name in ("instruction", "output_1", "output_2"):
        if not isinstance(value.get(name), str):
            raise Bad(f"{name} is missing" if value.get(name) is None else f"{name} is not a text")
    preference = value.get("preference")
    if preference is None:
        raise Bad("preference is missing")
    if isinstance(preference, bool) or not isinstance(preference, int | float) or not 1 <= preference <= 2:
        raise Bad("preference is not a number from 1 to 2", shown(repr(preference)))
    outputs = (len(value["output_1"]), len(value["output_2"]))
    return Annotation(position, value["instruction"], float(preference), *outputs)


def alpaca_eval(
    annotations: Annotations,
    difficulty: Difficulty | None = None,
    regularisation: Sequence[RegularisationRow] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Every figure of one model, in percent, ready for JSON.

    `records`, `usable`, `missing`, `faults` (as text), `empty` answers of the model; `win_rate` with
    `standard_error` and a bootstrap `interval` over prompts; `discrete`: counts, and the rate with a draw as
    a half; `length`, mean characters; `length_controlled`, as `length_controlled` gives it, or None when no
    record is usable. Raises DataError when `difficulty` has no value for a record.
    """
    rows = annotations.usable
    shares = [row.preference - 1 for row in rows]
    return {
        "records": annotations.num,
        "usable": len(rows),
        "missing": len(annotations.missing),
        "faults": [f"record {fault.number}: {fault}" for fault in annotations.faults],
        "empty": sum(row.model_length == 0 for row in rows),
        "win_rate": 100 * float(np.mean(shares)) if rows else None,
        "standard_error": 100 * _standard_error(np.array(shares)) if len(rows) > 1 else None,
        "interval": asdict(bootstrap(shares, lambda share: (100 * share, 1), seed=seed)),
        "discrete": discrete(rows),
        "length": {
            "model": float(np.mean([row.model_length for row in rows])) if rows else None,
            "baseline": float(np.mean([row.baseline_length for row in rows])) if rows else None,
        },
        "length_controlled": length_controlled(rows, difficulty, regularisation) if rows else None,
    }


def discrete(rows: Sequence[Annotation]) -> dict[str, Any]:
    """`wins`, `losses`, `draws` (preference above, below, at 1.5), and `win_rate` with a draw as a half."""
    wins = sum(row.preference > 1.5 for row in rows)
    draws = sum(row.preference == 1.5 for row in rows)
    rate = 100 * (wins + draws / 2) / len(rows) if rows else None
    return {"wins": wins, "losses": len(rows) - wins - draws, "draws": draws, "win_rate": rate}


def length_controlled(
    rows: Sequence[Annotation],
    difficulty: Difficulty | None = None,
    regularisation: Sequence[RegularisationRow] = (),
) -> dict[str, Any]:
    """The length-controlled win rate, in percent, and the fit behind it.

    `win_rate`; `standard_error` by the delta method, which counts the fit's own uncertainty, and
    `spread_error`, the standard error of the predictions alone, which the leaderboard prints; `weights` by
    term: a term that is not in the data is not there (`length` where all differences of length are equal,
    `difficulty` where none is given); `difficulty_by`: "position", "prompt" or None; `regularisation_rows`;
    `converged`. Needs a row at least; raises DataError when `difficulty` has no value for one.
    """
    hardness = None if difficulty is None else _looked_up(rows, difficulty)
    terms = _terms(rows, hardness)
    names = list(terms)
    values = np.column_stack([terms[name] for name in names])
    preferences = np.array([row.preference - 1 for row in rows])
    pulled = {
        "length": [math.tanh(row.length) for row in regularisation],
        "difficulty": [row.difficulty for row in regularisation],
        "constant": [row.constant for row in regularisation],
    }
    fit = fit_logistic(
        np.vstack([values, np.column_stack([pulled[name] for name in names])]),
        np.concatenate([preferences, [row.preference for row in regularisation]]),
        np.repeat([1, REGULARISATION_WEIGHT], [len(rows), len(regularisation)]),
    )
    level = np.where([name == "length" for name in names], 0.0, values)
    at_level = expit(level @ fit.weights)
    return {
        "win_rate": 100 * float(at_level.mean()),
        "standard_error": 100 * _delta_error(fit, values, level, preferences) if len(rows) > 1 else None,
        "spread_error": 100 * _standard_error(at_level) if len(rows) > 1 else None,
        "weights": dict(zip(names, fit.weights.tolist(), strict=True)),
        "difficulty_by": _kind(difficulty),
        "regularisation_rows": len(regularisation),
        "converged": fit.converged,
    }


@dataclass(frozen=True)
class Logistic:
    """A fitted logistic regression: weights, the curvature (k, k) of its loss there, whether it converged."""

    weights: Floats
    curvature: Floats
    converged: bool


def fit_logistic(values: Floats, shares: Floats, row_weights: Floats) -> Logistic:
    """Maximum likelihood of `shares`, 0..1 (n,), given `values` (n, k), by Newton steps in a trust region.

    Shares need not be 0 or 1: a row of 0.3 counts as 0.3 of a win and 0.7 of a loss.
    """
    num_terms = values.shape[1]

    def loss(weights: Floats) -> float:
        logits = values @ weights
        each = np.logaddexp(0, logits) - shares * logits
        return float(row_weights @ each + _RIDGE / 2 * weights @ weights)

    def gradient(weights: Floats) -> Floats:
        away = row_weights * (expit(values @ weights) - shares)
        return np.asarray(values.T @ away + _RIDGE * weights)

    def curvature(weights: Floats) -> Floats:
        rate = expit(values @ weights)
        bend = (row_weights * rate * (1 - rate))[:, None] * values
        return np.asarray(values.T @ bend + _RIDGE * np.eye(num_terms))

    start = np.zeros(num_terms)
    options = {"gtol": 1e-7, "max_trust_radius": 1e3}
    found = minimize(loss, start, jac=gradient, hess=curvature, method="trust-exact", options=options)
    weights = np.asarray(found.x, dtype=np.float64)
    return Logistic(weights, curvature(weights), bool(np.linalg.norm(gradient(weights)) < 1e-4))


def _terms(rows: Sequence[Annotation], hardness: Floats | None) -> dict[str, Floats]:
    """The columns of the regression that the data can tell apart, by name."""
    terms = {}
    deltas = np.array([row.baseline_length - row.model_length for row in rows], dtype=np.float64)
    if len(set(deltas.tolist())) > 1:
        terms["length"] = np.tanh(deltas / deltas.std(ddof=1))
    if hardness is not None:
        terms["difficulty"] = hardness
    return terms | {"constant": np.ones(len(rows))}


def _kind(difficulty: Difficulty | None) -> str | None:
    if difficulty is None:
        return None
    return "prompt" if isinstance(difficulty, Mapping) else "position"


def _looked_up(rows: Sequence[Annotation], difficulty: Difficulty) -> Floats:
    if isinstance(difficulty, Mapping):
        lost = [row.position for row in rows if row.instruction not in difficulty]
        found = [difficulty.get(row.instruction, math.nan) for row in rows]
    else:
        lost = [row.position for row in rows if row.position >= len(difficulty)]
        found = [] if lost else [difficulty[row.position] for row in rows]
    if lost:
        raise DataError(
            f"instruction difficulty for {len(difficulty)} prompts",
            f"{len(lost)} of {len(rows)} annotations have none, the first in row {lost[0]} (from 0)",
            "give the difficulty of the prompts that were annotated, or none: the term is then left out",
        )
    return np.array(found, dtype=np.float64)


def _delta_error(fit: Logistic, values: Floats, level: Floats, shares: Floats) -> float:
    """Standard error of the mean prediction at `level`: a row's own part, and what it does to the fit."""
    at_level = expit(level @ fit.weights)
    slope = level.T @ (at_level * (1 - at_level))
    scores = (shares - expit(values @ fit.weights))[:, None] * values
    return _standard_error(at_level + scores @ np.linalg.solve(fit.curvature, slope))


def _standard_error(values: Floats) -> float:
    return float(values.std(ddof=1) / math.sqrt(len(values)))


def read_difficulty(path: Path) -> list[float]:
    """Instruction difficulty by row position, from a CSV with `index` and `instruction_difficulty`.

    Raises DataError that names the bad lines, or when the index is not 0, 1, 2 ...
    """
    rows = list(_numbers(path, ("index", "instruction_difficulty")))
    for position, (index, _) in enumerate(rows):
        if index != position:
            raise DataError(
                f"{path}, row {position}",
                f"its index is {index:g}: difficulty is looked up by position, so rows must stand in order",
                "sort the rows by index and fill the gaps",
            )
    return [value for _, value in rows]


def read_regularisation(path: Path) -> list[RegularisationRow]:
    """The regularisation rows of a CSV; raises DataError that names the bad lines.

    Its columns: preference (0..1), std_delta_len, instruction_difficulty, not_gamed_baseline (True, False).
    """
    columns = ("preference", "std_delta_len", "instruction_difficulty", "not_gamed_baseline")
    return [RegularisationRow(*row) for row in _numbers(path, columns)]


def _numbers(path: Path, columns: Sequence[str]) -> Iterator[list[float]]:
    """The named columns of a CSV file as finite numbers; True is 1 and False is 0."""
    words = {"true": "1", "false": "0"}
    bad = []
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            table = list(csv.DictReader(lines))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"file {path}", f"it cannot be read ({error})", "give a CSV file") from error
    for number, row in enumerate(table, 2):
        texts = [str(row.get(name) or "") for name in columns]
        try:
            values = [float(words.get(text.lower(), text)) for text in texts]
        except ValueError:
            values = [math.nan]
        if all(map(math.isfinite, values)):
            yield values
        else:
            bad.append(f"line {number}: {shown(', '.join(texts))}")
    if bad or not table:
        raise DataError(
            f"file {path}" + "".join(f"\n    {line}" for line in bad[:_SHOWN]),
            f"{len(bad)} of {len(table)} lines have no number in one of {', '.join(columns)}",
            "give a CSV file with these columns; a row left out would shift all after it",
        )


def alpaca_table(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Plain text: a line a model with both win rates and their standard errors, counts and mean length."""
    head = (
        f"{'win rate %':>16}{'length-controlled %':>22}{'wins':>7}{'draws':>7}{'losses':>8}{'characters':>12}"
    )
    width = max([len("model"), *(len(name) for name in results)])
    rows = [f"{'model':<{width}}{head}  records used"]
    for name, found in results.items():
        level, counts = found["length_controlled"] or {}, found["discrete"]
        used = f"{found['usable']} of {found['records']}, {found['missing']} prompts missing"
        rows.append(
            f"{name:<{width}}{_with_error(found):>16}{_with_error(level):>22}{counts['wins']:>7}"
            f"{counts['draws']:>7}{counts['losses']:>8}{_rounded(found['length']['model'], 0):>12}  {used}"
        )
    return "\n".join(rows)


def _with_error(found: Mapping[str, Any]) -> str:
    rate, error = found.get("win_rate"), found.get("standard_error")
    return f"{_rounded(rate, 2)} ± {_rounded(error, 2)}"


def _rounded(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
