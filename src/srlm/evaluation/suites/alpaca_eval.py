"""AlpacaEval from a model to its two win rates: answer, compare with a baseline in both orders, count."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from srlm.config import AlpacaEvalSuite
from srlm.evaluation.alpaca import (
    Annotation,
    Annotations,
    alpaca_eval,
    read_difficulty,
    read_regularisation,
)
from srlm.evaluation.fine_grained import by_label
from srlm.evaluation.head_to_head import couples_of
from srlm.evaluation.heldout import answer_shape
from srlm.evaluation.suites.asking import (
    Answers,
    Contestant,
    GivenAnswers,
    Place,
    answers_of,
    given_answers,
    spread,
)
from srlm.evaluation.suites.bench import Help
from srlm.evaluation.suites.verdicts import Findings, Verdicts, prompt_labels, to_judge
from srlm.judging.rubric import load_rubric
from srlm.records import Comparison, Judgment, Prompt, Response
from srlm.seeds.hub import data_file
from srlm.seeds.source import Fault
from srlm.stages.comparisons import compare
from srlm.stages.judgments import judge

_VERDICT = {"first": 1.0, "tie": 0.5, "second": 0.0}


@dataclass
class AlpacaEval:
    """The prompts are the baseline's."""

    section: AlpacaEvalSuite

    def __post_init__(self) -> None:
        baseline = GivenAnswers.read(data_file(self.section.baseline))
        every = [Prompt.of(text, (), 0) for text in baseline.texts]
        self.positions = spread(range(len(every)), self.section.limit)
        self.prompts = [every[position] for position in self.positions]
        self.baseline = given_answers(baseline, self.prompts)
        self.rubric = load_rubric(self.section.rubric)
        difficulty, regularisation = self.section.difficulty, self.section.regularisation
        self.difficulty = read_difficulty(data_file(difficulty)) if difficulty else None
        self.regularisation = read_regularisation(data_file(regularisation)) if regularisation else []

    def asked(self) -> list[str]:
        return [prompt.text for prompt in self.prompts]

    def answer(self, at: Place, who: Contestant) -> Answers:
        return answers_of(at, self.section, who, self.prompts)

    def examine(self, at: Place, who: Contestant, answers: Answers, help_: Help) -> Findings:
        labels = prompt_labels(at, help_, self.prompts) if self.section.labels else None
        yardstick, judging = help_.config.evaluation.judge, (help_.the_judge(), self.rubric)
        if self.rubric.compares:
            asked = (Comparison, compare, yardstick, *judging, to_judge(answers, self.baseline))
            return Findings(labels, at.run.records(at.step("comparisons"), *asked))
        both = {
            f"prompts/{at.suite}/baseline_judgments": self.baseline,
            at.step("judgments"): answers.asked(),
        }
        theirs, ours = (
            at.run.records(step, Judgment, judge, yardstick, *judging, said) for step, said in both.items()
        )
        return Findings(labels, judged={"baseline": theirs, who.name: ours})

    def figures(self, at: Place, who: Contestant, answers: Answers, findings: Findings) -> dict[str, Any]:
        given = (answers, self.baseline, findings.verdicts(), findings.labels, at.run.config.seed)
        return at.run.result(at.step("figures"), self._measure, *given, self.difficulty, self.regularisation)

    def _measure(
        self, answers: Answers, baseline: Answers, verdicts: Verdicts, labels: Any, seed: int, *_: object
    ) -> dict[str, Any]:
        comparisons = verdicts.comparisons(answers, baseline)
        annotations = annotate(answers, baseline, comparisons, self.positions)
        figures = alpaca_eval(annotations, self.difficulty, self.regularisation, seed)
        figures |= {
            "unreadable": len(annotations.faults),
            "unanswered": len(answers.unanswered),
            "answers": answer_shape(list(answers)),
        }
        if labels is not None:
            wins: dict[str, float | None] = dict.fromkeys(item.prompt_id for item in answers)
            wins |= {Prompt.of(one.instruction, (), 0).id: one.preference - 1 for one in annotations.usable}
            figures["by_label"] = by_label(wins, labels, seed)
        return figures


def annotate(
    answers: Answers, baseline: Answers, comparisons: Iterable[Comparison], positions: Sequence[int]
) -> Annotations:
    """The judge's preferences, 1 (the baseline's answer) to 2 (ours), each the mean of both orders.

    An order gives p(ours) + p(tie) / 2, by all three, where the probabilities of the verdict's words were
    read, else 1, 1/2 or 0. A prompt of which one order could not be read is a fault; equal texts are 1.5.
    """
    found = {(item.first_id, item.second_id): item for item in comparisons}
    usable, faults = [], []
    for position, (ours, theirs) in zip(positions, couples_of(answers, baseline), strict=True):
        orders = (found.get((ours.id, theirs.id)), found.get((theirs.id, ours.id)))
        if ours.text == theirs.text:
            usable.append(_annotation(position, ours, theirs, 0.5))
            continue
        unread = [item.reason if item else "not judged" for item in orders if not item or not item.verdict]
        if unread:
            faults.append(Fault(position, f"nothing to read ({unread[0]})"))
            continue
        one, turned = (preference(item) for item in orders if item)
        usable.append(_annotation(position, ours, theirs, (one + 1 - turned) / 2))
    return Annotations(tuple(usable), tuple(faults), len(usable) + len(faults))


def preference(comparison: Comparison) -> float:
    """How much a readable comparison prefers its first response, 0..1."""
    chances = comparison.probabilities
    if chances:
        return (chances[0] + chances[2] / 2) / sum(chances)
    return _VERDICT[comparison.verdict or "tie"]


def _annotation(position: int, ours: Response, theirs: Response, share: float) -> Annotation:
    return Annotation(position, ours.prompt, 1 + share, len(theirs.text), len(ours.text))
