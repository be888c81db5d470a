"""What judges say of the answers that people judged, and how far each agrees with them.

A judge of scores prefers the answer to which it gives more; equal scores are a tie. Of a run's own records
there are:

    own     each answer's score by the judge of its own model's round (M?/watch/own). Unless judge.judge names
            one, that is the model itself: of M3 against M1 it is M3's word on M3's answer and M1's on M1's,
            two judges on two scales. The loop lets no model but M1 score another's held-out answers, so
            nothing nearer to "M3 as the judge of both" is there.
    frozen  both answers by M1, which was never trained on its own words (M?/watch/frozen; for M1 watch/own)
    SUITE   a head-to-head suite's judge, in both orders, or by its grades, where it saw these very answers

A run does not watch models before M1, so of SFT and M0 there is a suite's word only. Answers are found by the
ids of their responses; those to prompts of a file are judged where they were made (people/answering.py).
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any, TypeVar

from srlm.errors import RunError
from srlm.evaluation.head_to_head import outcome
from srlm.evaluation.intervals import Share, bootstrap
from srlm.people.agreement import cohen, spearman
from srlm.people.asking import Answer, Item, Vote
from srlm.people.results import (
    OUTCOMES,
    VALUE,
    Outcome,
    Voted,
    grouped,
    longer_wins,
    majority,
    outcome_of,
    voted,
)
from srlm.records import Comparison, Judgment, Record
from srlm.store.jsonl import read_records

R = TypeVar("R", bound=Record)
Words = dict[str, R] | None
"""The records of a file by a key; None where there is no such file."""


@dataclass
class Judge:
    """Who judged, in words; by item its `scores` of the answers, whether it `prefers` the first of two, and
    why it has no word (`lacking`).
    """

    who: str
    scores: dict[str, tuple[float, ...]] = field(default_factory=dict)
    prefers: dict[str, Outcome] = field(default_factory=dict)
    lacking: dict[str, str] = field(default_factory=dict)


def judge_verdicts(run_folder: Path, items: Sequence[Item]) -> dict[str, Judge]:
    """The words of a run's judges on answers: of `own`, `frozen`, and every head-to-head suite by its name.

    Every judge is there, and of every item that is no attention check it has a word or says why not. A run
    may be unfinished: of a file that is cut short, the records before the cut count.
    """
    config = _config(run_folder)
    named = str((config.get("judge") or {}).get("judge") or "")
    asked = [item for item in items if not item.check]

    def own(model: str) -> Path:
        return run_folder / f"{model}/watch/own.jsonl"

    def frozen(model: str) -> Path:
        return own(model) if model == "M1" and not named else run_folder / f"{model}/watch/frozen.jsonl"

    who = f"{named}, the judge of every round" if named else "each answer by its own model"
    found = {"own": _scoring(who, asked, own), "frozen": _scoring("M1", asked, frozen)}
    evaluation = config.get("evaluation") or {}
    suite_judge = (evaluation.get("judge") or {}).get("model") or "the judge of the suite"
    for suite in evaluation.get("suites") or []:
        if suite.get("suite") == "head_to_head":
            title = suite.get("name") or "head_to_head"
            found[title] = _suite(f"{suite_judge}, in {title}", asked, run_folder, title)
    return found


def judge_figures(
    items: Sequence[Item], votes: Iterable[Vote], judges: Mapping[str, Judge], seed: int = 0
) -> dict[str, dict[str, Any]]:
    """By match, or by model where answers stand alone, and by judge, what it has in common with people.

    Ready for JSON; see compared_with and scored_like. `who` says whose word it is, and `lacking` counts why
    it has none, of the items that people judged. Raises DataError for a prompt that stands twice in a match.
    """
    asked = [one for one in voted(items, votes) if not one.item.check]
    figures: dict[str, dict[str, Any]] = {}
    for name, group in grouped(asked).items():
        counted = [one for one in group if one.strengths or one.grades]
        shown = figures.setdefault(name, {})
        for title, judge in judges.items():
            lacking = Counter(judge.lacking[one.item.id] for one in counted if one.item.id in judge.lacking)
            pairs = len(group[0].item.answers) == 2
            found = compared_with(judge, counted, seed) if pairs else scored_like(judge, counted, seed)
            shown[title] = {"who": judge.who, **found, "lacking": dict(lacking)}
    return figures


def compared_with(judge: Judge, counted: Iterable[Voted], seed: int = 0) -> dict[str, Any]:
    """A judge beside people's majority, on the `num` prompts with the word of both.

    `agreement`: the share of prompts that people decided on which the judge prefers the same answer, a tie
    of its own as a half; `kappa`: Cohen's, of win, tie and loss on all; `win_rate`, by the judge, a tie as a
    half; `length`: how often the judge itself prefers the longer answer, see longer_wins.
    """
    both = [
        (one, majority(one.outcomes.values())[0], judge.prefers[one.item.id])
        for one in counted
        if one.item.id in judge.prefers
    ]
    people, theirs = ([OUTCOMES.index(said[place]) for said in both] for place in (1, 2))
    return {
        "num": len(both),
        "agreement": asdict(bootstrap([said[1:] for said in both], _agrees, seed=seed)),
        "kappa": cohen(people, theirs) if both else None,
        "win_rate": asdict(bootstrap(both, lambda said: (VALUE[said[2]], 1), seed=seed)),
        "length": longer_wins(((one, word) for one, _, word in both), seed),
    }


def scored_like(judge: Judge, counted: Iterable[Voted], seed: int = 0) -> dict[str, Any]:
    """`spearman` of people's mean grade and the judge's score on the `num` answers of a model with both."""
    both = [
        (fmean(one.grades.values()), judge.scores[one.item.id][0])
        for one in counted
        if one.item.id in judge.scores
    ]
    grades, scores = ([pair[place] for pair in both] for place in (0, 1))
    return {"num": len(both), "spearman": asdict(spearman(grades, scores, seed))}


def _agrees(said: tuple[Outcome, Outcome]) -> Share:
    people, judge = said
    if people == "tie":
        return 0, 0
    return (0.5 if judge == "tie" else float(judge == people)), 1


def _scoring(who: str, items: Iterable[Item], place: Callable[[str], Path]) -> Judge:
    """A judge by its scores of each answer alone; `place`: where those of a model's answers lie."""
    judge, files = Judge(who), {}
    for item in items:
        found = []
        for answer in item.answers:
            if answer.model not in files:
                files[answer.model] = _read(place(answer.model), Judgment, lambda word: word.response_id)
            score = _score(answer, files[answer.model], place(answer.model))
            if isinstance(score, str):
                judge.lacking.setdefault(item.id, score)
            else:
                found.append(score)
        if item.id not in judge.lacking:
            judge.scores[item.id] = tuple(found)
            if len(found) == 2:
                judge.prefers[item.id] = outcome_of(found[0] - found[1])
    return judge


