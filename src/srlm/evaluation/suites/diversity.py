"""How varied the answers to fixed prompts are, and KL to earlier models of the run."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from srlm.config import DiversitySuite, LocalEngineSection
from srlm.evaluation.diversity import diversity_figures
from srlm.evaluation.suites.asking import Answers, Contestant, Place, answers_of, spread
from srlm.evaluation.suites.bench import Help
from srlm.records import Divergence, Prompt, content_id
from srlm.seeds.hub import data_file
from srlm.seeds.prompts import read_prompts
from srlm.stages.drift import drift
from srlm.store.jsonl import Records


@dataclass(frozen=True)
class Divergences:
    """What was measured along the answers, by reference."""

    by_reference: Mapping[str, Records[Divergence]]

    @property
    def digest(self) -> str:
        return content_id("divergences", [[name, one.digest] for name, one in self.by_reference.items()])


@dataclass
class Diversity:
    """KL needs the model itself: what a server or a file has said has none."""

    section: DiversitySuite
    heldout: Sequence[Prompt]

    def __post_init__(self) -> None:
        source = self.section.prompts
        prompts = list(self.heldout) if source == "builtin" else read_prompts(data_file(source))
        self.prompts = spread(prompts, self.section.limit)

    def asked(self) -> list[str]:
        return [prompt.text for prompt in self.prompts]

    def answer(self, at: Place, who: Contestant) -> Answers:
        return answers_of(at, self.section, who, self.prompts)

    def examine(self, at: Place, who: Contestant, answers: Answers, help_: Help) -> Divergences:
        """KL to each reference that the run has by now; a server's or a file's answers have none."""
        engine, model, found = help_.config.engine, who.model, {}
        if model is not None and isinstance(engine, LocalEngineSection):
            from srlm.engines.divergence import ModelCouple  # loads torch

            for name in self.section.references:
                reference = help_.models.get(name)
                if reference is not None and reference.digest != model.digest:
                    with closing(ModelCouple(engine, model, reference)) as couple:
                        step = at.step(f"divergence_from_{name.replace('/', '_')}")
                        given = (self.section, couple, answers)
                        found[name] = at.run.records(step, Divergence, drift, *given)
        return Divergences(found)

    def figures(self, at: Place, who: Contestant, answers: Answers, findings: Divergences) -> dict[str, Any]:
        given = (answers, findings, at.run.config.seed)
        return at.run.result(at.step("figures"), _measure, *given)


def _measure(answers: Answers, divergences: Divergences, seed: int) -> dict[str, Any]:
    figures = diversity_figures(list(answers), divergences.by_reference, seed)
    return figures | {"unanswered": len(answers.unanswered)}
