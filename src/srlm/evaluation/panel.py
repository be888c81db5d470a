"""What is measured on every model of a run: the held-out seed data, then the suites of the config."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from srlm.config import Config, OpenAIEngineSection
from srlm.engines.base import Engine
from srlm.engines.opening import open_engine, open_named, open_roles
from srlm.evaluation.heldout import heldout_loss, measure
from srlm.evaluation.suites.asking import Contestant, GivenAnswers, Place
from srlm.evaluation.suites.bench import Bench, Help
from srlm.judging.eft import as_responses
from srlm.judging.rubric import grading_rubric
from srlm.models import Model
from srlm.records import Judgment, Prompt, Response, content_id
from srlm.seeds import SeedSet
from srlm.stages.judgments import judge
from srlm.stages.responses import respond
from srlm.store.jsonl import Records
from srlm.store.run import Run

Results = dict[str, dict[str, Any]]
"""Figures by suite."""

Who = Model | OpenAIEngineSection | GivenAnswers
"""Who can be measured: a model, a server, which has a model of its own, a file of answers."""


@dataclass(frozen=True)
class Measured:
    """What is known of a model: its answers to the held-out prompts, its judgments of the held-out ranked
    answers, the figures of both, and those of the suites."""

    answers: Records[Response]
    judgments: Records[Judgment]
    figures: dict[str, Any]
    suites: Results

    @property
    def digest(self) -> str:
        return content_id("measured", self.answers.digest, self.judgments.digest, self.figures, self.suites)


class Evaluation:
    """Every model of the loop, as soon as it is there: `measure` it.

    `checkpoints` compares those of a training, where one asks for it.
    """

    def __init__(
        self, config: Config, run: Run, others: Mapping[str, Model], base: Model, seed: SeedSet
    ) -> None:
        self._config, self._run, self._others, self._seed = config, run, others, seed
        from srlm.evaluation.checkpoints import apart, checkpoint_judge  # statistics, half a second to load

        compared, self._prompts = apart(config, seed.heldout_prompts())
        self.checkpoints = checkpoint_judge(config, others, compared)
        self._panel = Panel(config, run, others, base, self._prompts)

    def measure(self, model: Model) -> Measured:
        """Answer the held-out prompts, judge the held-out ranked answers, and run the suites."""
        heldout = self._measure_heldout(model)
        return Measured(*heldout, self._panel.measure(model, model.name))

    def asked(self) -> list[str]:
        """The prompts that models are measured with, so far as they are known here."""
        return [*(prompt.text for prompt in self._seed.heldout_prompts()), *self._panel.asked()]

    def _measure_heldout(self, model: Model) -> tuple[Records[Response], Records[Judgment], dict[str, Any]]:
        config, run, seed = self._config, self._run, self._seed
        step, rubric = f"{model.name}/evaluation", grading_rubric(config.judge.rubric)
        with open_roles(config, model, self._others) as (_, engine, judging):
            asked = (config.evaluation.answers, engine, self._prompts)
            answers = run.records(f"{step}/answers", Response, respond, *asked)
            ranked = (config.judge, judging, rubric, as_responses(seed.heldout_ranked))
            judgments = run.records(f"{step}/judgments", Judgment, judge, *ranked)
        loss = heldout_loss(run.folder, model.name)
        figures = run.result(
            f"{step}/figures", measure, answers, judgments, seed.heldout_ranked, rubric, loss
        )
        return answers, judgments, figures


class Panel:
    """The suites of `config.evaluation`, with their data read: what is wrong with them is said at the start.

    `others` are the models of resolve_others; `base` is known as M0 to suites that compare with it.
    """

    def __init__(
        self,
        config: Config,
        run: Run,
        others: Mapping[str, Model],
        base: Model | None,
        heldout: Sequence[Prompt],
    ) -> None:
        from srlm.evaluation.suites.setting_up import set_up  # statistics, half a second to load

        self._config, self._run, self._others = config, run, others
        self._benches: dict[str, Bench] = {
            suite.title: set_up(suite, heldout) for suite in config.evaluation.suites
        }
        self._models = {base.name: base} if base else {}

    def asked(self) -> list[str]:
        """The prompts of all suites that ask them themselves."""
        return [text for bench in self._benches.values() for text in bench.asked()]

    def measure(self, who: Who, name: str) -> Results:
        """The figures of every suite for a model, a server or a file of answers, by suite.

        Steps that are done are read and not made again.
        """
        if isinstance(who, GivenAnswers):
            return self._measure(Contestant(name, given=who))
        if isinstance(who, OpenAIEngineSection):
            with open_engine(who, None) as engine:
                return self._measure(Contestant(name, engine=engine))
        self._models[name] = who
        with open_engine(self._config.engine, who) as engine:
            return self._measure(Contestant(name, who, engine))

    def _measure(self, who: Contestant) -> Results:
        places = {title: Place(self._run, who.name, title) for title in self._benches}
        answers = {title: bench.answer(places[title], who) for title, bench in self._benches.items()}
        if who.engine:
            who.engine.close()  # its memory is wanted for the judge; it would load again if it were asked
        with ExitStack() as stack:
            judge = None
            name = self._config.evaluation.judge.model
            if name and any(bench.section.judged for bench in self._benches.values()):
                judge = stack.enter_context(open_named(self._config, name, self._others))
            findings = self._examine(who, places, answers, judge)
        findings |= self._examine(who, places, answers, None)  # the judge has given its memory back
        return {
            title: bench.figures(places[title], who, answers[title], findings[title])
            for title, bench in self._benches.items()
        }

    def _examine(
        self, who: Contestant, places: dict[str, Place], answers: dict[str, Any], judge: Engine | None
    ) -> dict[str, Any]:
        """What the suites with a judge found, or those without one."""
        help_ = Help(self._config, judge, self._models)
        return {
            title: bench.examine(places[title], who, answers[title], help_)
            for title, bench in self._benches.items()
            if bench.section.judged == (judge is not None)
        }
