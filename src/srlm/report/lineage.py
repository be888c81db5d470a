"""Which model came of which, and what data stood on the way: M0 → M1 → M2 → M3."""

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


def lineage(done: Mapping[str, Mapping[str, Any]], summaries: Mapping[str, Mapping[str, Any]]) -> list[Link]:
    """The links that are done, in order; `done` and `summaries` by step."""
    found = []
    for step in summaries:
        after, kind = step.split("/")
        items = summaries[step]["items"]
        if kind == "sft":
            eft = done.get("M1/eft", {}).get("records", 0) if after == "M1" else 0
            data = (f"{items - eft} IFT", *([f"{eft} EFT"] if eft else []))
            found.append(Link("M0", after, "SFT", data))
            continue
        rounds = ("prompts", "responses", "pairs")
        counts = {part: done.get(f"{after}/{part}", {}).get("records") for part in rounds}
        data = tuple(f"{number:,} {part}" for part, number in counts.items() if number is not None)
        found.append(Link(f"M{int(after[1:]) - 1}", after, "DPO", data))
    return found