def _score(answer: Answer, words: Words[Judgment], path: Path) -> float | str:
    """A judge's score of an answer, or why there is none."""
    if words is None:
        return f"answers of {answer.model}: {'/'.join(path.parts[-3:])} is not there"
    word = words.get(answer.id)
    if word is None:
        return f"an answer of {answer.model} that was not judged in the run"
    return f"no readable score of an answer of {answer.model}" if word.score is None else word.score


def _suite(who: str, items: Sequence[Item], run_folder: Path, title: str) -> Judge:
    """A head-to-head suite's judge, who compares in both orders, or grades each answer alone."""

    def graded(model: str) -> Path:
        return run_folder / f"{model}/evaluation/{title}/judgments.jsonl"

    if any(graded(model).exists() for model in {name for item in items for name in item.models}):
        return _scoring(who, items, graded)
    judge, files = Judge(who), {}
    for item in items:
        if len(item.answers) != 2:
            judge.lacking[item.id] = f"the judge of {title} compares, and gives no scores"
            continue
        if item.models not in files:
            files[item.models] = _comparisons(run_folder, title, item.models)
        said = _compared(item, files[item.models], title)
        if said in OUTCOMES:
            judge.prefers[item.id] = said
        else:
            judge.lacking[item.id] = said
    return judge


def _comparisons(run_folder: Path, title: str, models: tuple[str, ...]) -> Words[Comparison]:
    """What the later of two models left: it was compared with those before it."""
    one, other = models
    for late, early in ((one, other), (other, one)):
        path = run_folder / f"{late}/evaluation/{title}/comparisons_{early}.jsonl"
        found = _read(path, Comparison, lambda word: f"{word.first_id} {word.second_id}")
        if found is not None:
            return found
    return None


def _compared(item: Item, words: Words[Comparison], title: str) -> Outcome | str:
    """Whom both orders prefer, or why there is no word."""
    one, other = item.answers
    if words is None:
        return f"{one.model} and {other.model} were not compared in {title}"
    if one.text == other.text:
        return "tie"
    said = outcome(words.get(f"{one.id} {other.id}"), words.get(f"{other.id} {one.id}"))
    if said == "missing":
        return f"answers that were not compared in {title}"
    return "no readable verdict" if said == "unreadable" else said


def _read(path: Path, kind: type[R], key: Callable[[R], str]) -> Words[R]:
    """The records of a file by a key, up to the first that cannot be read."""
    found: dict[str, R] = {}
    try:
        for record in read_records(path, kind):
            found[key(record)] = record
    except FileNotFoundError:
        return None
    except RunError:  # it is being written, or was cut short
        pass
    return found


def _config(run_folder: Path) -> dict[str, Any]:
    """A run's config; empty where it cannot be read."""
    try:
        saved = json.loads((run_folder / "config.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    config = saved.get("config") if isinstance(saved, dict) else None
    return config if isinstance(config, dict) else {}
