"""The language of the small world: its words, its chat format, its rubric, and its documents.

A word is a token, so a prompt has seven to eleven of them and a verdict about ten. A model of this language
is a model like any other: a folder that transformers loads.
"""

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


def remarks(flags: Flags) -> str:
    """What a judge says before its grade: a word a requirement."""
    return " ".join("yes" if flag else "no" for flag in flags)


def document(prompt: str, reply: str) -> str:
    """A prompt and its reply as the model reads them."""
    return f"<|user|> {prompt} <|bot|> {reply} <|end|>"


def review(prompt: str, answer: str, said: str, score: int) -> str:
    """A judgment as the model reads it; `said` are remarks, or nothing."""
    asked = f"judge <task> {prompt} </task> <work> {answer} </work>\nScore:"
    return document(asked, f"{said}\nScore: {score}" if said else f"Score: {score}")
