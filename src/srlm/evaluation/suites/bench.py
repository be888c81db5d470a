"""What a suite is to those who run it: answer, examine, figures, table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from srlm.config import Config, Suite
from srlm.engines.base import Engine
from srlm.evaluation.suites.asking import Contestant, Place
from srlm.models import Model


@dataclass(frozen=True)
class Help:
    """What a suite may use to examine answers: the judge, where it has one, and the models of the run."""

    config: Config
    judge: Engine | None
    models: Mapping[str, Model]

    def the_judge(self) -> Engine:
        """The judge of a suite that is judged; the config was refused without one."""
        if self.judge is None:
            raise ValueError("a suite with a judge was run without one")
        return self.judge


class Bench(Protocol):
    """One suite with its data, for one contestant after another. Reading the data raises DataError, early."""

    @property
    def section(self) -> Suite:
        """What it was asked for."""
        ...

    def asked(self) -> list[str]:
        """The texts that a model has to answer, to plan by; none where the suite asks by itself."""
        ...

    def answer(self, at: Place, who: Contestant) -> Any:
        """The contestant's answers; its model is loaded while this runs."""
        ...

    def examine(self, at: Place, who: Contestant, answers: Any, help_: Help) -> Any:
        """What has to be asked of others about the answers, such as a judge; None if nothing."""
        ...

    def figures(self, at: Place, who: Contestant, answers: Any, findings: Any) -> dict[str, Any]:
        """The figures, kept as a result of the run."""
        ...
