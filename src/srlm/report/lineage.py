"""Which model came of which, and what data stood on the way: M0 → M1 → M2 → M3."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Link:
    """One training: from a model to the next, and its data in words."""

    before: str
    after: str
    method: str
    data: tuple[str, ...]


def in_order(name: str) -> tuple[int, str]:
    """A key to sort by: M0, the SFT baseline, M1, M2 ..."""
    return (int(name[1:]), "") if name != "SFT" else (0, name)


def ancestors(name: str) -> list[str]:
    """A model, the last, and all it came of, M0 first."""
    return [f"M{n}" for n in range(int(name[1:]) + 1)] if re.fullmatch(r"M\d+", name) else ["M0", name]


def called(done: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """A model by its name and the beginning of its training's digest, where there is one."""
    state = done.get(f"{name}/sft") or done.get(f"{name}/dpo") or {}
    return f"{name} {digest[:16]}" if (digest := state.get("digest")) else name


def lineage(done: Mapping[str, Mapping[str, Any]], summaries: Mapping[str, Mapping[str, Any]]) -> list[Link]:
    """The links that are done, in order; `done` and `summaries` by step."""
    found = []
    for step, summary in summaries.items():
        after, kind = step.split("/")
        if kind == "sft":
            taught = done.get("M1/eft", {}).get("records") if after == "M1" else 0
            found.append(Link("M0", after, "SFT", _examples(summary.get("items"), taught)))
            continue
        rounds = ("prompts", "responses", "pairs")
        counts = {part: done.get(f"{after}/{part}", {}).get("records") for part in rounds}
        data = tuple(f"{number:,} {part}" for part, number in counts.items() if number is not None)
        t = int(after[1:].partition("-")[0])  # M2, or M2-ahead of temporal anchors
        found.append(Link(f"M{t - 1}", after, "DPO", data))
    return found


def _examples(items: int | None, taught: int | None) -> tuple[str, ...]:
    """How many examples followed instructions and how many taught judging, as far as both are known."""
    if items is None or taught is None:
        return (f"{items} examples",) if items is not None else ()
    return (f"{items - taught} IFT", *([f"{taught} EFT"] if taught else []))
