"""Preference files of any known form, as ranked prompts: to evaluate with, to teach with, to keep out.

What cannot be used is named with its reason.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from pydantic import ValidationError

from srlm.errors import DataError
from srlm.seeds.answers import NAMES
from srlm.seeds.converting import Parts, grouped, parts_of, ranked
from srlm.seeds.loading import Line, RankedPrompt, native_line
from srlm.seeds.mapping import MAPPINGS, NATIVE, Mapping, parse_mapping, recognise
from srlm.seeds.source import Bad, Fault, Source, Unit, as_object, kind_of, listed, reason_of, shown

L = TypeVar("L", bound=Line)


@dataclass(frozen=True, kw_only=True)
class Sorted(Generic[L]):
    """The usable lines of a file, where each begins, and why the rest is not used."""

    lines: list[L]
    numbers: list[int]
    faults: list[Fault]
    num_lines: int
    unit: Unit = "line"


@dataclass(frozen=True, kw_only=True)
class Preferences(Sorted[RankedPrompt]):
    """The ranked prompts of a file of the form `form`: a name of MAPPINGS, `srlm` or `mapping`."""

    form: str


def preferences(path: Path, mapping: Sequence[str] = ()) -> Preferences:
    """The ranked prompts of a file and its faults; `mapping` as on the command line (KEY=FIELD)."""
    return read_preferences(path, parse_mapping(mapping) if mapping else None)


def heldout_preferences(path: Path, mapping: Sequence[str] = ()) -> tuple[list[RankedPrompt], list[str]]:
    """What of a file may evaluate a judge, and what cannot be used and why.

    Its held-out lines where lines name a side, else all.
    """
    found = preferences(path, mapping)
    heldout = [line for line in found.lines if line.split == "heldout"]
    lines = heldout or [line for line in found.lines if line.split is None] or found.lines
    return lines, [f"{found.unit} {fault.number}: {fault}" for fault in found.faults]


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
    """The prompts of an evaluation's file, by the usual field names.

    Raises DataError that names every line without one: a prompt that is lost here is trained on.
    """
    texts: list[str] = []
    bad: list[int] = []
    for number, value in Source.open(path):
        fields = value if isinstance(value, dict) else {"prompt": value}
        named = [str(fields[name]) for name in NAMES["prompt"] if isinstance(fields.get(name), str)]
        texts += named[:1]
        bad += [] if named else [number]
    if bad:
        raise DataError(
            f"file {path}, line {', '.join(map(str, bad[:12]))}{' ...' if bad[12:] else ''}",
            f"there is no text and none of the fields {', '.join(NAMES['prompt'])}, so what is to be kept "
            "out is not known",
            'give JSON lines such as {"prompt": "..."}',
        )
    return texts


def read_preferences(path: Path, mapping: Mapping | None = None) -> Preferences:
    """The ranked prompts of a .jsonl or .json file, gzipped or not, with all that is not used and why.

    Without a mapping, the first object that has the fields of a known form decides. Raises DataError when
    the file cannot be read, is of no known form, or has no line that can be used.
    """
    source = Source.open(path)
    found = sort_preferences(source, mapping)
    if not found.lines:
        raise _unusable(source, found, mapping)
    return found


def sort_preferences(source: Source, mapping: Mapping | None = None) -> Preferences:
    """As read_preferences, but it may be that no line can be used; raises DataError for unknown forms."""
    form = form_of(source) if mapping is None else _name_of(mapping)
    if form is None:
        raise unknown_form(source)
    if form == NATIVE:
        return Preferences(**vars(sort_native(source, RankedPrompt)), form=form)
    return _sort(source, mapping or MAPPINGS[form], form)


def sort_native(source: Source, kind: type[L]) -> Sorted[L]:
    """The lines that are of our own form `kind`, by the same rules as when training loads them."""
    lines: dict[str, tuple[int, L]] = {}
    faults = []
    num_lines = 0
    for number, value in source:
        num_lines += 1
        try:
            line = native_line(value, kind)
        except Bad as bad:
            faults.append(Fault(number, bad.reason, bad.detail))
        else:
            first_at, _ = lines.setdefault(line.prompt, (number, line))
            if first_at != number:
                where = f"{source.unit} {first_at}"
                faults.append(Fault(number, "its prompt stands in an earlier line", where))
    numbers, kept = [number for number, _ in lines.values()], [line for _, line in lines.values()]
    return Sorted(lines=kept, numbers=numbers, faults=faults, num_lines=num_lines, unit=source.unit)


def form_of(source: Source) -> str | None:
    """The form of the first object that has the fields of one, as `recognise` names it."""
    return next((form for _, value in source if (form := recognise(value))), None)


def unknown_form(source: Source) -> DataError:
    """The error for a file none of whose lines has the fields of a known form."""
    fields = source.fields()
    has = f"its lines have the fields {listed(fields)}" if fields else f"no object in it ({_whys(source)})"
    return DataError(
        shown(str(source.path), 400),
        f"{has}: none of the known forms ({', '.join([NATIVE, *MAPPINGS])})",
        "say which field is what, for instance prompt=question better=good_answer worse=bad_answer",
    )


def _sort(source: Source, mapping: Mapping, form: str) -> Preferences:
    found: list[Parts] = []
    faults: list[Fault] = []
    num_lines = 0
    for number, value in source:
        num_lines += 1
        try:
            found.append(parts_of(number, as_object(value), mapping))
        except Bad as bad:
            faults.append(Fault(number, bad.reason, bad.detail))
    if mapping.shape == "scored":
        found, alone = grouped(found, source.unit)
        faults += alone
    lines, numbers = [], []
    for parts in found:
        try:
            lines.append(ranked(parts, mapping.grades))
            numbers.append(parts.number)
        except ValidationError as error:  # whatever RankedPrompt will refuse beyond what is checked here
            faults.append(Fault(parts.number, reason_of(error)))
    faults.sort(key=lambda fault: fault.number)
    return Preferences(
        lines=lines, numbers=numbers, faults=faults, num_lines=num_lines, unit=source.unit, form=form
    )


def _name_of(mapping: Mapping) -> str:
    return next((name for name, one in MAPPINGS.items() if one == mapping), "mapping")


def _whys(source: Source) -> str:
    reasons = Counter(value.reason if isinstance(value, Bad) else kind_of(value) for _, value in source)
    return ", ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))


def _unusable(source: Source, found: Preferences, mapping: Mapping | None) -> DataError:
    mapping = mapping or MAPPINGS.get(found.form)
    reasons = Counter(fault.reason for fault in found.faults).most_common(5)
    why = "; ".join(f"{shown(reason, 200)} ({count})" for reason, count in reasons)
    if mapping:
        why += f". The lines have {listed(source.fields())}; the mapping wants {listed(mapping.wanted)}"
    return DataError(
        f"{shown(str(source.path), 400)}: not one of {found.num_lines} {found.unit}s fits {found.form}",
        why,
        "mend the file, or say which field is what, for instance prompt=question better=good worse=bad",
    )
