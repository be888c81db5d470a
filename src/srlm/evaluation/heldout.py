"""The first figures of every round: how the model answers and judges held-out seed data."""

import json
from collections.abc import Iterable
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from srlm.judging.eft import as_responses
from srlm.records import Judgment, Response
from srlm.seeds import RankedPrompt


def measure(
    answers: Iterable[Response], judgments: Iterable[Judgment], ranked: list[RankedPrompt], loss: float | None
) -> dict[str, Any]:
    """Figures of one model: `judge`, `answers` and `heldout_loss` (nats a token)."""
    return {
        "judge": judge_quality(judgments, ranked),
        "answers": answer_shape(list(answers)),
        "heldout_loss": loss,
    }


def judge_quality(judgments: Iterable[Judgment], ranked: list[RankedPrompt]) -> dict[str, Any]:
    """Pairwise accuracy of the judge against human scores (section 3.1.2, reward modeling).

    Over all pairs of answers to one prompt with different human scores: `right`, `wrong`, `tied` (equal
    model scores) and `unscored`. `accuracy` counts a tie as half and leaves unscored pairs out.
    `longer_wins` is the accuracy of preferring the longer text on all pairs: the line to beat.
    """
    judged = list(judgments)
    scores = {item.response_id: item.score for item in judged}
    counts = {"right": 0, "wrong": 0, "tied": 0, "unscored": 0}
    longer: list[float] = []
    for line in ranked:
        items = list(zip(as_responses([line]), line.places, strict=True))
        for (one, place), (other, other_place) in combinations(items, 2):
            if place == other_place:
                continue
            better, worse = (one, other) if place < other_place else (other, one)
            counts[_outcome(scores.get(better.id), scores.get(worse.id))] += 1
            longer.append(_longer(better.text, worse.text))
    scored = counts["right"] + counts["wrong"] + counts["tied"]
    replies = [score for item in judged for score in item.scores]
    return counts | {
        "pairs": len(longer),
        "accuracy": (counts["right"] + counts["tied"] / 2) / scored if scored else None,
        "longer_wins": fmean(longer) if longer else None,
        "unreadable": replies.count(None) / len(replies) if replies else None,
        "mean_score": fmean(found) if (found := [score for score in replies if score is not None]) else None,
    }


def answer_shape(answers: list[Response]) -> dict[str, Any]:
    """Mean length in tokens and characters, and the share of answers that ended themselves."""
    if not answers:
        return {"num": 0, "tokens": None, "characters": None, "ended": None}
    return {
        "num": len(answers),
        "tokens": fmean(item.num_tokens for item in answers),
        "characters": fmean(len(item.text) for item in answers),
        "ended": fmean(item.finish == "stop" for item in answers),
    }


def heldout_loss(run_folder: Path, model: str) -> float | None:
    """The loss of M0, M1 ... on the held-out instructions, as its training measured it (M0: M1's, before)."""
    training = f"{model}/dpo" if model not in {"M0", "M1"} else "M1/sft"
    summary = json.loads((run_folder / training / "summary.json").read_text("utf-8"))
    loss: float | None = summary["heldout_loss_before" if model == "M0" else "heldout_loss"]
    return loss


def _outcome(better: float | None, worse: float | None) -> str:
    if better is None or worse is None:
        return "unscored"
    if better == worse:
        return "tied"
    return "right" if better > worse else "wrong"


def _longer(better: str, worse: str) -> float:
    return 0.5 if len(better) == len(worse) else float(len(better) > len(worse))
