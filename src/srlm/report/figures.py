"""Which figures a run's page shows, from its records and logs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srlm.records import Example, Judgment, Prompt, Response
from srlm.report import charts
from srlm.report.collect import ModelRow, Page, TrainingRow
from srlm.report.prompt_map import prompt_map
from srlm.store.jsonl import read_records


@dataclass(frozen=True)
class Spread:
    """A round's responses as numbers: characters, mean scores, and both of those that have a score."""

    lengths: Sequence[float]
    scores: Sequence[float]
    both: Sequence[tuple[float, float]]


SECTIONS = ("judging", "answering", "mt_bench", "rounds", "training")


def figures(page: Page) -> dict[str, list[str]]:
    """Figures of HTML by section of the page; what there is no data for is left out."""
    folder, models, trainings = page.folder, page.models, page.trainings
    rounds = [row.name for row in page.rounds]
    spreads = {name: one for name in rounds if (one := spread(folder / name)).scores}
    found: dict[str, list[str]] = {section: [] for section in SECTIONS}
    if curves := {row.name: row.figures["judge"]["calibration"] for row in models if _graded(row)}:
        found["judging"].append(charts.calibration(curves, "Calibration: human place by grade"))
    if lengths := _answer_lengths(folder, models):
        title = "Lengths of answers to the held-out prompts"
        found["answering"].append(charts.distributions(lengths, title, "characters"))
    graded = {name: _by_category(one) for name, one in page.of("mt_bench").items()}
    if grades := {name: means for name, means in graded.items() if means}:
        found["mt_bench"].append(charts.radar(grades, "MT-Bench by category", 10))
    if spreads:
        scores = {name: one.scores for name, one in spreads.items()}
        characters = {name: one.lengths for name, one in spreads.items()}
        found["rounds"] += [
            charts.distributions(scores, "Scores of responses", "mean score"),
            charts.distributions(characters, "Lengths of responses", "characters"),
            charts.cloud(
                {name: one.both for name, one in spreads.items()},
                "Score against length of responses",
                "characters",
                "mean score",
            ),
        ]
    if given := {name: counts for name, counts in page.grades.items() if counts}:
        found["rounds"].append(charts.histograms(given, "Grades given by the judge", "grade"))
    if places := prompt_map(folder / "M1/model", _sources(folder, rounds)):
        title = "Map of prompts: near means alike, by M1's token embeddings"
        found["rounds"].append(charts.cloud(places, title, "", "", bare=True))
    found["training"] = _curves(trainings)
    return found


def compared_figures(pages: Sequence[Page]) -> list[str]:
    """Answer lengths and scores of all models of several runs beside each other."""
    lengths, signals = {}, {}
    for page in pages:
        for name, values in _answer_lengths(page.folder, page.models).items():
            if re.fullmatch(r"M[1-9]\d*", name):
                lengths[f"{page.name} {name}"] = values
        rates = page.signals.get("win rate over M1 by the frozen judge", {})
        signals[page.name] = [
            (float(name[1:]), item.value) for name, item in rates.items() if item.value is not None
        ]
    title = "Lengths of answers to the held-out prompts"
    found = [charts.distributions(lengths, title, "characters")] if lengths else []
    if all(signals.values()):
        found.append(charts.lines(signals, "Win rate over M1 by the frozen judge", "model", "share"))
    return found


def spread(folder: Path) -> Spread:
    """The responses of a round's folder as numbers; empty where they are not there yet."""
    if not (folder / "judgments.jsonl").exists() or not (folder / "responses.jsonl").exists():
        return Spread([], [], [])
    scored = {item.response_id: item.score for item in read_records(folder / "judgments.jsonl", Judgment)}
    lengths, both = [], []
    for item in read_records(folder / "responses.jsonl", Response):
        lengths.append(float(len(item.text)))
        if (score := scored.get(item.id)) is not None:
            both.append((float(len(item.text)), score))
    return Spread(lengths, [score for _, score in both], both)


def _by_category(found: Mapping[str, Any]) -> dict[str, float]:
    """MT-Bench's mean grade in each category that has some."""
    means = {name: means["both"]["value"] for name, means in found["categories"].items()}
    return {name: value for name, value in means.items() if value is not None}


def _answer_lengths(folder: Path, models: Sequence[ModelRow]) -> dict[str, list[float]]:
    paths = {row.name: folder / row.name / "evaluation/answers.jsonl" for row in models}
    return {
        name: [float(len(item.text)) for item in read_records(path, Response)]
        for name, path in paths.items()
        if path.exists()
    }


def _sources(folder: Path, rounds: Sequence[str]) -> dict[str, list[str]]:
    """Prompts by where they come from: seed instructions, judged seed prompts, and each round's."""
    taught = folder / "M1/sft/data.jsonl"
    examples = list(read_records(taught, Example)) if taught.exists() else []
    found = {"IFT": [item.prompt for item in examples if item.kind == "ift"]}
    ranked = (item.prompt for item in examples if item.kind == "eft")
    found["EFT"] = list(dict.fromkeys(judged_instruction(text) for text in ranked))
    for name in rounds:
        found[name] = [item.text for item in read_records(folder / name / "prompts.jsonl", Prompt)]
    return found


def judged_instruction(text: str) -> str:
    """The instruction inside a judge's prompt: what stands between its first pair of tags, or all of it."""
    inside = re.search(r"<(\w+)>\s*(.*?)\s*</\1>", text, re.S)
    return inside[2] if inside else text


def _graded(row: ModelRow) -> bool:
    return any(grade["place"]["value"] is not None for grade in row.figures["judge"].get("calibration", ()))


def _curves(trainings: Sequence[TrainingRow]) -> list[str]:
    """Losses of all trainings, and of DPO what became likelier than at the start."""
    found = []
    for kind, title in (("sft", "Loss of SFT"), ("dpo", "Loss of DPO")):
        rows = [row for row in trainings if row.step.endswith(f"/{kind}")]
        losses = {row.step.split("/")[0]: points for row in rows if (points := _points(row.log, "loss"))}
        if losses:
            found.append(charts.lines(losses, title, "optimiser step", "loss"))
    dpo = [row for row in trainings if row.step.endswith("/dpo")]
    for row in dpo:
        paths = {f"{side} reward": _points(row.log, f"{side}_reward") for side in ("chosen", "rejected")}
        if all(paths.values()):
            name = row.step.split("/")[0]
            title = f"{name}: implicit rewards (β × log-probability above the start)"
            found.append(charts.lines(paths, title, "optimiser step", "reward"))
    return found


def _points(log: Sequence[Mapping[str, Any]], key: str) -> list[tuple[float, float]]:
    return [(float(line.get("step", n)), line[key]) for n, line in enumerate(log, 1) if key in line]
