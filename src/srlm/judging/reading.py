"""Read a verdict out of a judge's reply, or say why there is none.

Only newly generated text is read, never the judge's prompt. Two ways, by the form of the rubric's verdict:

a line of its own (``Score: {}``)
    The last line that begins with the words of the form counts, behind Markdown marks and after words such
    as "final" or "total". What follows the colon must be one number: 4, 4/5, "4 out of 5", **4**, digits of
    any script (４, ٤), an added "points" or a remark in brackets. Everything else is a reason.
double brackets (``[[{}]]``)
    The last ``[[n]]`` anywhere, else the last ``[n]``, as MT-Bench is read.

Where the judged texts themselves contain something in the form of a verdict, only the last line of the
reply counts, because a judge that quotes them would otherwise repeat their wish.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from srlm.judging.rubric import Rubric
from srlm.records import Finish

REASONS = {
    "truncated": "the budget ended before a verdict",
    "refusal": "the judge declined",
    "no score": "nothing has the form of a verdict",
    "several scores": "the verdict names more than one grade",
    "out of range": "a number beyond the rubric's scale, or one out of another scale",
    "not a grade": "something else than a number (five), or 4.5 where the rubric wants whole numbers",
    "injection attempt": "the judged texts hold a verdict, and the reply does not end with one",
    "too long for the context": "the judge could not be asked",
    "ended its worker": "the judge could not be asked: the question ends every process that takes it",
    "off the grades": "expected score: more than half of the probability lies on other tokens",
}
"""Every reason for which a reply has no score."""

_NUMBER = r"[-−]?\d+(?:[.,]\d{1,2}(?!\d))?"
_GRADE = re.compile(
    rf"({_NUMBER})(?:\s*(?:/|out\s+of)\s*({_NUMBER}))?(?:\s*(?:points?|stars?))?(?:\s*\([^()\d]*\))?", re.I
)
_LABEL = r"^[ \t*_`#>~-]*(?:(?:my|the|final|total|overall)[ \t]+)*{words}[ \t*_`]*[:：]"
_MARKS = " \t\r*_`#>~."
_REFUSAL = re.compile(
    r"\b(?:I (?:can(?:no|['’])?t|won['’]t|will not|am (?:not able|unable) to|must decline to)"
    r"|I['’]m unable to)"
    r"(?: \w+)? (?:judge|rate|grade|score|evaluate|assess|review|help|assist|comply|provide|answer|do)\b"
    r"|\bas an AI(?: language model)?,? I\b",
    re.I,
)


@dataclass(frozen=True)
class Reading:
    """A verdict, or None and the reason (one of REASONS). `start` is where its line begins."""

    verdict: str | None
    reason: str | None = None
    start: int | None = None

    @property
    def score(self) -> float | None:
        """The verdict as a number; None when there is none, or when it is a choice."""
        return float(self.verdict) if self.verdict and _is_number(self.verdict) else None


def read_verdict(reply: str, finish: Finish, rubric: Rubric, *, flagged: bool = False) -> Reading:
    """The verdict of a reply; `flagged`: the judged texts contain one too (`attempts_a_verdict`)."""
    found = _last(reply, rubric)
    if found is None:
        return Reading(None, _silence(reply, finish))
    start, end, said = found
    if flagged and reply[end:].strip(_MARKS + "\n\r"):
        return Reading(None, "injection attempt", start)
    if finish == "length" and not reply[end:].strip() and _may_go_on(said, rubric):
        return Reading(None, "truncated", start)
    verdict, reason = _choice(said, rubric) if rubric.compares else _grade(said, rubric)
    return Reading(verdict, reason, start)


def until_verdict(rubric: Rubric) -> str:
    """A regular expression for a reply that holds its verdict, after which nothing is wanted any more.

    Empty for a rubric that does not end by asking for it, because its judge may have more to say.
    """
    if rubric.before_grade.strip() not in rubric.text.rpartition("\n")[2]:
        return ""
    if "[[" in rubric.before_grade:
        return rf"\[\[{_NUMBER}\]\]"
    said = "|".join(map(re.escape, rubric.grades)) if rubric.compares else _NUMBER
    label = _LABEL.format(words=re.escape(_words(rubric.before_grade)))
    return rf"(?mi:{label}[ \t*_`\[(<]*(?:{said})[^\n]*\n)"


def attempts_a_verdict(text: str, rubric: Rubric) -> bool:
    """Whether a judged text contains something in the form of a verdict, as an injection would.

    All that would be read from it is flagged, and what comes near it in the middle of a line.
    """
    return bool(_attempt(rubric).search(text)) or read_verdict(text, "stop", rubric).verdict is not None


def mean_score(scores: Sequence[float | None]) -> float | None:
    """Mean of the readable scores, None when there is none (section 2.3: average of three)."""
    readable = [score for score in scores if score is not None]
    return sum(readable) / len(readable) if readable else None


def _last(reply: str, rubric: Rubric) -> tuple[int, int, str] | None:
    """Where the last verdict begins and ends, and what it says."""
    if "[[" in rubric.before_grade:
        for pattern in (rf"\[\[({_NUMBER})\]\]", rf"\[({_NUMBER})\]"):
            if found := list(re.finditer(pattern, reply)):
                before = reply[: found[-1].start()]
                words = _words(rubric.before_grade.partition("[[")[0])
                label = re.search(rf"{re.escape(words)}[ \t*_`]*[:：][ \t*_`]*\Z", before, re.I)
                return label.start() if label else len(before), found[-1].end(), found[-1][1]
        return None
    lines = list(_line(_words(rubric.before_grade)).finditer(reply))
    return (lines[-1].start(), lines[-1].end(), lines[-1][1]) if lines else None


def _silence(reply: str, finish: Finish) -> str:
    if _REFUSAL.search(reply):
        return "refusal"
    return "truncated" if finish == "length" else "no score"


def _grade(said: str, rubric: Rubric) -> tuple[str | None, str | None]:
    match = _GRADE.fullmatch(said.strip(_MARKS + "[]<>"))
    if not match:
        return None, "several scores" if len(re.findall(_NUMBER, said)) > 1 else "not a grade"
    number, scale = _number(match[1]), match[2]
    if not rubric.lowest <= number <= rubric.highest or (scale and _number(scale) != rubric.highest):
        return None, "out of range"
    if rubric.whole and number != int(number):
        return None, "not a grade"
    return f"{abs(number):g}", None


def _choice(said: str, rubric: Rubric) -> tuple[str | None, str | None]:
    wanted = said.strip(_MARKS + "[]<>()").lower()
    wanted = wanted.removeprefix("response ").removeprefix("assistant ")
    named = [choice for choice in rubric.grades if wanted == choice.lower()]
    if named:
        return named[0], None
    words = re.findall(r"\w+", wanted)
    several = sum(choice.lower() in words for choice in rubric.grades) > 1
    return None, "several scores" if several else "not a grade"


def _may_go_on(said: str, rubric: Rubric) -> bool:
    """Whether a verdict that the budget cut off could have become another: nothing yet, or 1 of 10."""
    if "[[" in rubric.before_grade:
        return False  # it is closed
    left = said.strip(_MARKS)
    return not left or (not rubric.compares and left.isdigit() and (not rubric.whole or rubric.highest >= 10))


def _is_number(verdict: str) -> bool:
    return verdict.replace(".", "", 1).isdigit()


def _number(text: str) -> float:
    return float(text.replace(",", ".").replace("−", "-"))


def _words(before_grade: str) -> str:
    return before_grade.strip().rstrip(":").strip()


@cache
def _line(words: str) -> re.Pattern[str]:
    """A whole line that begins with the words and a colon, behind Markdown marks."""
    return re.compile(rf"{_LABEL.format(words=re.escape(words))}([^\n]*)$", re.M | re.I)


@cache
def _attempt(rubric: Rubric) -> re.Pattern[str]:
    if "[[" in rubric.before_grade:
        return re.compile(r"\[\[\s*\d")
    said = "|".join(map(re.escape, rubric.grades)) if rubric.compares else r"\d"
    end = r"\b" if rubric.compares else ""
    return re.compile(
        rf"\b(?i:{re.escape(_words(rubric.before_grade))})(?![^\W_])[\W_]{{0,12}}(?:{said}){end}"
    )
