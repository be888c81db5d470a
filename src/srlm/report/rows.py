"""The rows of a page's tables: models, suites, rounds and trainings, each read from the run's folder."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from srlm.evaluation.heldout import measure
from srlm.evaluation.suites.tables import saved_figures, suite_table
from srlm.judging.rubric import grading_rubric
from srlm.report.costs import Training
from srlm.report.reading import Reading, filled

Results = dict[str, tuple[str, dict[str, Any]]]
"""By the name of a suite its kind, and its figures by model."""

SUMMARY = dict.fromkeys(("items", "steps", "left_out_too_long", "seconds", "peak_memory_gib"))
"""What is shown of a training's summary; None where it says nothing of it."""


@dataclass(frozen=True)
class ModelRow:
    """The figures of one model; `lacking`: dotted keys that a run of an older version does not have."""

    name: str
    figures: dict[str, Any]
    lacking: tuple[str, ...] = ()


@dataclass(frozen=True)
class RoundRow:
    """What one round made of its prompts."""

    name: str
    prompts: int
    attempts: int
    dropped: dict[str, int]
    responses: int
    replies: int
    unreadable: dict[str, int]
    flagged: int
    pairs: int
    no_pair: dict[str, int]

    @property
    def tie_rate(self) -> float | None:
        total = self.pairs + sum(self.no_pair.values())
        return self.no_pair.get("tie", 0) / total if total else None

    @property
    def unreadable_rate(self) -> float | None:
        return sum(self.unreadable.values()) / self.replies if self.replies else None


@dataclass(frozen=True)
class TrainingRow:
    """One training: its summary and the figures of its steps."""

    step: str
    summary: dict[str, Any]
    log: list[dict[str, Any]]

    @property
    def cost(self) -> Training:
        """What it cost, with the tokens of all its steps."""
        return Training(sum(line.get("tokens", 0) for line in self.log), self.summary)


def model_rows(reading: Reading, names: Iterable[str]) -> list[ModelRow]:
    """The held-out figures of the models that have some."""
    shape = measure((), (), [], grading_rubric("additive"), None)
    rows = []
    for name in names:
        step = f"{name}/evaluation/figures"
        if step in reading.done and (found := reading.values(f"{step}.json")):
            figures, lacking = filled(found, shape)
            if lacking:
                reading.lacks(", ".join(lacking), f"{step}.json is of an older version")
            rows.append(ModelRow(name, figures, tuple(lacking)))
    return rows


def suite_results(reading: Reading, suites: Iterable[Mapping[str, Any]], names: Iterable[str]) -> Results:
    """The figures of every suite and model that were measured and can be shown as a table."""
    results: Results = {}
    for suite in suites:
        kind, title = suite["suite"], title_of(suite)
        for name in names:
            step = f"{name}/evaluation/{title}/figures"
            measured = partial(_measured, reading, step, kind, name)
            if step in reading.done and (found := reading.piece(f"{step}.json", measured)):
                results.setdefault(title, (kind, {}))[1][name] = found
    return results


def title_of(suite: Mapping[str, Any]) -> str:
    """The name of a suite, as its steps are called."""
    title: str = suite.get("name") or suite["suite"]
    return title


def round_row(done: Mapping[str, Mapping[str, Any]], name: str) -> RoundRow:
    """What a round made, from the states of its steps; raises KeyError where one is not there."""
    made, judged, paired = (done[f"{name}/{stage}"] for stage in ("prompts", "judgments", "pairs"))
    return RoundRow(
        name=name,
        prompts=made["records"],
        attempts=made["counts"].get("attempts", 0),
        dropped=_prefixed(made["counts"], "dropped: "),
        responses=done[f"{name}/responses"]["records"],
        replies=judged["counts"].get("replies", 0),
        unreadable=_prefixed(judged["counts"], "unreadable: "),
        flagged=judged["counts"].get("flagged", 0),
        pairs=paired["records"],
        no_pair=_prefixed(paired["counts"], "no pair: "),
    )


def training_row(reading: Reading, step: str) -> TrainingRow:
    """The summary and the log of a training that is done."""
    summary = SUMMARY | reading.values(f"{step}/summary.json")
    return TrainingRow(step, summary, reading.log(f"{step}/log.jsonl"))


def taught(counts: Mapping[str, int]) -> str:
    """Who labelled the answers that teach judging, and what the agreement filter kept, in words."""
    who = {
        "people": "scored by people",
        "rank": "scored from the people's ranks, with written justifications",
        "agreement": "scored by the SFT baseline where its order agreed with the people's",
    }
    parts = [
        f"{number} answers {who[label]}" for label in who if (number := counts.get(f"labelled by {label}"))
    ]
    if prompts := counts.get("prompts"):
        parts.append(f"an agreement filter that kept {counts.get('kept', 0)} of {prompts} prompts")
        before, after = (_histogram(counts, when) for when in ("before", "after"))
        parts.append(f"scores 0 to 5 before the cap of the commonest: {before}; after it: {after}")
    return "; ".join(parts)


def _measured(reading: Reading, step: str, kind: str, name: str) -> dict[str, Any]:
    """A suite's figures of one model, tried in its table: those of another version may lack something."""
    found = saved_figures(reading.folder / f"{step}.json")
    suite_table(kind, {name: found})
    return found


def _histogram(counts: Mapping[str, int], when: str) -> str:
    return ", ".join(str(counts.get(f"score {score} {when} the cap", 0)) for score in range(6))


def _prefixed(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {
        key.removeprefix(prefix): number for key, number in sorted(counts.items()) if key.startswith(prefix)
    }
