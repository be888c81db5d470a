"""Every model against all that came before it, on the same prompts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from srlm.config import HeadToHeadSuite
from srlm.evaluation.fine_grained import by_label
from srlm.evaluation.head_to_head import (
    both_orders,
    couples_of,
    head_to_head,
)
from srlm.evaluation.heldout import answer_shape
from srlm.evaluation.suites.asking import Answers, Contestant, Place, answers_of, read_prompts, spread
from srlm.evaluation.suites.bench import Help
from srlm.evaluation.suites.verdicts import Findings, Verdicts, prompt_labels
from srlm.judging.rubric import Rubric, load_rubric
from srlm.records import Comparison, Judgment, Label, Prompt, content_id
from srlm.stages.comparisons import Couples, compare
from srlm.stages.judgments import judge
from srlm.store.jsonl import Records

VALUE = {"win": 1.0, "tie": 0.5, "loss": 0.0}


@dataclass
class HeadToHead:
    """Keeps the answers of those who came before, and their scores where a rubric grades."""

    section: HeadToHeadSuite
    heldout: Sequence[Prompt]
    seen: dict[str, Answers] = field(default_factory=dict)
    judged: dict[str, Records[Judgment]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        source = self.section.prompts
        prompts = list(self.heldout) if source == "builtin" else read_prompts(Path(source))
        self.prompts = spread(prompts, self.section.limit)
        self.rubric: Rubric = load_rubric(self.section.rubric)

    def asked(self) -> list[str]:
        return [prompt.text for prompt in self.prompts]

    def answer(self, at: Place, who: Contestant) -> Answers:
        return answers_of(at, self.section, who, self.prompts)

    def examine(self, at: Place, who: Contestant, answers: Answers, help_: Help) -> Findings:
        yardstick = help_.config.evaluation.judge
        labels = prompt_labels(at, help_, self.prompts) if self.section.labels else None
        if not self.rubric.compares:
            given = (help_.the_judge(), self.rubric, answers)
            found = at.run.records(at.step("judgments"), Judgment, judge, yardstick, *given)
            self.judged[who.name] = found
            return Findings(labels, judged=dict(self.judged))
        couples = [
            couple for other in self.seen.values() for couple in both_orders(couples_of(answers, other))
        ]
        if not couples:
            return Findings(labels)
        once = Couples(list({(one.id, other.id): (one, other) for one, other in couples}.values()))
        asked = (help_.the_judge(), self.rubric, once)
        comparisons = at.run.records(at.step("comparisons"), Comparison, compare, yardstick, *asked)
        return Findings(labels, comparisons)

    def figures(self, at: Place, who: Contestant, answers: Answers, findings: Findings) -> dict[str, Any]:
        before = dict(self.seen)
        self.seen[who.name] = answers
        measured = partial(measure, seed=at.run.config.seed)
        given = (who.name, answers, _Opponents(before), findings.verdicts(), findings.labels)
        return at.run.result(at.step("figures"), measured, *given)


@dataclass(frozen=True)
class _Opponents:
    """Those who came before, with their answers."""

    answers: Mapping[str, Answers]

    @property
    def digest(self) -> str:
        return content_id("opponents", [[name, found.digest] for name, found in self.answers.items()])


def measure(
    name: str,
    ours: Answers,
    opponents: _Opponents,
    verdicts: Verdicts,
    labels: Records[Label] | None,
    *,
    seed: int,
) -> dict[str, Any]:
    """`against`, by opponent: head_to_head and wins `by_label`; `answers`, their shape; `unanswered`."""
    against = {}
    for other, theirs in opponents.answers.items():
        couples = couples_of(ours, theirs)
        found = head_to_head((name, other), couples, verdicts.comparisons(ours, theirs), seed)
        if labels is not None:
            values = {prompt: VALUE.get(what) for prompt, what in found["by_prompt"].items()}
            found["by_label"] = by_label(values, labels, seed)
        against[other] = found
    return {"against": against, "answers": answer_shape(list(ours)), "unanswered": ours.unanswered}
