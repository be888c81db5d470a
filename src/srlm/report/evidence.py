"""The verdict of a run in a sentence, and what it rests on: human ranks, and a judge that did not change."""

from collections.abc import Mapping, Sequence
from typing import Any

from srlm.evaluation.intervals import Estimate
from srlm.evaluation.phase_map import warning
from srlm.monitors.signals import Signal, bounds
from srlm.monitors.yardsticks import AGREEMENT, FROZEN_WIN_RATE
from srlm.people.asking import CANNOT_JUDGE
from srlm.report.lineage import in_order
from srlm.report.rows import ModelRow

Signals = Mapping[str, Mapping[str, Signal]]
"""By a signal's name, then by the round's."""


def evidence(signals: Signals) -> str:
    """What the last watched model is against M1, with intervals; empty where none after M1 was watched.

    The alarms are those of all rounds: a model keeps what its ancestors learned.
    """
    answers, judges = (signals.get(name.format("M1"), {}) for name in (FROZEN_WIN_RATE, AGREEMENT))
    both = [name for name in answers if name in judges and name != "M1"]
    if not both:
        return ""
    last = max(both, key=in_order)
    won, agreed = _shown(answers[last], 100, " %"), _shown(judges[last], 100, " points", plus=True)
    answering, judging = _word(answers[last], 0.5, "answers"), _word(judges[last], 0.0, "judges")
    return (
        f"{last} {answering} than M1 ({won} of held-out prompts won, M1 as the judge) "
        f"and {judging} ({agreed} of pairs judged as people do). {_alarms(signals)}"
    )


def unfinished(states: Sequence[Mapping[str, Any]]) -> str:
    """Where a run without an outcome is; whether a process is at work on it, its folder does not tell."""
    begun = [state["step"] for state in states if not state["done"] and "unread" not in state]
    where = f"at work on, or stopped in, {begun[-1]}" if begun else "between two steps"
    return f"The run is not finished: {where}. If it was stopped, the same command goes on."


def findings(models: Sequence[ModelRow]) -> list[str]:
    """What became of judging and answering from M1 to the last model, in sentences."""
    trained = [model for model in models if model.name not in {"M0", "SFT"}]
    if not trained:
        return []
    first, last = trained[0], trained[-1]
    known = not any(key.startswith("judge") for key in (*first.lacking, *last.lacking))
    return [*(_judging(first, last) if known else []), *_answering(first, last)]


def counsel(models: Sequence[ModelRow], config: Mapping[str, Any]) -> list[str]:
    """Whether the last model's judge is too weak for the run's N, by the phase map, where it ranks at all."""
    judges = [row.figures.get("judge") for row in models if row.name not in {"M0", "SFT"}]
    right = judges[-1]["pairwise"]["half"]["value"] if judges and judges[-1] else None
    ranks = config.get("pairs.rank_by", "judge") == "judge" and config.get("pairs.opponents", "own") != "spin"
    if right is None or not ranks:
        return []
    where = (config.get("responses.samples", 4), config.get("pairs.min_margin", 0.0))
    return [said] if (said := warning(right, *where)) else []


def preferences(matches: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Whom people prefer, a sentence a match in which they have decided something."""
    return [_preference(match) for match in matches.values() if match["win_rate"]["value"] is not None]


def _preference(match: Mapping[str, Any]) -> str:
    (one, other), rate = match["models"], match["win_rate"]
    sure = bounds(Estimate(**rate))
    said = f"People are not shown to prefer {one} or {other}"
    if sure and sure[0] > 0.5:
        said = f"People prefer {one} to {other}"
    elif sure and sure[1] < 0.5:
        said = f"People prefer {other} to {one}"
    inside = "" if rate["low"] is None else f" [{100 * rate['low']:.0f}, {100 * rate['high']:.0f}]"
    num, alpha = match["annotators"], match["agreement"]["outcome"]["alpha"]
    known = bounds(Estimate(**alpha)) is not None  # on prompts enough
    agreed = f" Krippendorff’s α on {alpha['num']} of them: {alpha['value']:.2f}." if known else ""
    counted = sum(number for choice, number in match["votes"].items() if choice != CANNOT_JUDGE)
    each = counted / match["prompts"]
    longer = match["length"]["longer"]
    length = (
        f" The longer answer won {_in_percent(longer['value'])} of decided prompts."
        if (taste := bounds(Estimate(**longer))) and taste[0] > 0.5
        else ""
    )
    return (
        f"{said}: {one} wins {_in_percent(rate['value'])}{inside} of {match['prompts']} prompts, ties as a "
        f"half, by {num} annotator{'s' if num > 1 else ''}, {each:.1f} votes a prompt.{agreed}{length}"
    )


def _judging(first: ModelRow, last: ModelRow) -> list[str]:
    judge, before = last.figures["judge"], first.figures["judge"]["pairwise"]["half"]["value"]
    pairs = sum(judge["pairs"][outcome] for outcome in ("right", "tied", "wrong"))
    right, similar = judge["pairwise"]["half"], judge["similar_length"]["pairwise"]["half"]
    if right["value"] is None:
        return [f"{last.name} as a judge wrote no readable score on the held-out answers."]
    change = (
        f", after {_in_percent(before)} of {first.name}" if first is not last and before is not None else ""
    )
    longer = judge["longer_wins"]["pairwise"]["half"]["value"]
    said = (
        f"{last.name} as a judge is right on {_in_percent(right['value'])} of {pairs} held-out "
        f"pairs{change}; always preferring the longer answer gets {_in_percent(longer)}."
    )
    above = judge["over_longer"]["low"]
    if above is None or above <= 0 or right["low"] is None or right["low"] <= 0.5:
        said += " It is not above that line, or above chance, by its 95 % interval: its scores prove little."
    if similar["low"] is not None and similar["low"] > 0.5:
        said += f" On pairs of similar length it is right on {_in_percent(similar['value'])}, above chance."
    return [said]


def _answering(first: ModelRow, last: ModelRow) -> list[str]:
    one, other = first.figures["answers"], last.figures["answers"]
    if first is last or not one["num"] or not other["num"]:
        return []
    return [
        f"Answers to held-out prompts went from {one['tokens']:.0f} tokens to {other['tokens']:.0f} on "
        f"average; {100 * one['ended']:.0f} % and then {100 * other['ended']:.0f} % ended by themselves."
    ]


def _word(item: Signal, even: float, verb: str) -> str:
    """Better, worse or neither, by where the figure surely lies."""
    sure = item.bounds
    if sure and sure[0] > even:
        return f"{verb} better"
    if sure and sure[1] < even:
        return f"{verb} worse"
    return f"is not shown to {verb.removesuffix('s')} better or worse"


def _shown(item: Signal, times: float, unit: str, *, plus: bool = False) -> str:
    if item.value is None:
        return "not measured"
    sign = "+" if plus else ""
    found = f"{times * item.value:{sign}.1f}{unit}"
    if item.low is None or item.high is None:
        return found
    return f"{found} [{times * item.low:{sign}.0f}, {times * item.high:{sign}.0f}]"


def _alarms(signals: Signals) -> str:
    """How many there are, and of which models."""
    named = [name for row in signals.values() for name, item in row.items() if item.alarm]
    if not named:
        return "No alarm."
    whose = " and ".join(sorted(set(named), key=in_order))
    return f"{len(named)} alarm{'s' if len(named) > 1 else ''}, of {whose}."


def _in_percent(share: float) -> str:
    return f"{100 * share:.1f} %"
