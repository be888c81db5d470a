"""Scores and reasons from human ranks, where no baseline is able to judge: the alternative to section 2.1."""

from collections.abc import Mapping, Sequence

from srlm.seeds.loading import RankedAnswer
from srlm.seeds.oasst import Message


def scored_by_rank(
    bare: tuple[RankedAnswer, ...], answers: tuple[Message, ...], *, justify: bool
) -> tuple[RankedAnswer, ...]:
    """Scores spread evenly over the places, 5 for the best and 1 for the worst; equal ranks share one."""
    order = list(dict.fromkeys(answer.rank for answer in answers))  # answers stand best first
    last = len(order) - 1
    scores = [round(5 - 4 * order.index(answer.rank) / last) if last else 3 for answer in answers]
    return tuple(
        item.model_copy(
            update={
                "score": score,
                "justification": _justification(answer, score) if justify else "",
                "labelled_by": "rank",
            }
        )
        for item, answer, score in zip(bare, answers, scores, strict=True)
    )


_EARNED = {
    5: "It does what is asked as well as one could wish.",
    4: "It answers well and leaves little to improve.",
    3: "It answers the basic question, though not as well as it could.",
    2: "It deals with part of the question and leaves the rest open.",
    1: "It has to do with the question but hardly helps with it.",
}
"""In words what a score from a rank stands for: a judge sees one answer, so not how it compares."""
_PROBLEMS = {
    "fails_task": "fails the task",
    "spam": "is spam",
    "hate_speech": "spreads hate",
    "not_appropriate": "is not appropriate",
    "violence": "is violent",
    "sexual_content": "is sexual",
    "toxicity": "is rude",
    "lang_mismatch": "is in the wrong language",
    "pii": "gives away private details",
}
_SHOWN_PROBLEMS = 2


def _justification(answer: Message, score: int) -> str:
    """What people said of an answer, in words and in at most 40 of them; never of its length."""
    return " ".join([_EARNED[score], *_praise(answer.labels), *_blame(answer.labels)])


def _praise(labels: Mapping[str, float]) -> list[str]:
    said = []
    if "quality" in labels:
        said.append(f"of {_level(labels['quality'], 'high', 'middling', 'low')} quality")
    said += [
        word for key, word in (("creativity", "creative"), ("humor", "funny")) if labels.get(key, 0) >= 0.6
    ]
    if "helpfulness" in labels:  # last, for "not helpful and creative" could deny both
        said.append(_level(labels["helpfulness"], "helpful", "fairly helpful", "not helpful"))
    return [f"It is {_listed(said)}."] if said else []


def _blame(labels: Mapping[str, float]) -> list[str]:
    """The worst that at least half of the raters said."""
    said = sorted((key for key in _PROBLEMS if labels.get(key, 0) >= 0.5), key=lambda key: -labels[key])
    return [f"It {_listed([_PROBLEMS[key] for key in said[:_SHOWN_PROBLEMS]])}."] if said else []


def _level(value: float, high: str, middling: str, low: str) -> str:
    """The word for a mean rating; half of OASST's ranked answers have 0.75 or more in quality."""
    return high if value >= 0.7 else low if value <= 0.4 else middling


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
