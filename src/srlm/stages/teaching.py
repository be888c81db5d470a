"""What M1 learns about judging: one EFT example a scored seed answer (paper, section 2.1)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from srlm.config import EftSection
from srlm.judging.eft import agreed, eft_examples
from srlm.judging.rubric import Rubric
from srlm.records import Example, Judgment
from srlm.seeds import RankedPrompt
from srlm.store.blocks import Block, Resume


def teach(
    section: EftSection,
    rubric: Rubric,
    ranked: Sequence[RankedPrompt],
    judgments: Iterable[Judgment],
    *,
    seed: int = 0,
    resume: Resume[Example] | None = None,
) -> Iterator[Block[Example]]:
    """One block of examples; its counts say who labelled them and what the agreement filter kept.

    `judgments` are the SFT baseline's of the prompts that have ranks alone.
    """
    if resume and resume.blocks:
        return
    found, counts = agreed(section, rubric, [line for line in ranked if not line.is_scored], judgments, seed)
    lines = [*(line for line in ranked if line.is_scored), *found]
    labels = Counter(
        f"labelled by {answer.labelled_by}"
        for line in lines
        for answer in line.answers
        if answer.score is not None
    )
    examples = eft_examples(lines, rubric)
    yield Block(examples, len(ranked), len(ranked), +(counts + labels))
