"""Seed data from message trees, as the paper makes it from Open Assistant (sections 2.1 and 3.1.1).

IFT: the first turn of a conversation and the answer that people ranked best. EFT: prompts with several
answers that people ranked, none of them an IFT prompt. What every filter leaves is counted.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from srlm.errors import DataError
from srlm.records import seed_for
from srlm.seeds.balance import without_length
from srlm.seeds.loading import Instruction, RankedAnswer, RankedPrompt, Split
from srlm.seeds.oasst import Fault, Message, fault_counts, fault_lines
from srlm.seeds.rank_scores import scored_by_rank
from srlm.similarity import Pool

PAPER = {"ift": 3200, "eft_train": 1630, "eft_heldout": 541}
"""Examples in the paper (section 3.1.1); an EFT example is one ranked answer."""

Scores = Literal["none", "rank"]


@dataclass(frozen=True)
class BuildOptions:
    """What is taken from the trees, and how it is divided."""

    lang: str = field(default="en", metadata={"help": "language of prompts and answers (paper: English)"})
    eft_turns: int = field(
        default=1,
        metadata={
            "help": "user turns a ranked prompt may have; the loop judges prompts of one turn, and of longer "
            "ones the whole conversation so far becomes the prompt"
        },
    )
    max_prompt_chars: int = field(default=2000, metadata={"help": "longest prompt that is taken"})
    max_answer_chars: int = field(
        default=8000, metadata={"help": "longest answer that is taken, about 2,000 tokens of English"}
    )
    max_rouge: float = field(
        default=0.7,
        metadata={"help": "ROUGE-L F above which two prompts count as the same (section 2.3's limit)"},
    )
    eft_share: float = field(
        default=0.5,
        metadata={
            "help": "share of the trees good for both that go to EFT; the paper's 3,200 to 2,171 examples "
            "need about 0.2"
        },
    )
    heldout: float = field(
        default=0.25, metadata={"help": "share of the EFT prompts held out (paper: 541 of 2,171 examples)"}
    )
    ift_heldout: float = field(
        default=0.0, metadata={"help": "share of the IFT prompts held out (paper: all 3,200 are trained on)"}
    )
    balance_length: bool = field(
        default=False,
        metadata={
            "help": "leave out training prompts until the longer answer wins as often as not, so "
            "that length cannot be learned as quality"
        },
    )
    justify: bool = field(
        default=True,
        metadata={
            "help": "write a justification before a score that comes from a rank; else the score alone"
        },
    )
    scores: Scores = field(
        default="none",
        metadata={
            "help": "`none`: ranks alone, the SFT baseline writes scores later (section 3.1.1); `rank`: "
            "scores and reasons from what people said, for a baseline too weak to judge"
        },
    )

    def __post_init__(self) -> None:
        whole = ("eft_turns", "max_prompt_chars", "max_answer_chars")
        _refuse([name for name in whole if getattr(self, name) < 1], self, "it is less than 1")
        shares = ("max_rouge", "eft_share", "heldout", "ift_heldout")
        _refuse([name for name in shares if not 0 <= getattr(self, name) <= 1], self, "it is not in 0 to 1")
        _refuse(
            ["scores"] if self.scores not in ("none", "rank") else [], self, "it is neither none nor rank"
        )


@dataclass(frozen=True)
class Stage:
    """What is left after a filter: IFT prompts, EFT prompts, and the ranked answers of these."""

    name: str
    ift: int
    eft_prompts: int
    eft_answers: int


@dataclass(frozen=True)
class Built:
    """Seed data in the native forms, and the counts on the way to it."""

    instructions: list[Instruction]
    ranked: list[RankedPrompt]
    funnel: list[Stage]

    def parts(self) -> dict[str, int]:
        """Examples by part, an EFT example being one ranked answer, to set beside `PAPER`."""
        counts = dict.fromkeys(("ift_train", "ift_heldout", "eft_train", "eft_heldout"), 0)
        for instruction in self.instructions:
            counts[f"ift_{instruction.split}"] += 1
        for line in self.ranked:
            counts[f"eft_{line.split}"] += len(line.answers)
        return counts


@dataclass(frozen=True)
class _Candidate:
    """A prompt with the answers that may be used, and what was said before it, nearest first."""

    tree: int
    prompt: Message
    answers: tuple[Message, ...]
    turn: int = 1
    before: "_Before | None" = None
    said: tuple[Message, ...] = ()

    @property
    def text(self) -> str:
        if not self.said:
            return self.prompt.text.strip()
        names = {"prompter": "User", "assistant": "Assistant"}
        turns = [*reversed(self.said), self.prompt]
        return "\n\n".join(f"{names[turn.role]}: {turn.text.strip()}" for turn in turns)


@dataclass(frozen=True)
class _Before:
    """A message and the one before it: a path that costs nothing to keep, however deep the tree is."""

    message: Message
    before: "_Before | None" = field(compare=False, repr=False)


Test = Callable[[Message], bool]
Pools = tuple[list[_Candidate], list[_Candidate]]  # IFT, EFT


def build_seed(
    trees: Sequence[Message], options: BuildOptions | None = None, avoid: Sequence[str] = ()
) -> Built:
    """IFT and EFT examples of the trees, and a row of the funnel for every filter.

    `avoid` are prompts of evaluations; what is near one of them is left out, or
    the evaluation would measure memory. The same trees give the same seed, and trees added at the end move no
    prompt from one side or split to the other.
    """
    options = options or BuildOptions()
    pools: Pools = (_best_first_turns(trees), _ranked_prompts(trees))
    funnel = [_row("labelled by people", pools)]
    tests = _tests(options)
    for name, test in tests.items():
        pools = (_sifted(pools[0], test), _sifted(pools[1], test))
        funnel.append(_row(name, pools))
    pools = (pools[0], _early(pools[1], options.eft_turns, list(tests.values())))
    funnel.append(_row(f"user turns: 1, EFT at most {options.eft_turns}", pools))
    pools = (pools[0], _with_choice(pools[1]))
    funnel.append(_row("rank 0 there; two ranked answers differ", pools))
    pools = (_fitting(pools[0], options), _with_choice(_fitting(pools[1], options)))
    funnel.append(_row("not too long", pools))
    for name, known in _known_texts(options, avoid).items():
        pools = _without_repeats(pools, known)
        funnel.append(_row(name, pools))
    pools = _apart(pools, options.eft_share)
    funnel.append(_row("IFT and EFT disjoint", pools))
    instructions = [_instruction(item, options) for item in pools[0]]
    ranked = [_ranked(item, options) for item in pools[1]]
    if options.balance_length:
        ranked = without_length(ranked)
        answers = sum(len(line.answers) for line in ranked)
        row = Stage("longer wins as often as not", len(instructions), len(ranked), answers)
        funnel.append(row)
    return Built(instructions, ranked, funnel)


def seed_files(built: Built, faults: Sequence[Fault] = (), shared: Sequence[str] = ()) -> dict[str, str]:
    """The texts of `instructions.jsonl`, `ranked.jsonl` and `funnel.json`, by file name."""
    funnel = {
        "stages": [asdict(stage) for stage in built.funnel],
        "examples": built.parts(),
        "paper": PAPER,
        "faults": fault_counts(faults),
        "first_faults": fault_lines(faults),
        "trees_in_two_sources": list(shared),
    }
    return {
        "instructions.jsonl": _lines(built.instructions),
        "ranked.jsonl": _lines(built.ranked),
        "funnel.json": json.dumps(funnel, indent=2) + "\n",
    }


def funnel_table(built: Built) -> str:
    """The funnel as a plain table, and the sizes of the parts beside the paper's."""
    rows = [("left after", "IFT prompts", "EFT prompts", "EFT answers")]
    rows += [
        (stage.name, f"{stage.ift:,}", f"{stage.eft_prompts:,}", f"{stage.eft_answers:,}")
        for stage in built.funnel
    ]
    counts = built.parts()
    prompts = {side: sum(line.split == side for line in built.ranked) for side in ("train", "heldout")}
    for name, side in (("to train on", "train"), ("held out", "heldout")):
        rows.append((name, f"{counts[f'ift_{side}']:,}", f"{prompts[side]:,}", f"{counts[f'eft_{side}']:,}"))
    rows.append(("paper, to train on", f"{PAPER['ift']:,}", "", f"{PAPER['eft_train']:,}"))
    rows.append(("paper, held out", "", "", f"{PAPER['eft_heldout']:,}"))
    wide = max(len(row[0]) for row in rows)
    return "\n".join("  ".join([row[0].ljust(wide), *(cell.rjust(11) for cell in row[1:])]) for row in rows)


