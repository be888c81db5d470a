"""The verdict of a run in a sentence, and what it rests on: human ranks, and a judge that did not change."""

from collections.abc import Mapping

from srlm.monitors.signals import Signal

ANSWERS = "win rate over M1 by the frozen judge"
JUDGES = "agreement with people, above M1's"


def evidence(signals: Mapping[str, Mapping[str, Signal]], last: str) -> str:
    """What the last model is against M1, with intervals; empty where nothing was watched."""
    answers, judges = (signals.get(name, {}).get(last) for name in (ANSWERS, JUDGES))
    if last == "M1" or answers is None or judges is None:
        return ""
    alarms = sum(bool(row[last].alarm) for row in signals.values() if last in row)
    won, agreed = _shown(answers, 100, " %"), _shown(judges, 100, " points", plus=True)
    return (
        f"{last} {_word(answers, 0.5, 'answers')} than M1 ({won} of held-out prompts won, M1 as the judge) "
        f"and {_word(judges, 0.0, 'judges')} ({agreed} of pairs judged as people do). {_alarms(alarms)}"
    )


def _word(item: Signal, even: float, verb: str) -> str:
    """Better, worse or neither, by where the interval lies."""
    if item.low is not None and item.low > even:
        return f"{verb} better"
    if item.high is not None and item.high < even:
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


def _alarms(number: int) -> str:
    return "No alarm." if not number else f"{number} alarm{'s' if number > 1 else ''}."
