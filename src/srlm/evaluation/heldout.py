"""The figures of every round: how the model answers and judges held-out seed data."""

import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean
from typing import Any

from srlm.evaluation.judge_quality import ScoredPrompt, judge_quality
from srlm.judging.eft import as_responses
from srlm.judging.rubric import Rubric
from srlm.records import Judgment, Response
from srlm.seeds import RankedPrompt


def measure(
    answers: Iterable[Response],
    judgments: Iterable[Judgment],
    ranked: list[RankedPrompt],
    rubric: Rubric,
    loss: float | None,
) -> dict[str, Any]:
    """Figures of one model: `judge`, `answers` and `heldout_loss` (nats a token)."""
    return {
        "judge": judge_figures(judgments, ranked, rubric),
        "answers": answer_shape(list(answers)),
        "heldout_loss": loss,
    }


def judge_figures(
    judgments: Iterable[Judgment], ranked: Iterable[RankedPrompt], rubric: Rubric
) -> dict[str, Any]:
    """How well scores agree with the people's ranks (section 3.1.2), and what could be read.

    The figures of evaluation/judge_quality.py, and `draws`, `unreadable` (share of draws without a score),
    `reasons`, `mean_score`, `mean_variance`, `outside` (mean probability off the grades, expected scores).
    """
    judged = list(judgments)
    scores = {item.response_id: item.score for item in judged}
    reasons = [reason for item in judged for reason in item.reasons]
    outside = [mass for item in judged for mass in item.outside]
    quality = judge_quality(scored_prompts(scores, ranked), top=rubric.highest)
    return quality | {
        "draws": len(reasons),
        "unreadable": 1 - reasons.count(None) / len(reasons) if reasons else None,
        "reasons": dict(Counter(reason for reason in reasons if reason)),
        "mean_score": _mean([item.score for item in judged]),
        "mean_variance": _mean([item.variance for item in judged]),
        "outside": fmean(outside) if outside else None,
    }


def scored_prompts(scores: dict[str, float | None], ranked: Iterable[RankedPrompt]) -> list[ScoredPrompt]:
    """The people's places and the judge's scores of the same answers; an answer without one has None."""
    return [
        ScoredPrompt(
            lengths=tuple(len(answer.text) for answer in line.answers),
            places=line.places,
            scores=tuple(scores.get(response.id) for response in as_responses([line])),
        )
        for line in ranked
    ]


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
    key = "heldout_loss_before" if model == "M0" else "heldout_loss"
    loss: float | None = _summary(run_folder, model)[key]
    return loss


def heldout_losses(run_folder: Path, model: str) -> list[tuple[float, int]]:
    """Of every held-out instruction the loss in nats and its tokens; none of a run of an older version."""
    return [(nats, tokens) for nats, tokens in _summary(run_folder, model).get("heldout_losses", [])]


def _summary(run_folder: Path, model: str) -> dict[str, Any]:
    """What the training of a model says of itself."""
    training = {"M0": "M1/sft", "M1": "M1/sft", "SFT": "SFT/sft"}.get(model, f"{model}/dpo")
    summary: dict[str, Any] = json.loads((run_folder / training / "summary.json").read_text("utf-8"))
    return summary


def _mean(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return fmean(known) if known else None
