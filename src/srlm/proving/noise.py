"""Judges of any accuracy: the truth through noise that stays with an answer, as a judge's own errors do.

The noise is drawn from the texts, so a wrong judgment of an answer is wrong every time that it is asked for.
How accurate such a judge is, is measured like any other, on the fixed probe (`accuracy`).
"""

import json
import random
from collections.abc import Callable, Iterable
from functools import partial
from itertools import combinations
from pathlib import Path

from srlm.proving.tasks import points
from srlm.records import seed_for

Judge = Callable[[str, str], float]


def noisy(deviation: float, prompt: str, response: str) -> float:
    """The points of an answer, and noise of a normal distribution."""
    draw = seed_for("noise", prompt, " ".join(response.split()))
    return points(prompt, response) + random.Random(draw).gauss(0, deviation)  # noqa: S311  not for security


half_a_point, one_point, two_points, three_points, six_points = (
    partial(noisy, deviation) for deviation in (0.5, 1, 2, 3, 6)
)
DIAL = ("half_a_point", "one_point", "two_points", "three_points", "six_points")
"""From a judge that is hardly ever wrong to one that knows little."""


def accuracy(judge: Judge, ranked: Path) -> float:
    """The share of held-out pairs of different truth that a judge orders rightly; ties count half.

    `ranked`: a ground's answers with the points that they deserve.
    """
    found = [
        (judge(line["prompt"], one["text"]) - judge(line["prompt"], other["text"]))
        * (one["score"] - other["score"])
        for line in map(json.loads, ranked.read_text("utf-8").splitlines())
        if line["split"] == "heldout"
        for one, other in combinations(line["answers"], 2)
        if one["score"] != other["score"]
    ]
    return _share(found)


def _share(products: Iterable[float]) -> float:
    signs = [1.0 if product > 0 else 0.5 if product == 0 else 0.0 for product in products]
    return sum(signs) / len(signs)
