"""Rubrics are files: how a judge is asked, which verdicts it may give, and how a verdict looks.

A rubric is a text with a head between two lines of ``---``::

    ---
    scale: [0, 5]           # lowest and highest grade; or choices: [A, B, tie] to compare two responses
    whole: true             # false lets the judge give 8.5
    verdict: "Score: {}"    # how the verdict is written; {} stands for the grade
    ---
    ... <question>{{instruction}}</question> <answer>{{response}}</answer> ... Score: <grade>

Each slot stands in a box of its own tags. A text to compare two responses has {{first}} and {{second}}
instead of {{response}}. Built-in ones lie in
judging/rubrics, in our own words: `additive` (paper, figure 2), `multiple_choice` (the paper's compared
prompt), `pairwise`, `meta` (of two judgments), and `mt_bench`. A verdict form with ``[[{}]]`` is read as
MT-Bench's is, any other as a line of its own (judging/reading.py).

What is judged is data: the tags of the boxes are escaped in it, and it is filled in once, in one pass, so no
response can close its own box or reach the instructions (trap 2 of the field).
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from srlm.errors import ConfigError
from srlm.records import Conversation, ask
from srlm.templates import fill, slots

BUILTIN = ("additive", "multiple_choice", "mt_bench", "pairwise", "meta")
SEED_TOP = 5
"""Seed answers are scored from 0 to 5, whatever the rubric's scale."""

_HEAD = re.compile(r"\A---\n(.*?)\n---\n(.*)\Z", re.S)
_BOX = re.compile(r"<([\w-]+)(?:\s[^<>]*)?>\s*\{\{(\w+)\}\}\s*</\1\s*>")
_KEYS = {"scale", "whole", "choices", "verdict"}
_ONE, _TWO = {"instruction", "response"}, {"instruction", "first", "second"}


@dataclass(frozen=True)
class Rubric:
    """A text to judge by. `digest` changes with every character of its file."""

    name: str
    text: str
    verdict: str
    grades: tuple[str, ...]
    whole: bool
    digest: str

    @property
    def version(self) -> str:
        """What a judgment remembers of the rubric it was made with."""
        return f"{self.name}@{self.digest[:12]}"

    @property
    def compares(self) -> bool:
        """Whether it compares two responses instead of grading one."""
        return slots(self.text) == _TWO

    @cached_property
    def lowest(self) -> int:
        return int(self.grades[0])

    @cached_property
    def highest(self) -> int:
        return int(self.grades[-1])

    @cached_property
    def before_grade(self) -> str:
        """What is put into the judge's mouth to read the next token as a grade."""
        return self.verdict.partition("{}")[0]

    @cached_property
    def best_verdict(self) -> str:
        """The verdict that every response would like to get."""
        return self.verdict.replace("{}", self.grades[-1] if not self.compares else self.grades[0])

    @cached_property
    def _tags(self) -> re.Pattern[str]:
        names = sorted({re.escape(name) for name, _ in _BOX.findall(self.text)})
        return re.compile(rf"<\s*/?\s*(?:{'|'.join(names)})(?![\w-])", re.I)

    def conversation(self, instruction: str, response: str) -> Conversation:
        """One user turn that asks for a grade of one response."""
        return self._ask(instruction=instruction, response=response)

    def comparison(self, instruction: str, first: str, second: str) -> Conversation:
        """One user turn that asks which of two responses is better."""
        return self._ask(instruction=instruction, first=first, second=second)

    def target(self, justification: str, score: int) -> str:
        """What a good judge replies to a seed answer of `score`, 0 to 5: the reasons, then the verdict.

        On another scale the grade lies where the score lies between 0 and 5 (section 2.1, EFT).
        """
        grade = round(self.lowest + score / SEED_TOP * (self.highest - self.lowest))
        verdict = self.verdict.replace("{}", str(grade))
        return f"{justification}\n{verdict}" if justification else verdict

    def seed_score(self, grade: float) -> int:
        """The score from 0 to 5 that lies where the grade lies on this rubric's scale."""
        return round((grade - self.lowest) / (self.highest - self.lowest) * SEED_TOP)

    def _ask(self, **texts: str) -> Conversation:
        return ask(fill(self.text, **{name: self._escape(text) for name, text in texts.items()}))

    def _escape(self, text: str) -> str:
        return self._tags.sub(lambda match: "&lt;" + match.group(0)[1:], text)


