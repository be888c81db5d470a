"""Two checkpoints of one training on the same prompts, by a judge: which is better (paper, section 3.1.3)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from srlm.config import Config
from srlm.engines.opening import open_engine, open_named
from srlm.evaluation.head_to_head import both_orders, couples_of, head_to_head
from srlm.judging.rubric import load_rubric
from srlm.models import Model, folder_digest
from srlm.records import Prompt, Response, content_id, seed_for
from srlm.stages import records_of
from srlm.stages.comparisons import compare
from srlm.stages.responses import respond

RUBRIC = "pairwise"
KEPT = ("prompts", "wins", "ties", "losses", "unreadable", "win_rate", "first_place")


class CheckpointJudge:
    """`evaluation.judge` on the answers to some held-out prompts, each couple in both orders."""

    def __init__(self, config: Config, others: Mapping[str, Model], prompts: Sequence[Prompt]) -> None:
        self._config, self._others, self._prompts = config, others, prompts
        self._rubric = load_rubric(RUBRIC)
        self._answers: dict[Path, list[Response]] = {}

    @property
    def digest(self) -> str:
        section = self._config.evaluation
        judge, answers = (part.model_dump(mode="json") for part in (section.judge, section.answers))
        return content_id(
            "checkpoints", judge, answers, self._rubric.version, [item.id for item in self._prompts]
        )

    def __call__(self, candidate: Path, before: Path) -> dict[str, Any]:
        """The candidate against the one before: `win_rate`, and the counts behind it (head_to_head)."""
        couples = couples_of(self._answered(candidate), self._answered(before))
        section, name = self._config.evaluation.judge, self._config.evaluation.judge.model
        with open_named(self._config, str(name), self._others) as engine:
            asked = (section, engine, self._rubric, both_orders(couples))
            comparisons = records_of(compare(*asked, seed=self._config.seed))
        found = head_to_head((candidate.name, before.name), couples, comparisons, self._config.seed)
        low_and_high = {"low": found["win_rate"]["low"], "high": found["win_rate"]["high"]}
        return {key: found[key] for key in KEPT} | {"win_rate": found["win_rate"]["value"], **low_and_high}

    def _answered(self, path: Path) -> list[Response]:
        if path not in self._answers:
            model = Model(path.name, path, folder_digest(path), self._config.model.trust_remote_code)
            with open_engine(self._config.engine, model) as engine:
                section = self._config.evaluation.answers.model_copy(update={"samples": 1})
                given = (section, engine, self._prompts)
                self._answers = {path: records_of(respond(*given, seed=self._config.seed))} | self._answers
        return self._answers[path]


def apart(config: Config, heldout: Sequence[Prompt]) -> tuple[list[Prompt], list[Prompt]]:
    """Held-out prompts to choose checkpoints with, a third by their hashes, and those to measure models with.

    What has chosen a checkpoint says too much good of it (the paper keeps 253 and 256 prompts apart). Where
    no checkpoints are compared, all are to measure with.
    """
    if not _wanted(config):
        return [], list(heldout)
    drawn = sorted(heldout, key=lambda prompt: seed_for("validation", prompt.text))
    chosen = drawn[: max(1, len(heldout) // 3)]
    return chosen, [prompt for prompt in heldout if prompt not in chosen]


def checkpoint_judge(
    config: Config, others: Mapping[str, Model], prompts: Sequence[Prompt]
) -> CheckpointJudge | None:
    """The judge of checkpoints, where a training asks for one (`eval_steps`)."""
    return CheckpointJudge(config, others, prompts) if _wanted(config) else None


def _wanted(config: Config) -> bool:
    return bool(config.sft.eval_steps or config.dpo.eval_steps)
