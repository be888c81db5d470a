"""Pairs that teach judging: a judge's own judgments of one response, as it compares them itself.

Meta-Rewarding (arXiv 2407.19594, section 2.3): of every prompt the response whose scores vary most; every two
judgments of it in both orders; a win in a place counts the more, the less that place wins by itself;
strengths by Bradley and Terry; the strongest judgment against the weakest. A judgment that is too long is not
chosen.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby, permutations
from typing import Any

from srlm.config import JudgeTrainingSection
from srlm.judging.rubric import Rubric
from srlm.records import Comparison, Judgment, Pair, Prompt, Response, content_id
from srlm.stages.comparisons import Couples
from srlm.stages.pairs import block_of
from srlm.store.blocks import Block, Resume, Sized

PULL = 0.01
"""Strength of the pull of all strengths to 0, without which a judgment that always wins has none."""


def told_apart(
    rubric: Rubric, responses: Iterable[Response], judgments: Iterable[Judgment], most: int
) -> list[list[Response]]:
    """Of each prompt's most contested response the judgments, as responses to what the judge was asked.

    At most `most` prompts, those with the largest variance first; no judgment twice, none without a score.
    """
    by_id = {item.id: item for item in responses}
    contested = []
    for _, said in groupby(judgments, key=lambda item: item.prompt_id):
        known = [item for item in said if item.variance]  # neither unknown nor 0
        if known:
            contested.append(max(known, key=lambda item: (item.variance or 0.0, item.id)))
    contested.sort(key=lambda item: (-(item.variance or 0.0), item.id))
    found = [_as_responses(rubric, by_id[item.response_id], item) for item in contested]
    return [each for each in found if len(each) > 1][:most]


def couples_of(groups: Iterable[Sequence[Response]]) -> Couples:
    """Every two judgments of each response, in both orders."""
    return Couples([couple for group in groups for couple in permutations(group, 2)])


def judge_pairs(
    section: JudgeTrainingSection,
    groups: Sequence[Sequence[Response]],
    comparisons: Sized[Comparison],
    *,
    seed: int = 0,
    resume: Resume[Pair] | None = None,
) -> Iterator[Block[Pair]]:
    """One block of pairs about judging; its counts say what became of every contested response."""
    if resume and resume.blocks:
        return
    said = list(comparisons)
    places = place_weights(said)
    by_group: dict[str, list[Comparison]] = defaultdict(list)
    for item in said:
        by_group[item.prompt_id].append(item)
    outcomes = [_outcome(section, group, by_group[group[0].prompt_id], places) for group in groups]
    yield block_of(outcomes, len(groups), len(groups))


def place_weights(comparisons: Iterable[Comparison]) -> tuple[float, float]:
    """What a win in the first place counts, and one in the second: the share of wins of the other place.

    Each 0.5 where nobody won.
    """
    wins = Counter(item.verdict for item in comparisons)
    decided = wins["first"] + wins["second"]
    return (wins["second"] / decided, wins["first"] / decided) if decided else (0.5, 0.5)


def strengths(names: Sequence[str], wins: Mapping[tuple[str, str], float]) -> dict[str, float]:
    """The most likely strengths by Bradley and Terry (1952): P(a beats b) = sigmoid(a - b).

    `wins` of the first over the second, weighted. Strengths are pulled to 0 a little (`PULL`).
    """
    import numpy as np
    from scipy.optimize import minimize

    place = {name: number for number, name in enumerate(names)}
    won = np.array([place[one] for one, _ in wins], dtype=int)
    lost = np.array([place[other] for _, other in wins], dtype=int)
    weight = np.array(list(wins.values()))

    def cost(values: Any) -> tuple[float, Any]:
        gaps = values[won] - values[lost]
        slope = -weight / (1 + np.exp(gaps))
        gradient = np.bincount(won, slope, len(names)) - np.bincount(lost, slope, len(names))
        total = (weight * np.logaddexp(0, -gaps)).sum() + PULL / 2 * (values**2).sum()
        return float(total), gradient + PULL * values

    found = minimize(cost, np.zeros(len(names)), jac=True, method="L-BFGS-B").x
    return dict(zip(names, map(float, found), strict=True))


def _as_responses(rubric: Rubric, response: Response, judgment: Judgment) -> list[Response]:
    """The readable judgments of a response, each as an answer to the judge's question."""
    asked = rubric.conversation(response.prompt, response.text)[0].content
    question = Prompt.of(asked, (), 0)
    drawn = zip(judgment.replies, judgment.finishes, judgment.scores, strict=True)
    texts = {text: finish for text, finish, score in drawn if score is not None}
    return [
        Response.given(
            content_id("judgment as response", judgment.id, text), question, text, draw=draw, finish=finish
        )
        for draw, (text, finish) in enumerate(texts.items())
    ]


def _outcome(
    section: JudgeTrainingSection,
    group: Sequence[Response],
    comparisons: Iterable[Comparison],
    places: tuple[float, float],
) -> Pair | str:
    """The pair of the strongest and the weakest judgment of a response, or why there is none."""
    wins: dict[tuple[str, str], float] = defaultdict(float)
    for item in comparisons:
        if item.verdict == "first":
            wins[item.first_id, item.second_id] += places[0]
        elif item.verdict == "second":
            wins[item.second_id, item.first_id] += places[1]
    if not wins:
        return "no judgment won"
    found = strengths([item.id for item in group], wins)
    down = sorted(group, key=lambda item: -found[item.id])
    short = [item for item in down if len(item.text) <= section.longest]
    if not short:
        return "too long"
    chosen, rejected = short[0], down[-1]
    if found[chosen.id] <= found[rejected.id]:
        return "tie"
    return Pair.of(chosen, rejected, (found[chosen.id], found[rejected.id]), about="judging")
