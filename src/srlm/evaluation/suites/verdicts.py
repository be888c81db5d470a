"""What a judge said of two contestants: in comparisons, or by the grades of each; and of the prompts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from srlm.evaluation.head_to_head import both_orders, couples_of
from srlm.evaluation.suites.asking import Answers, Place, Prompts
from srlm.evaluation.suites.bench import Help
from srlm.records import Comparison, Judgment, Label, Prompt, content_id
from srlm.stages.comparisons import VERDICTS, Couple, Verdict
from srlm.stages.labels import label
from srlm.store.jsonl import Records


@dataclass(frozen=True)
class Findings:
    """Comparisons, or judgments by contestant; and labels of the prompts, where they were asked for."""

    labels: Records[Label] | None
    comparisons: Records[Comparison] | None = None
    judged: Mapping[str, Records[Judgment]] = field(default_factory=dict)

    def verdicts(self) -> "Verdicts":
        """What was said of the answers."""
        return Verdicts(self.comparisons, self.judged)


@dataclass(frozen=True)
class Verdicts:
    """Comparisons, or the judgments from which they follow, by model."""

    found: Records[Comparison] | None
    judged: Mapping[str, Records[Judgment]]

    @property
    def digest(self) -> str:
        digests = [one.digest for one in self.judged.values()]
        return content_id("verdicts", digests, self.found.digest if self.found else None)

    def comparisons(self, ours: Answers, theirs: Answers) -> Iterable[Comparison]:
        """Both orders of every couple."""
        if not self.judged:
            return self.found or ()
        scores = {item.response_id: item for found in self.judged.values() for item in found}
        return by_scores(both_orders(couples_of(ours, theirs)), scores)


def by_scores(couples: Iterable[Couple], judgments: Mapping[str, Judgment]) -> list[Comparison]:
    """Comparisons from grades: the higher score wins, equal ones tie, an unread one says nothing."""
    found = []
    for first, second in couples:
        one, other = judgments[first.id], judgments[second.id]
        verdict: Verdict | None = None
        reason: str | None = None
        if one.score is None or other.score is None:
            reason = next((why for item in (one, other) for why in item.reasons if why), "no score")
        else:
            order = (one.score > other.score) - (one.score < other.score)
            verdict = VERDICTS[{1: 0, -1: 1, 0: 2}[order]]
        found.append(
            Comparison(
                id=content_id("by scores", one.id, other.id),
                prompt_id=first.prompt_id,
                first_id=first.id,
                second_id=second.id,
                rubric=one.rubric,
                verdict=verdict,
                reason=reason,
                reply="",
            )
        )
    return found


def prompt_labels(at: Place, help_: Help, prompts: Sequence[Prompt]) -> Records[Label]:
    """The labels of a suite's prompts, asked for once a run."""
    given = (help_.config.evaluation.judge, help_.the_judge(), Prompts(prompts))
    return at.run.records(f"prompts/{at.suite}/labels", Label, label, *given)
