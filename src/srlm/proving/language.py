"""The language of the small world: its words, its chat format, its rubric, and its documents.

A word is a token, so a prompt has seven to eleven of them and a verdict about ten. A model of this language
is a model like any other: a folder that transformers loads.
"""

import re

from srlm.proving.tasks import BRACKETS, EDGES, ENDS, LETTERS, NODES, OPERATIONS, RAMBLE, TOP, Flags

CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|> {{ message['content'] }} <|bot|> "
    "{% else %}{{ message['content'] }} <|end|> {% endif %}"
    "{% endfor %}"
)
RUBRIC = f"""---
scale: [0, {TOP}]
verdict: "Score: {{}}"
---
judge <task> {{{{instruction}}}} </task> <work> {{{{response}}}} </work>
Score:
"""
CHOICE_RUBRIC = f"""---
scale: [0, {TOP}]
verdict: "Level: {{}}"
---
rate <task> {{{{instruction}}}} </task> <work> {{{{response}}}} </work>
Level:
"""
"""One choice among levels, without remarks: the form that the paper compares with (section 2.1)."""
META_RUBRIC = """---
choices: [A, B, tie]
verdict: "Better: {}"
---
compare <asked> {{instruction}} </asked> <one> {{first}} </one> <two> {{second}} </two>
Better:
"""
OTHER_TASK = "another <task> {{task}} </task>\n"
WORDS = tuple(
    dict.fromkeys(
        (
            *("<|pad|>", "<|unknown|>", "<|end|>", "<|user|>", "<|bot|>", "\n"),
            *("walk", *OPERATIONS, "up", "low", *BRACKETS, *ENDS),
            *(*LETTERS, *LETTERS.upper(), *NODES, *EDGES),
            *("[", "]", "(", ")", *ENDS.values(), RAMBLE),
            *("judge", "rate", "<task>", "</task>", "<work>", "</work>", "yes", "no", "Score:", "Level:"),
            *map(str, range(TOP + 1)),
        )
    )
)
"""Padding, the unknown and the end first, as `word_tokenizer` wants them."""
TALK = (
    "compare",
    "another",
    "<asked>",
    "</asked>",
    "<one>",
    "</one>",
    "<two>",
    "</two>",
    "Better:",
    "tie",
    "both",
    "neither",
)
"""More words, for worlds that talk about judging."""
_ASKED = re.compile(r"judge <task> (.*) </task> <work> (.*) </work>\nScore:", re.S)


def remarks(flags: Flags) -> str:
    """What a judge says before its grade: a word a requirement."""
    return " ".join("yes" if flag else "no" for flag in flags)


def document(prompt: str, reply: str) -> str:
    """A prompt and its reply as the model reads them."""
    return f"<|user|> {prompt} <|bot|> {reply} <|end|>"


def asked_to_judge(prompt: str, answer: str) -> str:
    """What a judge is asked, as RUBRIC does."""
    return f"judge <task> {prompt} </task> <work> {answer} </work>\nScore:"


def judged_in(asked: str) -> tuple[str, str] | None:
    """The task and the answer that a judge was asked about by RUBRIC; None for another text."""
    found = _ASKED.fullmatch(asked)
    return (found[1], found[2]) if found else None


def judgment(said: str, score: int) -> str:
    """What it replies; `said` are remarks, or nothing."""
    return f"{said}\nScore: {score}" if said else f"Score: {score}"


def comparison(asked: str, one: str, two: str, said: str, better: str) -> str:
    """Two judgments of an answer beside each other, as META_RUBRIC asks, and which is better, A, B or tie."""
    question = f"compare <asked> {asked} </asked> <one> {one} </one> <two> {two} </two>\nBetter:"
    return document(question, f"{said}\nBetter: {better}")


def request(prompt: str, other: str) -> str:
    """A request for another task, as OTHER_TASK makes it, and one."""
    return document(f"another <task> {prompt} </task>", other)
