"""Which figures a run's page shows, from its records and logs."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from srlm.evaluation.intervals import Estimate
from srlm.monitors.yardsticks import FROZEN_WIN_RATE
from srlm.records import Example, Judgment, Prompt, Response
from srlm.report import charts, paper
from srlm.report.collect import Page
from srlm.report.pairing import Pairing
from srlm.report.prompt_map import Plane, prompt_map
from srlm.report.reading import Reading
from srlm.report.rows import ModelRow, TrainingRow


@dataclass(frozen=True)
class Spread:
    """A round's responses as numbers: characters, mean scores, and both of those that have a score."""

    lengths: Sequence[float]
    scores: Sequence[float]
    both: Sequence[tuple[float, float]]


Curves = Mapping[str, Sequence[tuple[float, Estimate]]]
"""By a name its figures at numbers of models."""
SECTIONS = ("judging", "answering", "mt_bench", "rounds", "training")


def figures(page: Page) -> dict[str, list[str]]:
    """Figures of HTML by section of the page; what there is no data for is left out."""
    reading, models, trainings = page.reading, page.models, page.trainings
    rounds = [row.name for row in page.rounds]
    spreads = {name: one for name in rounds if (one := spread(reading, name)).scores}
    found: dict[str, list[str]] = {section: [] for section in SECTIONS}
    if curves := {row.name: row.figures["judge"]["calibration"] for row in models if _graded(row)}:
        found["judging"].append(charts.calibration(curves, "Calibration: human place by grade"))
    if lengths := _answer_lengths(reading, models):
        title = "Lengths of answers to the held-out prompts"
        found["answering"].append(charts.distributions(lengths, title, "characters"))
    graded = {name: _by_category(one) for name, one in page.of("mt_bench").items()}
    if grades := {name: means for name, means in graded.items() if means}:
        scales = [one["scale"] for one in page.of("mt_bench").values() if "scale" in one]
        highest = max((scale[1] for scale in scales), default=paper.MT_BENCH_SCALE[1])
        found["mt_bench"].append(charts.radar(grades, "MT-Bench by category", highest))
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
    if places := reading.piece("the map of prompts", partial(_map, page, rounds)):
        title = "Map of prompts: near means alike, by M1's token embeddings"
        found["rounds"].append(charts.cloud(places, title, "", "", bare=True))
    found["training"] = _curves(trainings)
    return found


def compared_figures(pages: Sequence[Page]) -> list[str]:
    """Answer lengths, and win rates by the judge that does not change, of the models of several runs."""
    lengths, rates = {}, {}
    wins = FROZEN_WIN_RATE.format("M1")
    for page in pages:
        for name, values in _answer_lengths(page.reading, page.models).items():
            if re.fullmatch(r"M[1-9]\d*", name):
                lengths[f"{page.name} {name}"] = values
        points = [
            (float(name[1:]), Estimate(item.value, item.low, item.high, item.num))
            for name, item in page.signals.get(wins, {}).items()
        ]
        if any(found.value is not None for _, found in points):
            rates[page.name] = points
    title = "Lengths of answers to the held-out prompts"
    found = [charts.distributions(lengths, title, "characters")] if lengths else []
    if rates:
        found.append(charts.estimates(rates, wins[0].upper() + wins[1:], "model", "share", 0.5))
    return found


def paired_figures(pairing: Pairing) -> list[str]:
    """Of every measure what each model has, and how far it is above the first run's, with intervals."""
    found = []
    for title, series in pairing.curves.items():
        unit = "share" if title in pairing.shares else ""
        rows = pairing.apart.get(title, [])
        if any(one.value for _, one in rows):  # where all are equal, the table says it
            found.append(charts.estimates(_beside_each_other(series), title, "model M", unit, None))
            found.append(
                charts.differences(
                    rows, f"{title}: above {pairing.first}", "difference of shares" if unit else "difference"
                )
            )
    return found


def _beside_each_other(series: Curves) -> Curves:
    """The same with each series a little to the right of the one before, so that intervals stand apart."""
    return {
        name: [(at + 0.24 * place / len(series), one) for at, one in points]
        for place, (name, points) in enumerate(series.items())
    }


def spread(reading: Reading, name: str) -> Spread:
    """The responses of a round as numbers; empty where they are not there yet."""
    scored = {item.response_id: item.score for item in reading.records(f"{name}/judgments", Judgment)}
    lengths, both = [], []
    for item in reading.records(f"{name}/responses", Response):
        lengths.append(float(len(item.text)))
        if (score := scored.get(item.id)) is not None:
            both.append((float(len(item.text)), score))
    return Spread(lengths, [score for _, score in both], both)


def _by_category(found: Mapping[str, Any]) -> dict[str, float]:
    """MT-Bench's mean grade in each category that has some."""
    means = {name: means["both"]["value"] for name, means in found["categories"].items()}
    return {name: value for name, value in means.items() if value is not None}


def _answer_lengths(reading: Reading, models: Sequence[ModelRow]) -> dict[str, list[float]]:
    answers = {row.name: reading.records(f"{row.name}/evaluation/answers", Response) for row in models}
    return {name: [float(len(item.text)) for item in found] for name, found in answers.items() if found}


def _map(page: Page, rounds: Sequence[str]) -> Plane:
    """The map of prompts by M1's embeddings; empty where M1 is not trained yet."""
    if "M1/sft" not in page.reading.done:
        return {}
    trust = bool(page.config.get("model.trust_remote_code"))
    return prompt_map(page.folder / "M1/model", _sources(page.reading, rounds), trust=trust)


def _sources(reading: Reading, rounds: Sequence[str]) -> dict[str, list[str]]:
    """Prompts by where they come from: seed instructions, judged seed prompts, and each round's."""
    examples = reading.lines("M1/sft/data.jsonl", Example)
    found = {"IFT": [item.prompt for item in examples if item.kind == "ift"]}
    ranked = (item.prompt for item in examples if item.kind == "eft")
    found["EFT"] = list(dict.fromkeys(judged_instruction(text) for text in ranked))
    for name in rounds:
        found[name] = [item.text for item in reading.records(f"{name}/prompts", Prompt)]
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
