"""What of a data file would be used, as what, and why not the rest: `srlm seed check FILE`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from srlm.config import PromptsSection
from srlm.seeds.loading import Instruction, Line, RankedPrompt
from srlm.seeds.mapping import MAPPINGS, NATIVE, Mapping
from srlm.seeds.preferences import Sorted, form_of, sort_native, sort_preferences, unknown_form
from srlm.seeds.source import Fault, Source, shown
from srlm.similarity import Pool

INSTRUCTIONS = "instructions"
SHOWN_NUMBERS = 20
MAX_ROUGE = PromptsSection().max_rouge
MAX_PROMPT, MAX_COMPARED = 2000, 5_000_000
"""Characters of a prompt, and of all, that are compared: beyond it the comparison would take minutes."""


@dataclass(frozen=True)
class Lengths:
    """How long texts are, in characters."""

    median: float
    longest: int

    @classmethod
    def of(cls, texts: Sequence[str]) -> "Lengths":
        sizes = [len(text) for text in texts] or [0]
        return cls(median(sizes), max(sizes))

    def __str__(self) -> str:
        return f"median {self.median:,.0f}, longest {self.longest:,}"


@dataclass(frozen=True)
class Checked:
    """What was found in a file; `num_pairs` counts two answers to a prompt that differ in place."""

    path: Path
    form: str
    unit: str
    num_lines: int
    num_used: int
    num_prompts: int
    num_answers: int
    num_pairs: int
    num_ties: int
    labels: dict[str, int]
    judged_by: str
    prompt_lengths: Lengths
    answer_lengths: Lengths
    repeated: list[int]
    near: list[int]
    num_uncompared: int
    faults: list[Fault]


def check_file(path: Path, mapping: Mapping | None = None, ranked_native: bool | None = None) -> Checked:
    """What would be used of a file, as the given mapping says, else by the form its fields tell.

    `ranked_native` says that the file is of our own form: ranked answers (True) or instructions (False).
    Raises DataError when it cannot be read, is empty or is of no known form; a file of which nothing can
    be used is none.
    """
    source = Source.open(path)
    if mapping is None and ranked_native is not None:
        form = NATIVE if ranked_native else INSTRUCTIONS
    elif mapping is None:
        form = form_of(source) or _instructions(source)
    else:
        form = "mapping"
    if form == INSTRUCTIONS:
        return _checked(source, form, sort_native(source, Instruction), "people")
    if form == NATIVE:
        return _checked(source, form, sort_native(source, RankedPrompt), "people")
    ranked = sort_preferences(source, mapping)
    return _checked(source, ranked.form, ranked, _judges(mapping or MAPPINGS[ranked.form]))


def checked_text(checked: Checked) -> str:
    """The lines that are printed: form, use, labels, lengths, near duplicates, reasons."""
    unused = checked.num_lines - checked.num_used
    lines = [
        f"{checked.path}: {_form_text(checked.form)}",
        f"  {_count(checked.num_lines, checked.unit)}: {checked.num_used:,} used, {unused:,} not",
    ]
    if checked.num_used:
        lines += _use_text(checked)
    if checked.faults:
        lines.append("  not used:")
        lines += [f"    {line}" for line in _reason_lines(checked)]
    return "\n".join(shown(line, 1000) for line in lines)


def _instructions(source: Source) -> str:
    for _, value in source:
        if isinstance(value, dict) and {"prompt", "response"} <= value.keys():
            return INSTRUCTIONS
    raise unknown_form(source)


def _checked(
    source: Source, form: str, found: Sorted[Instruction] | Sorted[RankedPrompt], judged_by: str
) -> Checked:
    ranked = [line for line in found.lines if isinstance(line, RankedPrompt)]
    texts = [answer.text for line in ranked for answer in line.answers]
    texts += [line.response for line in found.lines if isinstance(line, Instruction)]
    repeated, near, num_uncompared = _duplicates(found.lines, found.numbers)
    pairs, ties = _pairs(ranked)
    return Checked(
        path=source.path,
        form=form,
        unit=found.unit,
        num_lines=found.num_lines,
        num_used=found.num_lines - len(found.faults),
        num_prompts=len(found.lines),
        num_answers=len(texts),
        num_pairs=pairs,
        num_ties=ties,
        labels=_labels(ranked),
        judged_by=judged_by,
        prompt_lengths=Lengths.of([line.prompt for line in found.lines]),
        answer_lengths=Lengths.of(texts),
        repeated=repeated,
        near=near,
        num_uncompared=num_uncompared,
        faults=found.faults,
    )


def _duplicates(lines: Sequence[Line], numbers: Sequence[int]) -> tuple[list[int], list[int], int]:
    """The lines whose prompt stands earlier, those near an earlier one, and how many were not compared."""
    first: dict[str, int] = {}
    repeated = []
    for line, number in zip(lines, numbers, strict=True):
        if first.setdefault(line.prompt, number) != number:
            repeated.append(number)
    room = MAX_COMPARED
    compared = []
    for prompt in first:
        if len(prompt) <= min(MAX_PROMPT, room):
            compared.append(prompt)
            room -= len(prompt)
    is_new = Pool(MAX_ROUGE).keep_new(compared)
    near = [first[prompt] for prompt, new in zip(compared, is_new, strict=True) if not new]
    return repeated, near, len(first) - len(compared)


def _pairs(ranked: Sequence[RankedPrompt]) -> tuple[int, int]:
    pairs = ties = 0
    for line in ranked:
        places = line.places
        tied = sum(count * (count - 1) // 2 for count in Counter(places).values())
        pairs += len(places) * (len(places) - 1) // 2 - tied
        ties += tied
    return pairs, ties


def _labels(ranked: Sequence[RankedPrompt]) -> dict[str, int]:
    """How many answers have which kind of label."""
    counts: Counter[str] = Counter()
    for line in ranked:
        for answer in line.answers:
            counts["rank"] += answer.rank is not None
            counts["score"] += answer.score is not None
            counts["justification"] += bool(answer.justification)
            if answer.labelled_by != "people":
                counts[f"labelled by {answer.labelled_by}"] += 1
    return {kind: count for kind, count in counts.items() if count}


def _judges(mapping: Mapping) -> str:
    votes = len(mapping.label)
    how = {
        "ranked": "ranks" if mapping.rank else "scores",
        "votes": f"the majority of {votes} votes" if votes > 1 else "one label a pair",
        "chosen": "chosen and rejected",
        "scored": "scores",
    }
    return f"{mapping.judged_by}: {how[mapping.shape]}"


def _form_text(form: str) -> str:
    known = {
        INSTRUCTIONS: "instructions, our own form",
        NATIVE: "ranked answers, our own form",
        "mapping": "preferences, by the mapping given",
    }
    return known.get(form, f"preferences, of the form `{form}`")


def _use_text(checked: Checked) -> list[str]:
    if checked.form == INSTRUCTIONS:
        lines = [f"  used as: {_count(checked.num_prompts, 'instruction')}"]
    else:
        prompts, answers = _count(checked.num_prompts, "prompt"), _count(checked.num_answers, "answer")
        pairs, ties = _count(checked.num_pairs, "pair"), _count(checked.num_ties, "tie")
        labels = ", ".join(f"{kind} {count:,}" for kind, count in checked.labels.items())
        lines = [
            f"  used as: {prompts} with {answers}; {pairs} with a better one, {ties}",
            f"  labels: {labels} (from {checked.judged_by})",
        ]
    lines.append(
        f"  characters of a prompt: {checked.prompt_lengths}; of an answer: {checked.answer_lengths}"
    )
    if checked.repeated:
        where = _where(checked.repeated, checked.unit)
        lines.append(f"  prompts that stand earlier too: {len(checked.repeated):,} ({where})")
    near = f" ({_where(checked.near, checked.unit)})" if checked.near else ""
    longer = (
        f"; {checked.num_uncompared:,} not compared, as too long or too many"
        if checked.num_uncompared
        else ""
    )
    lines.append(
        f"  prompts near an earlier one (ROUGE-L above {MAX_ROUGE}): {len(checked.near):,}{near}{longer}"
    )
    return lines


def _reason_lines(checked: Checked) -> list[str]:
    """Every reason with its count and lines, the most frequent first; a single line's with its detail."""
    by_reason: dict[str, list[Fault]] = {}
    for fault in checked.faults:
        by_reason.setdefault(fault.reason, []).append(fault)
    lines = []
    for faults in sorted(by_reason.values(), key=len, reverse=True):
        what = str(faults[0]) if len(faults) == 1 else shown(faults[0].reason, 400)
        where = _where([fault.number for fault in faults], checked.unit)
        lines.append(f"{len(faults):,} × {what}: {where}")
    return lines


def _where(numbers: Sequence[int], unit: str) -> str:
    rest = len(numbers) - SHOWN_NUMBERS
    first = ", ".join(map(str, numbers[:SHOWN_NUMBERS]))
    return f"{unit}{'s' if len(numbers) > 1 else ''} {first}" + (f" and {rest:,} more" if rest > 0 else "")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
