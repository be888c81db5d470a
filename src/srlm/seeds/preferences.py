"""Preference files of any known form, for the command line: to evaluate with, to teach with, to keep out."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from srlm.errors import DataError
from srlm.seeds.answers import NAMES
from srlm.seeds.loading import RankedPrompt
from srlm.seeds.mapping import Preferences, Source, parse_mapping, read_preferences


def preferences(path: Path, mapping: Sequence[str] = ()) -> Preferences:
    """The ranked prompts of a file and its faults; `mapping` as on the command line (KEY=FIELD)."""
    return read_preferences(path, parse_mapping(mapping) if mapping else None)


def heldout_preferences(path: Path, mapping: Sequence[str] = ()) -> list[RankedPrompt]:
    """What of a file may evaluate a judge: its held-out lines where lines name a side, else all."""
    found = preferences(path, mapping).lines
    heldout = [line for line in found if line.split == "heldout"]
    return heldout or [line for line in found if line.split is None] or found


def ranked_lines(paths: Iterable[Path], mapping: Sequence[str] = ()) -> tuple[str, list[str]]:
    """The text of a `ranked.jsonl` of all files, and what became of each; a prompt stands once in it."""
    lines: dict[str, RankedPrompt] = {}
    said = []
    for path in paths:
        found = preferences(path, mapping)
        before, twice = len(lines), 0
        for line in found.lines:
            twice += line.prompt in lines
            lines.setdefault(line.prompt, line)
        said.append(
            f"{path}: {found.form}, {len(lines) - before} prompts; {twice} had been there before, "
            f"{len(found.faults)} faults"
        )
        said += [f"  {fault}" for fault in found.faults[:20]]
    return "".join(line.model_dump_json(exclude_defaults=True) + "\n" for line in lines.values()), said


def prompts_of(path: Path) -> list[str]:
    """The prompts of an evaluation's file, by the usual field names; raises DataError when it has none."""
    texts = []
    for _, value in Source.open(path):
        if isinstance(value, str):
            texts.append(value)
        elif isinstance(value, dict):
            named = [value[name] for name in NAMES["prompt"] if isinstance(value.get(name), str)]
            texts += named[:1]
    if not texts:
        raise DataError(
            f"file {path}",
            f"no line of it is a text or has one of the fields {', '.join(NAMES['prompt'])}",
            'give JSON lines such as {"prompt": "..."}',
        )
    return texts
