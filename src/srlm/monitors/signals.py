"""What a signal is: a figure with its interval, and the words of an alarm where it is alarming.

An alarm asks for certainty: the whole 95 % interval has to lie beyond the limit, so that a figure which only
looks bad on a few prompts does not stop a run. Where there is none, because every prompt says the same or the
figure is of all texts together, the figure itself has to lie beyond; no gate acts on a figure of all texts
together. On fewer than FEW prompts nothing is alarming.
"""

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import floor, log10
from pathlib import Path
from typing import Any, TypeVar

from srlm.config import Gate
from srlm.evaluation.intervals import Estimate, Share, bootstrap

FEW = 10
"""Prompts below which nothing is said to be alarming."""
MOST_DECIMALS = 6

T = TypeVar("T")
K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True)
class Signal:
    """One figure of a round; `alarm` says what is wrong, None where nothing is.

    `gate`: the gate that acts on it (monitors/gates.py), None where it is only to be read.
    """

    name: str
    gate: Gate | None
    unit: str
    value: float | None
    low: float | None
    high: float | None
    num: int
    limit: str
    alarm: str | None

    @property
    def text(self) -> str:
        """The figure with its interval."""
        if self.value is None:
            return "–"
        if self.low is None or self.high is None:
            return significant(self.value)
        return f"{significant(self.value)} [{significant(self.low)}, {significant(self.high)}]"

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Between which the figure surely lies; None where too few prompts say anything."""
        return bounds(Estimate(self.value, self.low, self.high, self.num))


def significant(value: float) -> str:
    """Three significant digits, and never an exponent.

    >>> significant(0.75), significant(0.002), significant(-1552.4)
    ('0.750', '0.00200', '-1,552')
    """
    decimals = max(0, 2 - floor(log10(abs(value)))) if value else 0
    return f"{value:,.{min(decimals, MOST_DECIMALS)}f}"


def bounds(found: Estimate) -> tuple[float, float] | None:
    """The interval of a figure, the figure itself where it has none; None on fewer than FEW prompts."""
    low, high = (found.value, found.value) if found.low is None else (found.low, found.high)
    return (low, high) if low is not None and high is not None and found.num >= FEW else None


def signal(
    name: str,
    unit: str,
    found: Estimate,
    says: str = "",
    *,
    above: float | None = None,
    below: float | None = None,
    gate: Gate | None = None,
) -> Signal:
    """A figure as a signal. It alarms, saying `says`, when it surely lies above or below a limit."""
    sure = bounds(found)
    fires = sure is not None and (
        (above is not None and sure[0] > above) or (below is not None and sure[1] < below)
    )
    limits = [
        f"{word} {limit:g}" for word, limit in (("above", above), ("below", below)) if limit is not None
    ]
    return Signal(
        name=name,
        gate=gate,
        unit=unit,
        value=found.value,
        low=found.low,
        high=found.high,
        num=found.num,
        limit=" or ".join(limits),
        alarm=says if fires else None,
    )


def plain(signals: Iterable[Signal]) -> list[dict[str, Any]]:
    """Signals ready for JSON."""
    return [asdict(item) for item in signals]


def watched(folder: Path, unread: list[str] | None = None) -> dict[str, list[Signal]]:
    """The signals that a run has kept so far, by round, in order.

    Of another version a key too many is dropped and one too few is empty. A file that cannot be read is left
    out, and its round named in `unread`.
    """
    keys, found = Signal.__dataclass_fields__, {}
    blank = dict.fromkeys(keys) | {"num": 0, "unit": "", "limit": ""}
    for path in sorted(folder.glob("M*/monitors.json"), key=lambda path: int(path.parent.name[1:])):
        try:
            items = json.loads(path.read_text("utf-8"))["signals"]
            found[path.parent.name] = [
                Signal(**{key: item.get(key, empty) for key, empty in blank.items()} | {"name": item["name"]})
                for item in items
            ]
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            if unread is not None:
                unread.append(path.parent.name)
    return found


def number(value: float | None, num: int) -> Estimate:
    """A figure that has no interval, and the items it rests on."""
    return Estimate(value, None, None, num)


def over(groups: Iterable[T], part: Callable[[T], Share], seed: int = 0) -> Estimate:
    """A ratio of sums over prompts with its interval; `part` gives a prompt's numerator and denominator."""
    return bootstrap(list(groups), part, seed=seed)


def mean(values: Iterable[float | None]) -> Estimate:
    """The mean of one value a prompt; None is left out."""
    return over(values, lambda value: (0, 0) if value is None else (value, 1))


def by_prompt(items: Iterable[T], prompt: Callable[[T], K]) -> dict[K, list[T]]:
    """Items by the prompt they belong to, in the order of appearance."""
    found: dict[K, list[T]] = {}
    for item in items:
        found.setdefault(prompt(item), []).append(item)
    return found


def matched(now: Mapping[K, T], before: Mapping[K, T]) -> Sequence[tuple[T, T]]:
    """What two models have in common: the values of the keys that stand in both."""
    return [(value, before[key]) for key, value in now.items() if key in before]
