"""Gates: from the alarms of the rounds so far to going on, stopping, or going back to an earlier model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from srlm.config import Action, Gate, GatesSection
from srlm.monitors.signals import Signal

_WEIGHT: dict[Action, int] = {"continue": 0, "stop": 1, "roll_back": 2}


@dataclass(frozen=True)
class Decision:
    """What follows from a round: `best` is the newest model on which no gate fires; `why` in words."""

    action: Action
    best: str
    why: str


def decide(section: GatesSection, models: Mapping[str, Sequence[Signal]]) -> Decision:
    """What to do after the last of some models, given the signals of each, in order.

    A gate fires when a signal of it has alarmed on the last `patience` models in a row. Several that fire:
    the strongest action counts.
    """
    names = list(models)
    fired = _alarms(models[names[-1]])
    for name in names[-section.patience :]:
        fired = {gate: signals for gate, signals in fired.items() if gate in _alarms(models[name])}
    if len(names) < section.patience:
        fired = {}
    clean = [name for name in names if not _alarms(models[name])]
    best = clean[-1] if clean else names[0]
    if not fired:
        return Decision("continue", best, "")
    gate = max(fired, key=lambda gate: _WEIGHT[section.action(gate)])
    action = section.action(gate)
    said = "; ".join(item.alarm or "" for items in fired.values() for item in items)
    return Decision(action, best, f"{names[-1]}: {said}.")


def _alarms(signals: Sequence[Signal]) -> dict[Gate, list[Signal]]:
    """The alarming signals of each gate."""
    found: dict[Gate, list[Signal]] = {}
    for item in signals:
        if item.gate and item.alarm:
            found.setdefault(item.gate, []).append(item)
    return found
