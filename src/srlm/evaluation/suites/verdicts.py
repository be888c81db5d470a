"""What a judge said of two contestants: in comparisons, or by the grades of each; and of the prompts."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from srlm.evaluation.head_to_head import both_orders, couples_of
from srlm.evaluation.suites.asking import Answers, Place, Prompts
from srlm.evaluation.suites.bench import Help
from srlm.records import Comparison, Judgment, Label, Prompt, Response, content_id
from srlm.stages.comparisons import VERDICTS, Couple, Couples, Verdict
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

    def comparisons(self, ours: Answers, theirs: Answers) -> list[Comparison]:
        """Both orders of every couple; who could not answer a prompt loses it by rule."""
        if not self.judged:
            return [*(self.found or ()), *forfeits(ours, theirs)]
        scores = {item.response_id: item for found in self.judged.values() for item in found}
        return by_scores(to_judge(ours, theirs), scores) + forfeits(ours, theirs)


def to_judge(ours: Answers, theirs: Answers) -> Couples:
    """What a judge is asked: both orders of every prompt that both have answered, in different words."""
    silent = ours.unanswered | theirs.unanswered
    return both_orders(couple for couple in couples_of(ours, theirs) if couple[0].prompt_id not in silent)


def forfeits(ours: Answers, theirs: Answers) -> list[Comparison]:
    """Both orders of every prompt that one of the two could not be asked: that one loses."""
    silent = ours.unanswered ^ theirs.unanswered
    couples = (couple for couple in couples_of(ours, theirs) if couple[0].prompt_id in silent)
    return [_forfeit(*couple) for couple in both_orders(couples)]


def _forfeit(first: Response, second: Response) -> Comparison:
    return Comparison(
        id=content_id("forfeit", first.id, second.id),
        prompt_id=first.prompt_id,
        first_id=first.id,
        second_id=second.id,
        rubric="none: one side could not be asked",
        verdict="second" if not first.text else "first",
        reason=None,
        reply="",
    )


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