def _refuse(names: list[str], options: BuildOptions, why: str) -> None:
    if names:
        given = ", ".join(f"{name}={getattr(options, name)!r}" for name in names)
        raise DataError(given, why, "see the fields of srlm.seeds.building.BuildOptions")


def _lines(items: Iterable[Instruction | RankedPrompt]) -> str:
    """One object a line, without what the reader takes for granted."""
    return "".join(
        json.dumps(item.model_dump(mode="json", exclude_defaults=True), ensure_ascii=False) + "\n"
        for item in items
    )


def _row(name: str, pools: Pools) -> Stage:
    ift, eft = pools
    return Stage(name, len(ift), len(eft), sum(len(item.answers) for item in eft))


def _best_first_turns(trees: Sequence[Message]) -> list[_Candidate]:
    """Roots with the answer of rank 0, the first of them where several share it."""
    found = []
    for tree, root in enumerate(trees):
        best = [reply for reply in _ranked_replies(root) if reply.rank == 0]
        if best:
            found.append(_Candidate(tree, root, (best[0],)))
    return found


def _ranked_prompts(trees: Sequence[Message]) -> list[_Candidate]:
    """Prompts at any depth with two or more ranked answers."""
    found = []
    for tree, root in enumerate(trees):
        waiting: list[tuple[Message, _Before | None, int]] = [(root, None, 0)]
        while waiting:
            message, before, messages = waiting.pop()
            answers = _ranked_replies(message)
            if len(answers) >= 2:
                found.append(_Candidate(tree, message, answers, messages // 2 + 1, before))
            here = _Before(message, before)
            waiting.extend((reply, here, messages + 1) for reply in reversed(message.replies))
    return found


def _ranked_replies(message: Message) -> tuple[Message, ...]:
    """A prompt's ranked answers, the best first and ties in their order."""
    if message.role != "prompter":
        return ()
    ranked = [reply for reply in message.replies if reply.role == "assistant" and reply.rank is not None]
    return tuple(sorted(ranked, key=lambda reply: reply.rank or 0))


def _tests(options: BuildOptions) -> dict[str, Test]:
    """What every message must pass, prompt and answer alike."""
    return {
        f"language is {options.lang}": lambda message: message.lang == options.lang,
        "not deleted": lambda message: not message.deleted,
        "not refused in review": lambda message: message.review_result is not False,
        "not synthetic": lambda message: not message.synthetic,
    }


def _sifted(items: list[_Candidate], test: Test) -> list[_Candidate]:
    """What has a good prompt and a good answer left."""
    return _with_good_answers([item for item in items if test(item.prompt)], test)


def _with_good_answers(items: list[_Candidate], test: Test) -> list[_Candidate]:
    kept = [replace(item, answers=tuple(filter(test, item.answers))) for item in items]
    return [item for item in kept if item.answers]


def _early(items: list[_Candidate], turns: int, tests: Sequence[Test]) -> list[_Candidate]:
    """Prompts of the first turns; all that was said before one must pass the tests as well."""
    kept = []
    for item in items:
        if item.turn > turns:
            continue
        said, before = [], item.before
        while before:
            said.append(before.message)
            before = before.before
        if all(test(message) for message in said for test in tests):
            kept.append(replace(item, said=tuple(said), before=None))
    return kept


def _with_choice(items: list[_Candidate]) -> list[_Candidate]:
    """Prompts with two or more answers of different text; of equal ones the best ranked stays."""
    kept = []
    for item in items:
        first = {answer.text.strip(): answer for answer in reversed(item.answers)}
        answers = tuple(answer for answer in item.answers if first[answer.text.strip()] is answer)
        if len(answers) >= 2:
            kept.append(replace(item, answers=answers))
    return kept


def _fitting(items: list[_Candidate], options: BuildOptions) -> list[_Candidate]:
    short = [item for item in items if len(item.text) <= options.max_prompt_chars]
    return _with_good_answers(short, lambda answer: len(answer.text.strip()) <= options.max_answer_chars)


Known = Callable[[list[str]], list[bool]]


def _known_texts(options: BuildOptions, avoid: Sequence[str]) -> dict[str, Known]:
    """For each kind of repeat, which of some texts are new."""
    avoided = {_plain(text) for text in avoid}
    near = Pool(options.max_rouge, avoid)
    return {
        "prompt not there before": lambda texts: _first_of_each([_plain(text) for text in texts]),
        "prompt not near another": Pool(options.max_rouge).keep_new,
        # A text without words is near nothing, so equality is asked first.
        "prompt not near an evaluation's": lambda texts: [
            new and _plain(text) not in avoided for text, new in zip(texts, near.keep_new(texts), strict=True)
        ],
    }


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def _first_of_each(texts: list[str]) -> list[bool]:
    seen: set[str] = set()
    return [not (text in seen or seen.add(text)) for text in texts]  # type: ignore[func-returns-value]


def _without_repeats(pools: Pools, are_new: Known) -> Pools:
    """Both pools without repeats, within and between them; a prompt that stands in both is one prompt.

    Earlier trees go first in both pools, so trees that are added later push none of theirs out.
    """
    ift, eft = pools
    in_order = sorted([*ift, *eft], key=lambda item: item.tree)
    texts = {item.prompt.id: item.text for item in in_order}
    kept = {key for key, new in zip(texts, are_new(list(texts.values())), strict=True) if new}
    return (
        [item for item in ift if item.prompt.id in kept],
        [item for item in eft if item.prompt.id in kept],
    )


def _apart(pools: Pools, eft_share: float) -> Pools:
    """A tree serves one side: its only one, or the one that its first prompt's content says."""
    ift, eft = pools
    both = {item.tree for item in ift} & {item.tree for item in eft}
    to_eft = {item.tree for item in ift if _share("oasst side", item.text) < eft_share} & both
    return (
        [item for item in ift if item.tree not in to_eft],
        [item for item in eft if item.tree not in both - to_eft],
    )


def _share(*parts: str) -> float:
    return seed_for(*parts) / 2**63


def _split(text: str, heldout: float) -> Split:
    """The side that `load_seed` would choose as well with the same share."""
    return "heldout" if _share("split", text) < heldout else "train"


def _instruction(item: _Candidate, options: BuildOptions) -> Instruction:
    return Instruction(
        prompt=item.text,
        response=item.answers[0].text.strip(),
        split=_split(item.text, options.ift_heldout),
    )


def _ranked(item: _Candidate, options: BuildOptions) -> RankedPrompt:
    bare = tuple(RankedAnswer(text=answer.text.strip(), rank=answer.rank) for answer in item.answers)
    answers = (
        scored_by_rank(bare, item.answers, justify=options.justify) if options.scores == "rank" else bare
    )
    return RankedPrompt(prompt=item.text, answers=answers, split=_split(item.text, options.heldout))
