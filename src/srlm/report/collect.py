"""Read a run's folder into plain data for the page; works on unfinished runs too."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srlm.config import flatten
from srlm.evaluation.suites.tables import saved_figures, suite_table
from srlm.monitors.signals import Signal, watched
from srlm.report.costs import Cost, Training, costs
from srlm.report.evidence import evidence
from srlm.report.lineage import Link, lineage
from srlm.report.samples import Sample, changes, samples
from srlm.store.run import run_states


@dataclass(frozen=True)
class ModelRow:
    """The figures of one model."""

    name: str
    figures: dict[str, Any]


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
    log: list[dict[str, float]]

    @property
    def cost(self) -> Training:
        """What it cost, with the tokens of all its steps."""
        return Training(sum(line["tokens"] for line in self.log), self.summary)


@dataclass(frozen=True)
class Page:
    """All that the report shows.

    `signals` by their names, of each round by its name; `missing` in words; `results` by suite.
    """

    folder: Path
    name: str
    verdict: str
    evidence: str
    missing: list[str]
    findings: list[str]
    lineage: list[Link]
    best: str
    models: list[ModelRow]
    results: dict[str, tuple[str, dict[str, Any]]]
    signals: dict[str, dict[str, Signal]]
    taught: str
    rounds: list[RoundRow]
    trainings: list[TrainingRow]
    grades: dict[str, dict[int, int]]
    samples: list[Sample]
    costs: list[Cost]
    machine: dict[str, Any]
    config: dict[str, Any]
    origins: dict[str, str]

    @property
    def signal_rounds(self) -> list[str]:
        """The rounds that were watched, in order."""
        return sorted({name for row in self.signals.values() for name in row}, key=_in_order)

    @property
    def suites(self) -> dict[str, str]:
        """The table of every suite as plain text, by its name."""
        return {title: suite_table(kind, results) for title, (kind, results) in self.results.items()}

    def of(self, kind: str) -> dict[str, Any]:
        """The figures by model of the first suite of a kind."""
        return next((results for each, results in self.results.values() if each == kind), {})

    @property
    def matches(self) -> dict[str, Any]:
        """The head-to-heads by their names."""
        return {
            f"{name} against {other}": match
            for name, found in self.of("head_to_head").items()
            for other, match in found.get("against", {}).items()
        }

    @property
    def alarms(self) -> list[tuple[str, Signal]]:
        """The round and the signal of every alarm, round by round."""
        return [
            (name, row[name])
            for name in self.signal_rounds
            for row in self.signals.values()
            if name in row and row[name].alarm
        ]

    @property
    def to_read(self) -> dict[str, list[Sample]]:
        """The samples by their kind, in order."""
        found: dict[str, list[Sample]] = {}
        for sample in self.samples:
            found.setdefault(sample.kind, []).append(sample)
        return found


def collect(folder: Path) -> Page:
    """The page of a run; raises RunError when the folder holds none."""
    states = run_states(folder)
    saved = json.loads((folder / "config.json").read_text("utf-8"))
    done = {state["step"]: state for state in states if state["done"]}
    outcome = _json(folder / "outcome.json")
    verdict = outcome.get("verdict") or _unfinished(states)
    named = {step.split("/")[0] for step in done}
    names = sorted((name for name in named if re.fullmatch(r"SFT|M\d+", name)), key=_in_order)
    models = [
        ModelRow(name, _json(folder / name / "evaluation/figures.json"))
        for name in names
        if f"{name}/evaluation/figures" in done
    ]
    rounds = [name for name in names if f"{name}/pairs" in done]
    trainings = [_training(folder, step) for step in done if step.endswith(("/sft", "/dpo"))]
    signals = signal_table(folder)
    last = trainings[-1].step.split("/")[0] if trainings else "M0"
    compared = models[-1].name if models else "M1"
    return Page(
        folder=folder,
        name=folder.resolve().name,
        verdict=verdict,
        evidence=evidence(signals, last),
        missing=missing(saved["config"], done, signals),
        findings=findings(models),
        lineage=lineage(done, {row.step: row.summary for row in trainings}),
        best=outcome.get("best", ""),
        models=models,
        results=suite_results(folder, saved["config"]["evaluation"]["suites"], names, done),
        signals=signals,
        taught=_taught(done.get("M1/eft", {}).get("counts", {})),
        rounds=[_round(folder, name, done) for name in rounds],
        trainings=trainings,
        grades={name: _grades(folder / name) for name in rounds},
        samples=[*changes(folder, "M1", compared), *samples(folder, rounds, _digests(done, rounds))],
        costs=costs(
            states,
            {row.step: row.cost for row in trainings},
            local=saved["config"]["engine"]["kind"] == "local",
        ),
        machine=_json(folder / "run.json"),
        config=flatten(saved["config"]),
        origins=saved["origins"],
    )


def suite_results(
    folder: Path, suites: list[dict[str, Any]], names: list[str], done: Mapping[str, Any]
) -> dict[str, tuple[str, dict[str, Any]]]:
    """By the name of a suite its kind, and its figures by model, of those that were measured with it."""
    found = {}
    for suite in suites:
        title = suite["name"] or suite["suite"]
        steps = {name: f"{name}/evaluation/{title}/figures" for name in names}
        paths = {name: folder / f"{step}.json" for name, step in steps.items() if step in done}
        if results := {name: saved_figures(path) for name, path in paths.items() if path.exists()}:
            found[title] = (suite["suite"], results)
    return found


def signal_table(folder: Path) -> dict[str, dict[str, Signal]]:
    """What was watched: by a signal's name, then by the round's."""
    table: dict[str, dict[str, Signal]] = {}
    for name, signals in watched(folder).items():
        for item in signals:
            table.setdefault(item.name, {})[name] = item
    return table


def findings(models: list[ModelRow]) -> list[str]:
    """What became of judging and answering from M1 to the last model, in sentences."""
    if not models or models[-1].name in {"M0", "SFT"}:
        return []
    first, last = next(model for model in models if model.name not in {"M0", "SFT"}), models[-1]
    return _judging(first, last) + _answering(first, last)


def _judging(first: ModelRow, last: ModelRow) -> list[str]:
    judge, before = last.figures["judge"], first.figures["judge"]["pairwise"]["half"]["value"]
    pairs = sum(judge["pairs"][outcome] for outcome in ("right", "tied", "wrong"))
    right, similar = judge["pairwise"]["half"], judge["similar_length"]["pairwise"]["half"]
    if right["value"] is None:
        return [f"{last.name} as a judge wrote no readable score on the held-out answers."]
    change = (
        f", after {_in_percent(before)} of {first.name}" if first is not last and before is not None else ""
    )
    longer = judge["longer_wins"]["pairwise"]["half"]["value"]
    said = (
        f"{last.name} as a judge is right on {_in_percent(right['value'])} of {pairs} held-out "
        f"pairs{change}; always preferring the longer answer gets {_in_percent(longer)}."
    )
    above = judge["over_longer"]["low"]
    if above is None or above <= 0 or right["low"] is None or right["low"] <= 0.5:
        said += " It is not above that line, or above chance, by its 95 % interval: its scores prove little."
    if similar["low"] is not None and similar["low"] > 0.5:
        said += f" On pairs of similar length it is right on {_in_percent(similar['value'])}, above chance."
    return [said]


def _in_percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _in_order(name: str) -> tuple[int, str]:
    """M0, the SFT baseline, M1, M2 ..."""
    return (int(name[1:]), "") if name != "SFT" else (0, name)


def _taught(counts: dict[str, int]) -> str:
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


def _histogram(counts: dict[str, int], when: str) -> str:
    return ", ".join(str(counts.get(f"score {score} {when} the cap", 0)) for score in range(6))


def _answering(first: ModelRow, last: ModelRow) -> list[str]:
    one, other = first.figures["answers"], last.figures["answers"]
    if first is last or not one["num"] or not other["num"]:
        return []
    return [
        f"Answers to held-out prompts went from {one['tokens']:.0f} tokens to {other['tokens']:.0f} on "
        f"average; {100 * one['ended']:.0f} % and then {100 * other['ended']:.0f} % ended by themselves."
    ]


def _unfinished(states: list[dict[str, Any]]) -> str:
    open_steps = [state["step"] for state in states if not state["done"]]
    where = f"stopped in {open_steps[-1]}" if open_steps else "stopped between two steps"
    return f"The run is not finished: {where}. Run the same command again to go on."


def _round(folder: Path, name: str, done: dict[str, Any]) -> RoundRow:
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


def _training(folder: Path, step: str) -> TrainingRow:
    log = folder / step / "log.jsonl"
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    return TrainingRow(step, _json(folder / step / "summary.json"), [json.loads(line) for line in lines])


def _prefixed(counts: dict[str, int], prefix: str) -> dict[str, int]:
    return {
        key.removeprefix(prefix): number for key, number in sorted(counts.items()) if key.startswith(prefix)
    }


def missing(config: Mapping[str, Any], done: Mapping[str, Any], signals: Mapping[str, Any]) -> list[str]:
    """What a reader might look for and the run does not have, in words."""
    suites = {suite["suite"] for suite in config["evaluation"]["suites"]}
    found = [
        f"{what}: not measured (suite {suite})"
        for suite, what in _WANTED.items()
        if suite not in suites or not any(f"/evaluation/{suite}" in step for step in done)
    ]
    if not signals:
        found.append("signals of reward hacking: not watched (gates.preset)")
    return [*found, "human votes: none"]


_WANTED = {
    "head_to_head": "head-to-head of the models",
    "alpaca_eval": "AlpacaEval, raw and length-controlled",
    "mt_bench": "MT-Bench",
    "harness": "the panel of NLP tasks",
}


def _grades(folder: Path) -> dict[int, int]:
    """How often the round's judge gave each grade."""
    counts = _json(folder / "monitors.json").get("grades", {})
    return {int(grade): number for grade, number in counts.items()}


def _digests(done: Mapping[str, Any], rounds: Iterable[str]) -> dict[str, str]:
    """The digest of the model that answered and judged in each round: its predecessor's training."""
    before = {name: f"M{int(name[1:]) - 1}" for name in rounds}
    steps = {name: done.get(f"{one}/sft") or done.get(f"{one}/dpo") for name, one in before.items()}
    return {name: f"{before[name]} {str(step['digest'])[:16]}" for name, step in steps.items() if step}


def _json(path: Path) -> dict[str, Any]:
    """A JSON file, empty where it is not there yet."""
    if not path.exists():
        return {}
    values: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return values
