"""People's grades as seed data that teaches judging: ranked answers, in the form of seeds.loading."""

from collections import Counter
from collections.abc import Iterable, Sequence

from srlm.people.asking import Item, Vote
from srlm.people.results import Voted, voted
from srlm.seeds.loading import RankedAnswer, RankedPrompt, Split


def ranked_lines(
    items: Sequence[Item], votes: Iterable[Vote], *, held_out: bool = False
) -> tuple[list[RankedPrompt], Counter[str]]:
    """A line a prompt with two or more different answers that people graded; and how many answers were left
    out or merged, by the reason.

    An answer's score is the mean of its annotators' grades, rounded, a half up: 3 and 4 give 4. Its
    justification is the longest note of an annotator whose grade is that score, empty where none wrote one.
    Answers of one text are one answer with the grades of all, whose author is every model that wrote it.
    `held_out`: the prompts are a run's held-out ones; their lines say so, to measure a judge by and not to
    teach it.
    """
    left: Counter[str] = Counter()
    prompts: dict[str, dict[str, list[Voted]]] = {}
    for one in voted(items, votes):
        if reason := _unusable(one):
            left[reason] += 1
        else:
            texts = prompts.setdefault(one.item.prompt, {})
            texts.setdefault(one.item.answers[0].text.strip(), []).append(one)
    lines = []
    for prompt, texts in prompts.items():
        left["merged with another of the same text"] += sum(len(copies) - 1 for copies in texts.values())
        if len(texts) < 2:
            left["the only graded answer to its prompt"] += len(texts)
        else:
            answers = tuple(_answer(copies) for copies in texts.values())
            side: Split | None = "heldout" if held_out else None
            lines.append(RankedPrompt(prompt=prompt, answers=answers, split=side))
    return lines, +left


def rounded_mean(grades: Sequence[int]) -> int:
    """The mean as a whole number, a half up.

    >>> rounded_mean([3, 4]), rounded_mean([3, 3, 4])
    (4, 3)
    """
    return (2 * sum(grades) + len(grades)) // (2 * len(grades))


def _unusable(one: Voted) -> str:
    """Why an item is no graded answer; empty where it is one."""
    if one.item.check:
        return "an attention check"
    if len(one.item.answers) != 1:
        return "compared, and not graded"
    if not one.item.answers[0].text.strip() or not one.item.prompt.strip():
        return "an empty text"
    return "" if one.grades else "without a grade"


def _answer(copies: Sequence[Voted]) -> RankedAnswer:
    grades = [(grade, one.votes[who].note.strip()) for one in copies for who, grade in one.grades.items()]
    score = rounded_mean([grade for grade, _ in grades])
    return RankedAnswer(
        text=copies[0].item.answers[0].text,
        score=score,
        justification=max((note for grade, note in grades if grade == score), key=len, default=""),
        author=", ".join(dict.fromkeys(one.item.models[0] for one in copies)),
        labelled_by="people",
    )
