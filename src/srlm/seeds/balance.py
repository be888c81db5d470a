"""Ranked prompts from which length cannot be learned as quality.

People prefer the longer answer in two pairs of three (Open Assistant), so a judge that learns length looks
good and makes the loop's answers grow. Where the longer answer is the better one as often as not, length
teaches nothing.
"""

from collections.abc import Iterable
from itertools import combinations

from srlm.records import seed_for
from srlm.seeds.loading import RankedPrompt


def longer_wins(line: RankedPrompt) -> int:
    """Pairs of a prompt's answers in which the longer one is better, less those in which it is worse."""
    items = list(zip(line.places, (len(answer.text) for answer in line.answers), strict=True))
    found = 0
    for (one, length), (other, other_length) in combinations(items, 2):
        better = (other > one) - (other < one)
        found += better * ((length > other_length) - (length < other_length))
    return found


def without_length(lines: Iterable[RankedPrompt]) -> list[RankedPrompt]:
    """The training prompts, less so many that the longer answer wins as often as not; held-out ones all.

    Those go that lean the way of the whole, by chance from their content, until the lean is gone.
    """
    kept = list(lines)
    leans = {line.prompt: longer_wins(line) for line in kept if line.split != "heldout"}
    total = sum(leans.values())
    side = 1 if total > 0 else -1
    dropped = set()
    for prompt in sorted(leans, key=lambda prompt: seed_for("balance", prompt)):
        if 0 < leans[prompt] * side <= total * side:
            dropped.add(prompt)
            total -= leans[prompt]
    return [line for line in kept if line.prompt not in dropped]
