"""What people's votes say: who wins by their majority, how they grade, and how far they agree.

A prompt is won by the answer that more annotators prefer than say anything else, as in the paper (section
3.1.1, three annotators); where no side is ahead, it is a tie. Clearly or slightly makes no difference to
that. "Both are bad" is a tie, "I cannot judge" no vote. Attention checks have no part in any figure but
their own. Intervals resample prompts, so that all votes on a prompt stay together.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any, Literal

from srlm.errors import DataError
from srlm.evaluation.intervals import Estimate, Share, bootstrap
from srlm.people.agreement import agreement, krippendorff, spearman
from srlm.people.asking import BOTH_BAD, CANNOT_JUDGE, CHOICES, GRADES, Item, Vote, choices_of

Outcome = Literal["win", "tie", "loss"]
"""Of the first of two answers."""

STRENGTH: Mapping[str, int] = dict(zip(CHOICES, (2, 1, 0, -1, -2), strict=True)) | {BOTH_BAD: 0}
"""How much a choice prefers the first answer."""
VALUE: Mapping[Outcome, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0}
OUTCOMES: tuple[Outcome, ...] = ("win", "tie", "loss")
BAD = 1
"""The highest grade of an answer to another prompt with which its check is passed."""


@dataclass(frozen=True)
class Voted:
    """An item and what annotators say of it, by annotator."""

    item: Item
    votes: Mapping[int, Vote]

    @property
    def strengths(self) -> dict[int, int]:
        """By annotator how much the first of two answers is preferred, -2..2, of the votes that count."""
        return {who: STRENGTH[vote.choice] for who, vote in self.votes.items() if vote.choice in STRENGTH}

    @property
    def outcomes(self) -> dict[int, Outcome]:
        """The same as win, tie or loss."""
        return {who: outcome_of(strength) for who, strength in self.strengths.items()}

    @property
    def grades(self) -> dict[int, int]:
        """By annotator the grade of an answer."""
        return {who: int(vote.choice) for who, vote in self.votes.items() if vote.choice in GRADES}

    @property
    def longer(self) -> Outcome:
        """What preferring the answer with more characters would say; a tie for equal lengths."""
        one, other = (len(answer.text) for answer in self.item.answers)
        return outcome_of(one - other)


def comparison_figures(items: Sequence[Item], votes: Iterable[Vote], seed: int = 0) -> dict[str, Any]:
    """What people say of pairs of answers, ready for JSON; shares are 0..1, an estimate {value, low, high,
    num}.

    `prompts` with a vote that counts, `votes`, all of them, checks left out; `annotators`, by their numbers
    {votes, cannot_judge, checks, passed}; `matches`, by "M3 against M1", see match_figures. Votes on other
    items are left out. Raises DataError for a prompt that stands twice in a match.
    """
    found = voted(items, votes)
    asked = [one for one in found if not one.item.check]
    return {
        "prompts": len({one.item.prompt_id for one in asked if one.strengths}),
        "votes": sum(len(one.votes) for one in asked),
        "annotators": _annotators(found),
        "matches": {name: match_figures(match, seed) for name, match in grouped(asked).items()},
    }


def match_figures(match: Sequence[Voted], seed: int = 0) -> dict[str, Any]:
    """The first model against the second, by people.

    `models`; `prompts` with a vote that counts, and `unvoted`, those without; `annotators`; `wins`, `ties`,
    `losses` by the majority; of the ties those `split`, where no outcome is ahead, and of all prompts those
    that more than half call `both_bad`; `win_rate`, (wins + ties / 2) by all three; `sign_test`, the
    two-sided p-value over decided prompts, None without any; `by_prompt`, the outcome by prompt id. Of
    single votes: `votes`, how many of each choice; `reasons`, by tag how often with each outcome; `by_vote`,
    the share of each outcome; `strength`, their mean, 2 clearly for the first and -2 for the second.
    `length`: see longer_wins. `agreement`, of the `outcome` (nominal) and of the `choice` (ordinal): see
    agreement.
    """
    counted = [one for one in match if one.strengths]
    said = {one.item.prompt_id: majority(one.outcomes.values()) for one in counted}
    counts = Counter(outcome for outcome, _ in said.values())
    decided = [(one, said[one.item.prompt_id][0]) for one in counted]
    labels = {one.item.id: one.strengths for one in counted}
    return {
        "models": list(match[0].item.models),
        "prompts": len(counted),
        "unvoted": len(match) - len(counted),
        "annotators": len({who for one in counted for who in one.strengths}),
        "wins": counts["win"],
        "ties": counts["tie"],
        "losses": counts["loss"],
        "split": sum(split for _, split in said.values()),
        "both_bad": sum(_are_bad(one) for one in counted),
        "win_rate": asdict(bootstrap(decided, lambda one: (VALUE[one[1]], 1), seed=seed)),
        "sign_test": _sign_test(counts["win"], counts["loss"]),
        "by_prompt": {prompt: outcome for prompt, (outcome, _) in said.items()},
        **_single_votes(match, seed),
        "length": longer_wins(decided, seed),
        "agreement": {
            "outcome": agreement({one.item.id: _signs(one) for one in counted}, "nominal", seed),
            "choice": agreement(labels, "ordinal", seed),
        },
    }


def rating_figures(items: Sequence[Item], votes: Iterable[Vote], seed: int = 0) -> dict[str, Any]:
    """How people grade answers by the rubric, 0 to 5, ready for JSON.

    `prompts` with a grade, `votes`, `annotators` as in comparison_figures; `agreement` on the grades of all
    models (alpha ordinal, Cohen's kappa with squared distances; see agreement) and `alpha_interval`, with
    steps of equal size; `models`: see model_figures. Raises DataError for two answers of a model to a
    prompt.
    """
    found = voted(items, votes)
    asked = [one for one in found if not one.item.check]
    grades = {one.item.id: one.grades for one in asked if one.grades}
    return {
        "prompts": len({one.item.prompt_id for one in asked if one.grades}),
        "votes": sum(len(one.votes) for one in asked),
        "annotators": _annotators(found),
        "agreement": agreement(grades, "ordinal", seed),
        "alpha_interval": asdict(krippendorff(grades, "interval", seed)),
        "models": {name: model_figures(answers, seed) for name, answers in grouped(asked).items()},
    }


def model_figures(answers: Sequence[Voted], seed: int = 0) -> dict[str, Any]:
    """A model's grades: each answer's is the mean of its annotators', and every answer weighs the same.

    `answers` with a grade, and `unvoted`, those without; `annotators`; `mean`, with an interval over
    prompts; `by_annotator`, {mean, votes}; `votes`, how many of each grade; `length`, Spearman of grade and
    characters.
    """
    counted = [one for one in answers if one.grades]
    means = [fmean(one.grades.values()) for one in counted]
    by_annotator: dict[int, list[int]] = {}
    for one in counted:
        for who, grade in one.grades.items():
            by_annotator.setdefault(who, []).append(grade)
    return {
        "answers": len(counted),
        "unvoted": len(answers) - len(counted),
        "annotators": len(by_annotator),
        "mean": asdict(bootstrap(means, lambda mean: (mean, 1), seed=seed)),
        "by_annotator": {
            str(who): {"mean": fmean(given), "votes": len(given)}
            for who, given in sorted(by_annotator.items())
        },
        "votes": _choices(answers, choices_of("rating")),
        "length": asdict(spearman(means, [len(one.item.answers[0].text) for one in counted], seed)),
    }


def voted(items: Sequence[Item], votes: Iterable[Vote]) -> list[Voted]:
    """Every item with its votes, the last of each annotator."""
    by_item: dict[str, dict[int, Vote]] = {}
    for vote in votes:
        by_item.setdefault(vote.item, {})[vote.annotator] = vote
    return [Voted(item, by_item.get(item.id, {})) for item in items]


def grouped(found: Iterable[Voted]) -> dict[str, list[Voted]]:
    """By match, "M3 against M1", or by model where answers stand alone.

    Raises DataError for a prompt that stands twice in one of them.
    """
    groups: dict[str, dict[str, Voted]] = {}
    for one in found:
        name = " against ".join(one.item.models)
        if groups.setdefault(name, {}).setdefault(one.item.prompt_id, one) is not one:
            raise DataError(
                f"{name}, twice on the prompt {one.item.prompt[:80]!r}",
                "a prompt counts once: prompts are the unit of the intervals and of the sign test",
                "ask about one answer of a model to a prompt",
            )
    return {name: list(group.values()) for name, group in groups.items()}


def majority(outcomes: Iterable[Outcome]) -> tuple[Outcome, bool]:
    """What more annotators say than anything else; where nothing is ahead a tie, and True.

    >>> majority(["win", "win", "loss"]), majority(["win", "tie", "loss"])
    (('win', False), ('tie', True))
    """
    (most, number), *rest = Counter(outcomes).most_common()
    return ("tie", True) if rest and rest[0][1] == number else (most, False)


def outcome_of(preference: float) -> Outcome:
    """A win for what is above 0, a loss for what is below."""
    if preference == 0:
        return "tie"
    return "win" if preference > 0 else "loss"


def longer_wins(decided: Iterable[tuple[Voted, Outcome]], seed: int = 0) -> dict[str, Any]:
    """`longer`, the share of decided prompts that the answer with more characters wins; `equal`, left out,
    those whose answers are of one length.
    """
    told = [(one.longer, outcome) for one, outcome in decided if outcome != "tie"]
    unequal = [(longer, outcome) for longer, outcome in told if longer != "tie"]
    return {
        "longer": asdict(bootstrap(unequal, lambda one: (float(one[0] == one[1]), 1), seed=seed)),
        "equal": len(told) - len(unequal),
    }


def _single_votes(match: Sequence[Voted], seed: int) -> dict[str, Any]:
    """Figures of votes, those on one prompt drawn together."""
    reasons: dict[str, dict[str, int]] = {}
    for one in match:
        for who, outcome in one.outcomes.items():
            for reason in one.votes[who].reasons:
                reasons.setdefault(reason, dict.fromkeys(OUTCOMES, 0))[outcome] += 1
    return {
        "votes": _choices(match, choices_of("comparison")),
        "reasons": reasons,
        "by_vote": {outcome: asdict(_share_of(match, outcome, seed)) for outcome in OUTCOMES},
        "strength": asdict(bootstrap(match, _strength, seed=seed)),
    }


def _choices(found: Iterable[Voted], choices: Iterable[str]) -> dict[str, int]:
    counts = Counter(vote.choice for one in found for vote in one.votes.values())
    return {choice: counts[choice] for choice in choices}


def _share_of(match: Sequence[Voted], outcome: Outcome, seed: int) -> Estimate:
    def part(one: Voted) -> Share:
        said = list(one.outcomes.values())
        return said.count(outcome), len(said)

    return bootstrap(match, part, seed=seed)


def _strength(one: Voted) -> Share:
    return sum(one.strengths.values()), len(one.strengths)


def _signs(one: Voted) -> dict[int, int]:
    return {who: OUTCOMES.index(outcome) for who, outcome in one.outcomes.items()}


def _are_bad(one: Voted) -> bool:
    """Whether more than half of the votes that count call both answers bad."""
    return 2 * sum(vote.choice == BOTH_BAD for vote in one.votes.values()) > len(one.strengths)


def _sign_test(wins: int, losses: int) -> float | None:
    from scipy.stats import binomtest

    return float(binomtest(wins, wins + losses).pvalue) if wins + losses else None


def _annotators(found: Iterable[Voted]) -> dict[str, dict[str, int]]:
    """By annotator: votes, those that cannot judge, attention checks and how many of them were passed."""
    counts: dict[int, Counter[str]] = {}
    for one in found:
        for who, vote in one.votes.items():
            count = counts.setdefault(who, Counter())
            if not one.item.check:
                count.update(votes=1, cannot_judge=int(vote.choice == CANNOT_JUDGE))
            elif (passed := _passes(one.item, vote)) is not None:
                count.update(checks=1, passed=int(passed))
    keys = ("votes", "cannot_judge", "checks", "passed")
    return {str(who): {key: count[key] for key in keys} for who, count in sorted(counts.items())}


def _passes(item: Item, vote: Vote) -> bool | None:
    """Whether a vote on an attention check is a right one; None where it says nothing."""
    if vote.choice == CANNOT_JUDGE:
        return None
    if len(item.answers) == 1:
        return vote.choice in GRADES and int(vote.choice) <= BAD
    strength = STRENGTH.get(vote.choice)
    return strength is not None and (strength == 0 if item.check == "same" else strength > 0)
