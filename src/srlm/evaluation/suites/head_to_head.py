"""Every model against all that came before it, on the same prompts."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from srlm.config import HeadToHeadSuite
from srlm.evaluation.fine_grained import by_label
from srlm.evaluation.head_to_head import couples_of, head_to_head
from srlm.evaluation.heldout import answer_shape
from srlm.evaluation.suites.asking import Answers, Contestant, Place, answers_of, spread
from srlm.evaluation.suites.bench import Help
from srlm.evaluation.suites.verdicts import Findings, Verdicts, prompt_labels, to_judge
from srlm.judging.rubric import Rubric, load_rubric
from srlm.records import Comparison, Judgment, Label, Prompt
from srlm.seeds.hub import data_file
from srlm.seeds.prompts import read_prompts
from srlm.stages.comparisons import compare
from srlm.stages.judgments import judge
from srlm.store.jsonl import Records

VALUE = {"win": 1.0, "tie": 0.5, "loss": 0.0}
AGAINST = "against_"
"""Begins the name of a match's step."""


@dataclass
class HeadToHead:
    """Keeps the answers of those who came before, and their scores where a rubric grades."""

    section: HeadToHeadSuite
    heldout: Sequence[Prompt]
    seen: dict[str, Answers] = field(default_factory=dict)
    judged: dict[str, Records[Judgment]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        source = self.section.prompts
        prompts = list(self.heldout) if source == "builtin" else read_prompts(data_file(source))
        self.prompts = spread(prompts, self.section.limit)
        self.rubric: Rubric = load_rubric(self.section.rubric)

    def asked(self) -> list[str]:
        return [prompt.text for prompt in self.prompts]

    def answer(self, at: Place, who: Contestant) -> Answers:
        return answers_of(at, self.section, who, self.prompts)

    def examine(self, at: Place, who: Contestant, answers: Answers, help_: Help) -> dict[str, Findings]:
        """What the judge said, by opponent: a step each, so that one who comes later changes nothing."""
        yardstick, judging = help_.config.evaluation.judge, (help_.the_judge(), self.rubric)
        labels = prompt_labels(at, help_, self.prompts) if self.section.labels else None
        if not self.rubric.compares:
            step = at.step("judgments")
            mine = at.run.records(step, Judgment, judge, yardstick, *judging, answers.asked())
            self.judged[who.name] = mine
            return {
                name: Findings(labels, judged={name: self.judged[name], who.name: mine}) for name in self.seen
            }
        found = {}
        for name, theirs in self.seen.items():
            step = at.step(f"comparisons_{name}")
            asked = (*judging, to_judge(answers, theirs))
            compared = at.run.records(step, Comparison, compare, yardstick, *asked)
            found[name] = Findings(labels, compared)
        return found

    def figures(
        self, at: Place, who: Contestant, answers: Answers, findings: dict[str, Findings]
    ) -> dict[str, Any]:
        """The answers' own figures, and the match `against` each who came before."""
        measured = partial(match, seed=at.run.config.seed)
        against = {
            name: at.run.result(
                at.step(f"{AGAINST}{name}"),
                measured,
                (who.name, name),
                answers,
                self.seen[name],
                found.verdicts(),
                found.labels,
            )
            for name, found in findings.items()
        }
        self.seen[who.name] = answers
        return at.run.result(at.step("figures"), own_figures, answers) | {"against": against}


def match(
    names: tuple[str, str],
    ours: Answers,
    theirs: Answers,
    verdicts: Verdicts,
    labels: Records[Label] | None,
    *,
    seed: int,
) -> dict[str, Any]:
    """What head_to_head gives, and wins `by_label`."""
    found = head_to_head(names, couples_of(ours, theirs), verdicts.comparisons(ours, theirs), seed)
    if labels is not None:
        values = {prompt: VALUE.get(what) for prompt, what in found["by_prompt"].items()}
        found["by_label"] = by_label(values, labels, seed)
    return found


def own_figures(answers: Answers) -> dict[str, Any]:
    """`answers`, their shape, and how many prompts are `unanswered`."""
    return {"answers": answer_shape(list(answers)), "unanswered": len(answers.unanswered)}
