"""GSM8K (Cobbe et al. 2021): school mathematics with one number as the answer. No judge, no network.

    grades = grade(read_questions(path), solutions)     # solutions: from a question to a model's text
    figures = gsm8k_figures([[one] for one in grades])  # plain JSON, with intervals
    print(gsm8k_table(figures))

Two figures, as in lm-evaluation-harness's strict-match and flexible-extract:

    marked       the number after the last `####`, or where there is none, after the last `A:` that begins a
                 line, the form of the 4 x 659 solutions that the paper's authors published; comparing it
                 with the gold answer as numbers gives their `is_correct` on every one
    last_number  the same, and where no number is marked, the last number of the text: what a model may have
                 meant that never learned the form

The harness takes the first `####` and compares texts; a chat model writes headings with it, so the last
counts here, a numbered heading ("#### 1. Add them") is none, and 18, $18.00 and 18 are one number.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from srlm.errors import DataError
from srlm.evaluation.intervals import Share, bootstrap
from srlm.seeds.source import Bad, Source, in_lines, listed, shown

_REQUEST = (
    "{question}\n\n"
    "Solve this step by step. End with a line of the form `#### n`, "
    "where n is the final answer: a plain number without a unit."
)
_NUMBER = re.compile(
    r"""
    (?P<sign> (?<![\w).%])[-−]\$? | \$[-−]? | )       # a minus after a number takes away, and is no sign
    (?P<digits> (?> (?>[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+) (?:\.[0-9]+)? | \.[0-9]+ ) )
    (?P<over> (?: \s?/\s?[0-9]+ )+ )?
    """,
    re.VERBOSE,
)
_MARKS = (re.compile(r"####[ \t*_\\]*"), re.compile(r"(?m)^A:[ \t*_\\]*"))
_HEADING = re.compile(r"\.[ \t]+\S")
_CALCULATOR = re.compile(r"(?m)<<[^<>\n]*(?:>>|$)")


@dataclass(frozen=True)
class Question:
    """A question and its gold answer."""

    text: str
    gold: Decimal


@dataclass(frozen=True)
class Grade:
    """What was read from one solution; None where there was no number."""

    question: Question
    is_empty: bool
    marked: Decimal | None
    last_number: Decimal | None

    def is_correct(self, mode: str = "marked") -> bool:
        """Whether the number that `mode` reads, `marked` or `last_number`, is the gold answer."""
        found: Decimal | None = getattr(self, mode)
        return found == self.question.gold

    def row(self) -> dict[str, Any]:
        """The grade as plain JSON, numbers as text, for the raw outputs of an evaluation."""
        numbers = {"gold": self.question.gold, "marked": self.marked, "last_number": self.last_number}
        read = {name: None if number is None else str(number) for name, number in numbers.items()}
        return {"question": self.question.text, **read, "is_correct": self.is_correct()}


def request_text(question: str) -> str:
    """What a chat model is asked: the question, and to end with `#### n`."""
    return _REQUEST.format(question=question.strip())


# --- Reading a solution ---


def marked_number(solution: str) -> Decimal | None:
    """The number that a solution marks as its answer, after `####` or `A:`; None where it marks none.

    Dollar signs, thousands' commas, bold print and what the calculator wrote (`<<3*4=12>>`) are seen through;
    a unit after the number is not looked at. A fraction is no number: GSM8K's answers are whole.
    """
    solution = _CALCULATOR.sub("", solution)
    for mark in _MARKS:
        marked = [found for place in mark.finditer(solution) if (found := _number_at(solution, place.end()))]
        if marked:
            return _value(marked[-1])
    return None


def last_number(solution: str) -> Decimal | None:
    """The number that a solution marks, or where it marks none, the last of its text."""
    marked = marked_number(solution)
    if marked is not None:
        return marked
    found = list(_NUMBER.finditer(_CALCULATOR.sub("", solution)))
    return _value(found[-1]) if found else None


def _number_at(text: str, place: int) -> re.Match[str] | None:
    found = _NUMBER.match(text, place)
    return None if found is None or _HEADING.match(text, found.end()) else found


def _value(found: re.Match[str]) -> Decimal | None:
    if found["over"]:
        return None
    value = Decimal(found["digits"].replace(",", ""))
    return -value if {"-", "−"} & set(found["sign"]) else value


# --- Questions and grades ---


def read_questions(path: Path) -> list[Question]:
    """The questions of a file in GSM8K's own form: JSON lines with `question` and `answer`, gzipped or not.

    Raises one DataError that names every bad line, answers without a number and repeated questions included.
    """
    questions: dict[str, Question] = {}
    faults = []
    for number, value in Source.open(path):
        found = _question(value)
        if isinstance(found, str):
            faults.append(f"line {number}: {found}")
        elif found.text in questions:
            faults.append(f"line {number}: its question stands in an earlier line")
        else:
            questions[found.text] = found
    if faults:
        raise DataError(
            shown(str(path), 400),
            f"{len(faults)} of its lines cannot be used{in_lines(faults)}",
            'give lines of the form {"question": "...", "answer": "... #### 12"}; none is left out silently',
        )
    return list(questions.values())


def _question(value: object) -> Question | str:
    """The question of one line, or what is wrong with it."""
    if not isinstance(value, dict):
        return str(value) if isinstance(value, Bad) else "it is not an object"
    question, answer = value.get("question"), value.get("answer")
    if not isinstance(question, str) or not question.strip() or not isinstance(answer, str):
        return "`question` or `answer` is missing, empty or not text"
    gold = marked_number(answer)
    return "`answer` marks no number with ####" if gold is None else Question(question, gold)


def grade(questions: Sequence[Question], solutions: Mapping[str, str]) -> list[Grade]:
    """The grades of the solution to every question, by its text; no question is left out.

    Raises DataError where a question has no solution, or one that is not text.
    """
    faults = [
        f"{shown(question.text)} ({'not text' if question.text in solutions else 'no solution'})"
        for question in questions
        if not isinstance(solutions.get(question.text), str)
    ]
    if faults:
        raise DataError(
            f"solutions to {len(questions)} questions of GSM8K",
            f"{len(faults)} of them cannot be graded: {listed(faults, 5)}",
            "answer every question; where a model wrote nothing, its solution is an empty text and a fail",
        )
    return [_grade(question, solutions[question.text]) for question in questions]


def grade_draws(questions: Sequence[Question], draws: Sequence[Sequence[str]]) -> list[list[Grade]]:
    """The grades of several solutions to each question, in the order of the questions."""
    return [
        [_grade(question, solution) for solution in solutions]
        for question, solutions in zip(questions, draws, strict=True)
    ]


def _grade(question: Question, solution: str) -> Grade:
    return Grade(question, not solution.strip(), marked_number(solution), last_number(solution))


# --- Figures ---


def gsm8k_figures(grades: Sequence[Sequence[Grade]], seed: int = 0) -> dict[str, Any]:
    """All figures as plain JSON, of one or more solutions to each question; estimates are {value, low, high,
    num}, shares are 0..1.

    `questions`, `solutions`, `empty` (solutions without text) and `unmarked` (without a marked number) are
    numbers, and both kinds count as fails; `marked`, the headline, and `last_number` are shares of right
    solutions; `pass_at`, by k = 1, 2, 4 ... up to the solutions a question has, the chance that one of k is
    right, as marked (Chen et al. 2021, the unbiased estimate). Intervals draw questions.
    """
    every = [one for group in grades for one in group]
    draws = min(map(len, grades), default=0)
    return {
        "questions": len(grades),
        "solutions": len(every),
        "empty": sum(item.is_empty for item in every),
        "unmarked": sum(item.marked is None for item in every),
        "marked": _share(grades, "marked", seed),
        "last_number": _share(grades, "last_number", seed),
        "pass_at": {
            str(k): _pass_at(grades, k, seed) for k in (2**power for power in range(draws.bit_length()))
        },
    }


def _share(grades: Sequence[Sequence[Grade]], mode: str, seed: int) -> dict[str, Any]:
    def part(group: Sequence[Grade]) -> Share:
        return sum(one.is_correct(mode) for one in group), len(group)

    return asdict(bootstrap(grades, part, seed=seed))


def _pass_at(grades: Sequence[Sequence[Grade]], k: int, seed: int) -> dict[str, Any]:
    def part(group: Sequence[Grade]) -> Share:
        return pass_at(len(group), sum(one.is_correct() for one in group), k), 1

    return asdict(bootstrap(grades, part, seed=seed))


def pass_at(num: int, right: int, k: int) -> float:
    """The chance that one of k solutions is right, of `num` seen: 1 - C(num - right, k) / C(num, k)."""
    return 1 - math.comb(num - right, k) / math.comb(num, k)


def gsm8k_table(figures: Mapping[str, Any]) -> str:
    """The figures as plain text: percent, with the 95 % interval in brackets ([–]: the data cannot say)."""
    rows = [
        f"GSM8K: {figures['questions']} questions, {figures['unmarked']} of {figures['solutions']} solutions "
        f"without #### and a number, {figures['empty']} of them empty",
        f"% right, as marked                 {_percent(figures['marked'])}",
        f"% right, or else the last number   {_percent(figures['last_number'])}",
    ]
    if len(figures["pass_at"]) > 1:
        rows += [f"% pass@{k:<28}{_percent(found)}" for k, found in figures["pass_at"].items()]
    return "\n".join(rows)


def _percent(estimate: Mapping[str, Any]) -> str:
    if estimate["value"] is None:
        return "–"
    low, high = estimate["low"], estimate["high"]
    inside = "–" if low is None or high is None else f"{100 * low:.1f}, {100 * high:.1f}"
    return f"{100 * estimate['value']:.2f} [{inside}]"
