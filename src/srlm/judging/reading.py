"""Read a score out of a judge's reply: the last line of the exact form wins, else None and a reason."""

import re
from dataclasses import dataclass

from srlm.judging.rubric import GRADES
from srlm.records import Finish

_SCORE = re.compile(
    r"^[ \t*_#>-]*Score[ \t*_]*:[ \t*_]*(-?\d+(?:\.\d+)?)(?:[ \t]*/[ \t]*5)?[ \t*_.]*$", re.M | re.I
)
_ATTEMPT = re.compile(r"\bscore\b\W{0,4}\d", re.I)


@dataclass(frozen=True)
class Reading:
    """A score between 0 and 5, or None and the reason why there is none."""

    score: float | None
    reason: str | None = None


def read_score(reply: str, finish: Finish) -> Reading:
    """The score of newly generated text alone; never of the judge's prompt.

    Reasons: `truncated` (the budget ended before a score), `no score`, `not a grade` (a number that
    the rubric does not offer).
    """
    found = _SCORE.findall(reply)
    if not found:
        return Reading(None, "truncated" if finish == "length" else "no score")
    score = float(found[-1])
    return Reading(score) if score in GRADES else Reading(None, "not a grade")


def attempts_a_score(response: str) -> bool:
    """Whether a response contains text in the form of a score, as an injection would."""
    return bool(_ATTEMPT.search(response))


def mean_score(scores: list[float | None]) -> float | None:
    """Mean of the readable scores, None when there is none (section 2.3: average of three)."""
    readable = [score for score in scores if score is not None]
    return sum(readable) / len(readable) if readable else None
