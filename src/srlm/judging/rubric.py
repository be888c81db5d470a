"""The judge's prompt (paper, figure 2, in our own words) and the judge's training target.

The response is data: its delimiters are escaped before it is filled in, and templates are filled
in one pass, so no response can close its own box or reach the instructions (trap 2 of the field).
"""

import re

from srlm.records import Conversation, ask
from srlm.templates import fill, template

GRADES = range(6)
_TAG = re.compile(r"<\s*/?\s*(?:instruction|response)\b", re.I)


def judge_conversation(instruction: str, response: str) -> Conversation:
    """One user turn that asks for an additive score of 0 to 5."""
    text = template("judge_additive")
    return ask(fill(text, instruction=_escape(instruction), response=_escape(response)))


def judge_target(justification: str, score: int) -> str:
    """What a good judge replies: the reasons first, then the score (section 2.1, EFT)."""
    return f"{justification}\nScore: {score}" if justification else f"Score: {score}"


def _escape(text: str) -> str:
    return _TAG.sub(lambda match: "&lt;" + match.group(0)[1:], text)