def load_rubric(reference: str) -> Rubric:
    """The rubric of a built-in name or of a file; raises ConfigError that says what is wrong with it."""
    if reference in BUILTIN:
        text = files("srlm").joinpath("judging", "rubrics", f"{reference}.md").read_text("utf-8")
        return parse_rubric(reference, text)
    path = Path(reference).expanduser()
    try:
        return parse_rubric(path.stem, path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"rubric {reference}",
            f"it is neither a built-in rubric nor a file that can be read ({error})",
            f"name one of {', '.join(BUILTIN)}, or a file of the form in docs/judging.md",
        ) from error


def grading_rubric(reference: str) -> Rubric:
    """A rubric that grades one response; raises ConfigError for one that compares two."""
    rubric = load_rubric(reference)
    if rubric.compares:
        raise ConfigError(
            f"judge.rubric={reference}",
            "it compares two responses, and here each response needs a grade of its own",
            "name a rubric with a scale, such as additive",
        )
    return rubric


def comparing_rubric(reference: str) -> Rubric:
    """A rubric that compares two responses; raises ConfigError for one that grades."""
    rubric = load_rubric(reference)
    if not rubric.compares:
        raise ConfigError(
            f"rubric {reference}",
            "it grades one response, and here two are compared",
            "name a rubric with choices, such as pairwise",
        )
    return rubric


def parse_rubric(name: str, text: str) -> Rubric:
    """The rubric that a file's text describes; raises ConfigError."""
    split = _HEAD.match(text)
    if not split:
        raise _bad(name, "it does not begin with a head between two lines of ---")
    try:
        head = yaml.safe_load(split[1])
    except yaml.YAMLError as error:
        raise _bad(name, f"its head is not YAML ({' '.join(str(error).split())[:120]})") from error
    body = split[2].rstrip("\n")
    fault = _fault(head, body)
    if fault:
        raise _bad(name, fault)
    return Rubric(
        name=name,
        text=body,
        verdict=head["verdict"],
        grades=_grades(head),
        whole=head.get("whole", True),
        digest=hashlib.sha256(text.encode()).hexdigest(),
    )


def _fault(head: Any, body: str) -> str | None:
    """What is wrong with a rubric, or None."""
    if not isinstance(head, dict) or set(head) - _KEYS:
        return f"its head may hold {', '.join(sorted(_KEYS))} and nothing else"
    verdict = head.get("verdict")
    if not isinstance(verdict, str) or verdict.count("{}") != 1 or not verdict.partition("{}")[0].strip():
        return 'verdict must be a text with words and one {} for the grade, such as "Score: {}"'
    if verdict.partition("{}")[0].strip() not in body:
        return f"the text never asks for the verdict form {verdict!r}, so no judge would write it"
    if ("scale" in head) == ("choices" in head) or not isinstance(head.get("whole", True), bool):
        return (
            "its head needs either scale: [lowest, highest] or choices: [A, B, tie]; whole is true or false"
        )
    if not _grades(head):
        return "scale must be two whole numbers, the lower first, and choices words for first, second, tie"
    return _fault_of_slots(head, body)


def _fault_of_slots(head: dict[str, Any], body: str) -> str | None:
    wanted = _ONE if "scale" in head else _TWO
    if slots(body) != wanted:
        return f"its text has the slots {sorted(slots(body))} and needs {sorted(wanted)}"
    if open_slots := sorted(wanted - {slot for _, slot in _BOX.findall(body)}):
        slot = f"{{{{{open_slots[0]}}}}}"
        return f"{slot} stands in no box such as <text>{slot}</text>, so a text could pass for instructions"
    return None


def _grades(head: dict[str, Any]) -> tuple[str, ...]:
    values = head.get("scale", head.get("choices"))
    if not isinstance(values, list):
        return ()
    if "choices" in head:
        return tuple(values) if len(values) == 3 and all(isinstance(value, str) for value in values) else ()
    if len(values) != 2 or any(type(value) is not int for value in values) or not 0 <= values[0] < values[1]:
        return ()
    return tuple(str(grade) for grade in range(values[0], values[1] + 1))


def _bad(name: str, why: str) -> ConfigError:
    return ConfigError(f"rubric {name}", why, "mend the file; the form is in docs/judging.md")
