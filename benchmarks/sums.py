"""Sums in words whose answers a program knows: school mathematics for a model of 135 million parameters.

`points` is a checker: ``pairs.checker=sums:points`` with this folder on PYTHONPATH. GSM8K itself is out of
reach of such a model (docs/results.md), so whether a vote or a judge picks right answers is not seen there.
"""

import json
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from srlm.evaluation.gsm8k import last_number

NAMES = ("Mara", "Tobin", "Ines", "Jonas", "Leyla", "Oskar", "Priya", "Rafael")
THINGS = ("apples", "pencils", "stamps", "marbles", "stickers", "shells", "coins", "cards")
ASK = " Work it out, and end with the number."


@dataclass(frozen=True)
class Kind:
    """A form of sums in up to three numbers: what is asked, how it is worked out, and the answer."""

    asked: str
    worked: str
    answer: Callable[[int, int, int], int]


KINDS = (
    Kind(
        "{name} has {a} {things} and gets {b} more. How many {things} does {name} have now?",
        "{a} + {b} =",
        lambda a, b, c: a + b,
    ),
    Kind(
        "{name} had {a} {things} and gave {b} of them away. How many {things} are left?",
        "{a} - {b} =",
        lambda a, b, c: a - b,
    ),
    Kind(
        "There are {b} boxes with {c} {things} in each. How many {things} are there?",
        "{b} * {c} =",
        lambda a, b, c: b * c,
    ),
    Kind(
        "{name} has {a} {things}, finds {b} more and then loses {c}. How many {things} does {name} have?",
        "{a} + {b} - {c} =",
        lambda a, b, c: a + b - c,
    ),
    Kind(
        "{name} buys {b} bags of {c} {things} each and had {a} before. How many {things} is that in all?",
        "{b} * {c} + {a} =",
        lambda a, b, c: b * c + a,
    ),
)


def draw(chance: random.Random) -> tuple[str, str]:
    """A prompt and a right response; no answer is negative."""
    kind = chance.choice(KINDS)
    b, c = chance.randint(2, 9), chance.randint(2, 9)
    values = {"a": b + c + chance.randint(1, 30), "b": b, "c": c}
    prompt = kind.asked.format(name=chance.choice(NAMES), things=chance.choice(THINGS), **values) + ASK
    return prompt, f"{kind.worked.format(**values)} {kind.answer(**values)}"


def points(prompt: str, response: str) -> float:
    """1.0 where the last number is the prompt's answer, else 0.0; ValueError for a foreign prompt."""
    return float(last_number(response) == answer(prompt))


def answer(prompt: str) -> Decimal:
    """The answer to a prompt; raises ValueError for one that is none of ours."""
    for kind in KINDS:
        form = re.escape(kind.asked + ASK)
        for slot in ("name", "things"):
            form = form.replace(rf"\{{{slot}\}}", r"\w+")
        for slot in "abc":
            form = form.replace(rf"\{{{slot}\}}", rf"(?P<{slot}>\d+)")
        if found := re.fullmatch(form, prompt):
            return Decimal(kind.answer(*(int(found.groupdict().get(slot) or 0) for slot in "abc")))
    raise ValueError(f"{prompt!r} is no sum of ours")


def write(folder: Path, seed: int, gold: int, train: int, test: int) -> None:
    """Files of different sums: gold.jsonl with right responses, train.jsonl and test.jsonl without."""
    chance = random.Random(seed)
    found = iter(dict(draw(chance) for _ in range(4 * (gold + train + test))).items())
    folder.mkdir(parents=True, exist_ok=True)
    for name, size in (("gold", gold), ("train", train), ("test", test)):
        rows = [next(found) for _ in range(size)]
        lines = [
            {"prompt": prompt} | ({"response": response} if name == "gold" else {})
            for prompt, response in rows
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
