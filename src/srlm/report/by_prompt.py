"""What a run measured of its models prompt by prompt, so that two runs can be paired on the same prompts."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from srlm.evaluation.heldout import scored_prompts
from srlm.evaluation.judge_quality import pairs_right
from srlm.evaluation.suites.alpaca_eval import preference
from srlm.evaluation.suites.head_to_head import VALUE
from srlm.records import Comparison, Judgment, Response, content_id
from srlm.report.collect import Page
from srlm.report.lineage import in_order
from srlm.report.reading import Reading
from srlm.seeds import RankedPrompt, load_seed
from srlm.store.states import saved_config


@dataclass(frozen=True)
class Measure:
    """A figure of one model by the prompts' ids; `asked` are all, some of which may have no figure."""

    values: Mapping[str, float]
    asked: frozenset[str]
    is_share: bool = False

    @classmethod
    def of(cls, found: Mapping[str, Iterable[float | None]], *, is_share: bool = False) -> "Measure":
        """The mean of what each prompt has, without the None."""
        known = {prompt: [one for one in values if one is not None] for prompt, values in found.items()}
        means = {prompt: fmean(values) for prompt, values in known.items() if values}
        return cls(means, frozenset(known), is_share)


Measures = dict[str, dict[str, Measure]]
"""By what was measured, then by model."""
ANSWERS: dict[str, tuple[Callable[[Response], float], bool]] = {
    "Answer tokens": (lambda item: float(item.num_tokens), False),
    "Answers that ended": (lambda item: float(item.finish == "stop"), True),
}


def measures(page: Page) -> Measures:
    """Everything that has a value by prompt, of M1 and those after it."""
    reading = page.reading
    begun = {step.split("/")[0] for step in reading.done if re.match(r"M[1-9]\d*/evaluation/", step)}
    names, found = sorted(begun, key=in_order), Measures()
    ranked = _ranked(reading) if any(f"{name}/evaluation/judgments" in reading.done for name in names) else []
    for name in names:
        answers = reading.records(f"{name}/evaluation/answers", Response)
        for title, (value, is_share) in ANSWERS.items() if answers else ():
            found.setdefault(title, {})[name] = Measure.of(_grouped(answers, value), is_share=is_share)
        judged = reading.records(f"{name}/evaluation/judgments", Judgment)
        if judged and ranked:
            found.setdefault("Pairs judged right", {})[name] = judged_right(judged, ranked)
    for title, (kind, results) in page.results.items():
        for name in (name for name in names if kind in SUITES and name in results):
            measure = partial(SUITES[kind], reading, f"{name}/evaluation/{title}", results[name])
            for what, values in (reading.piece(f"{title} of {name} by prompt", measure) or {}).items():
                found.setdefault(f"{title}: {what}", {})[name] = values
    return found


def judged_right(judged: Iterable[Judgment], ranked: Iterable[RankedPrompt]) -> Measure:
    """The share of each held-out prompt's pairs that were judged as people do, a tie as a half."""
    lines = [line for line in ranked if len(set(line.places)) > 1]
    scored = scored_prompts({item.response_id: item.score for item in judged}, lines)
    keys = [content_id("ranked", line.prompt, [answer.text for answer in line.answers]) for line in lines]
    return Measure.of({key: [pairs_right(one)] for key, one in zip(keys, scored, strict=True)}, is_share=True)


def _ranked(reading: Reading) -> list[RankedPrompt]:
    """The held-out ranked answers of a run, read anew; none where its files are no longer there."""

    def read() -> list[RankedPrompt]:
        return load_seed(saved_config(reading.folder).data).heldout_ranked

    return reading.piece("the held-out ranked answers", read) or []


def _grouped(answers: Iterable[Response], value: Callable[[Response], float]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for item in answers:
        found.setdefault(item.prompt_id, []).append(value(item))
    return found


def _checked(reading: Reading, step: str, found: Mapping[str, Any]) -> dict[str, Measure]:
    """Points; none where some prompt could not be asked, for which of them is not written down."""
    ids = dict.fromkeys(item.prompt_id for item in reading.records(f"{step}/answers", Response))
    points = found.get("by_prompt", [])
    return {"points": Measure.of(dict(zip(ids, points, strict=True)))} if len(ids) == len(points) else {}


def _gsm8k(reading: Reading, step: str, found: Mapping[str, Any]) -> dict[str, Measure]:
    right: dict[str, list[float]] = {}
    for row in found["grades"]:
        right.setdefault(row["question"], []).append(float(row["is_correct"]))
    return {"right": Measure.of(right, is_share=True)}


def _ifeval(reading: Reading, step: str, found: Mapping[str, Any]) -> dict[str, Measure]:
    followed = {str(row["key"]): [float(all(row["strict"]))] for row in found["verdicts"]}
    return {"all followed": Measure.of(followed, is_share=True)}


def _head_to_head(reading: Reading, step: str, found: Mapping[str, Any]) -> dict[str, Measure]:
    outcomes = found.get("against", {}).get("M1", {}).get("by_prompt", {})
    wins = {prompt: [VALUE.get(what)] for prompt, what in outcomes.items()}
    return {"win over its M1": Measure.of(wins, is_share=True)} if wins else {}


def _alpaca(reading: Reading, step: str, found: Mapping[str, Any]) -> dict[str, Measure]:
    """How far the judge prefers the answer to the baseline's, in the mean of both orders."""
    ours = {item.id: item.prompt_id for item in reading.records(f"{step}/answers", Response)}
    wins: dict[str, list[float | None]] = {prompt: [] for prompt in ours.values()}
    for item in reading.records(f"{step}/comparisons", Comparison):
        liked = preference(item) if item.verdict else None
        is_first = item.first_id in ours
        wins[item.prompt_id].append(liked if liked is None or is_first else 1 - liked)
    both = {prompt: values if None not in values else [] for prompt, values in wins.items()}
    return {"win over the baseline": Measure.of(both, is_share=True)} if any(both.values()) else {}


SUITES: dict[str, Callable[[Reading, str, Mapping[str, Any]], dict[str, Measure]]] = {
    "checked": _checked,
    "gsm8k": _gsm8k,
    "ifeval": _ifeval,
    "head_to_head": _head_to_head,
    "alpaca_eval": _alpaca,
}
"""Suites that keep a value by prompt; MT-Bench, the harness and diversity keep figures alone."""
