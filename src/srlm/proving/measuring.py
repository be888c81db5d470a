"""What came of an arm: the truth about every model of its run, its judge, and the pairs it learned from."""

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from srlm.judging.reading import read_verdict
from srlm.judging.rubric import parse_rubric
from srlm.proving.language import RUBRIC, judged_in
from srlm.proving.tasks import TOP, is_task, points
from srlm.records import Pair
from srlm.store.jsonl import read_records

POINTS = parse_rubric("rubric", RUBRIC)
"""By which judgments of the small world are read."""


def measured(folder: Path) -> list[dict[str, Any]]:
    """The figures of M1, M2 ... in their order, each {name: value}; see `of_model` and those after it."""
    made = [path.parent.name for path in folder.glob("M*/model")]
    names = sorted((name for name in made if name[1:].isdigit()), key=lambda name: int(name[1:]))
    parts = (of_model, of_pairs, of_judge_pairs)
    return [{key: value for part in parts for key, value in part(folder, name).items()} for name in names]


def of_model(folder: Path, name: str) -> dict[str, Any]:
    """A model on the test prompts and as a judge of the fixed probe.

    `greedy`, `sampled`: mean points, 0 to 5; `greedy_right`, `sampled_right`: shares of answers with all
    points; `pass_8`: the chance that one of eight draws has them; `judge`: pairwise accuracy on answers of
    different truth, ties half; `tokens`: mean length of a draw; `ended`: share of draws that ended by
    themselves.
    """
    greedy, sampled = (
        _read(folder / name / f"evaluation/{suite}/figures.json") for suite in ("greedy", "sampled")
    )
    judge = _read(folder / name / "evaluation/figures.json")["judge"]
    return {
        "model": name,
        "greedy": greedy["points"]["value"],
        "greedy_right": greedy["right"]["value"],
        "sampled": sampled["points"]["value"],
        "sampled_right": sampled["right"]["value"],
        "pass_8": sampled["pass_at"]["8"]["value"],
        "judge": judge["pairwise"]["half"]["value"],
        "tokens": sampled["answers"]["tokens"],
        "ended": sampled["answers"]["ended"],
    }


def of_pairs(folder: Path, name: str) -> dict[str, Any]:
    """The truth about the pairs that made a model; empty for M1.

    `pairs`, a number; `ties`: share of prompts whose best and worst score are equal; `chosen`, `rejected`:
    mean points; `chosen_right`: share of chosen answers with all points; `pair_right`: share of pairs in
    which chosen is truly better, equal ones half; `longer`: words by which chosen is longer; `no_task`: share
    of pairs on a prompt that is no task, as a model may write one, which stand in no other figure of truth.
    """
    path = folder / name / "pairs.jsonl"
    if not path.exists():
        return {}
    pairs = list(read_records(path, Pair))
    known = [pair for pair in pairs if is_task(pair.prompt)]
    truth = [(points(pair.prompt, pair.chosen), points(pair.prompt, pair.rejected)) for pair in known]
    counts = _read(folder / name / "pairs.step.json")["counts"]
    without = sum(number for what, number in counts.items() if what != "pair")
    prompts = len({pair.prompt_id for pair in pairs}) + without
    return {
        "pairs": len(pairs),
        "no_task": 1 - len(known) / len(pairs) if pairs else None,
        "ties": counts.get("no pair: tie", 0) / prompts if prompts else None,
        "chosen": _mean([chosen for chosen, _ in truth]),
        "rejected": _mean([rejected for _, rejected in truth]),
        "chosen_right": _mean([float(chosen == TOP) for chosen, _ in truth]),
        "pair_right": _mean([(chosen > rejected) + 0.5 * (chosen == rejected) for chosen, rejected in truth]),
        "longer": _mean([len(pair.chosen.split()) - len(pair.rejected.split()) for pair in pairs]),
    }


def of_judge_pairs(folder: Path, name: str) -> dict[str, Any]:
    """The truth about pairs of judgments; empty where none were made.

    `judge_pairs`, a number; `judge_pair_right`: share in which the score of the chosen judgment is nearer to
    the truth, as near half, of those about tasks and by the rubric with points.
    """
    path = folder / name / "judge_pairs.jsonl"
    if not path.exists():
        return {}
    pairs = list(read_records(path, Pair))
    off = [(_off(pair.prompt, pair.chosen), _off(pair.prompt, pair.rejected)) for pair in pairs]
    right = [
        (chosen < rejected) + 0.5 * (chosen == rejected)
        for chosen, rejected in off
        if chosen is not None and rejected is not None
    ]
    return {"judge_pairs": len(pairs), "judge_pair_right": _mean(right)}


def _off(asked: str, judgment: str) -> float | None:
    """By how many points a judgment of an answer misses the truth; None where there is none, or no score."""
    task, answer = judged_in(asked) or ("", "")
    score = read_verdict(judgment, "stop", POINTS).score
    return abs(score - points(task, answer)) if is_task(task) and score is not None else None


def alarms(folder: Path) -> dict[str, list[str]]:
    """By M1, M2 ... the names of the signals that alarmed, of rounds without a model, too.

    Empty where nothing was watched.
    """
    paths = sorted(folder.glob("M*/monitors.json"))
    signals = {path.parent.name: _read(path)["signals"] for path in paths}
    return {name: [one["name"] for one in found if one["alarm"]] for name, found in signals.items()}


def _mean(values: Sequence[float]) -> float | None:
    return fmean(values) if values else None


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found
