"""What the votes of a study say, beside the words of the run's judges."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from srlm.evaluation.intervals import Estimate, Share, bootstrap
from srlm.people.asking import CHOICES, Item, Kind, Vote
from srlm.people.ballots import ballots, shown
from srlm.people.judges import judge_figures, judge_verdicts
from srlm.people.results import comparison_figures, rating_figures
from srlm.people.votes import BallotBox


def study_figures(folder: Path, box: BallotBox) -> dict[str, Any]:
    """The figures of a run's study, ready for JSON: `kind`, `figures` of people, and `judges` beside them.

    Of comparisons the figures have `left`, the share of single votes that prefer an answer and prefer the one
    on the left: 0.5 is no bias, for sides are balanced.
    """
    own = folder / "human" / box.path.stem  # where its answers lie if it had its models answer
    kind, votes = box.study.kind, box.votes()
    found = figures_of(own if own.is_dir() else folder, kind, box.items, votes)
    if kind == "comparison":
        found["figures"]["left"] = asdict(left(box.items, votes, box.study.seed))
    return {"kind": kind} | found


def figures_of(folder: Path, kind: Kind, items: Sequence[Item], votes: Sequence[Vote]) -> dict[str, Any]:
    """`figures` and `judges` of a study; `folder`: of the run whose judges scored its answers."""
    measure = comparison_figures if kind == "comparison" else rating_figures
    judges = judge_figures(items, votes, judge_verdicts(folder, items))
    return {"figures": measure(items, votes), "judges": judges}


def left(items: Sequence[Item], votes: Sequence[Vote], seed: int) -> Estimate:
    """How often people prefer what stands on the left, with its interval over prompts; checks left out."""
    asked = {
        (who, one.item.id): one
        for who in {vote.annotator for vote in votes}
        for one in ballots(items, who, seed)
    }
    preferred: dict[str, list[bool]] = {}
    for vote in votes:
        ballot = asked[vote.annotator, vote.item]
        if vote.choice in CHOICES and vote.choice != "tie" and not ballot.item.check:
            preferred.setdefault(ballot.item.prompt_id, []).append(shown(ballot, vote.choice) in "12")

    def share(said: list[bool]) -> Share:
        return sum(said), len(said)

    return bootstrap(list(preferred.values()), share, seed=seed)
