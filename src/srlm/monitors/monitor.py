"""What is watched after every round of a run: the steps that ask a judge, the signals, the decision."""

import json
from collections.abc import Iterable, Mapping
from contextlib import closing
from typing import Any

from srlm.config import Config, LocalEngineSection
from srlm.engines.opening import FIRST, open_engine, open_roles
from srlm.evaluation.heldout import heldout_losses
from srlm.evaluation.panel import Measured
from srlm.evaluation.probes import graded_texts, probe_set
from srlm.judging.rubric import Rubric, grading_rubric
from srlm.models import Model
from srlm.monitors.gates import Decision, decide
from srlm.monitors.rounds import Fixed, Round, Seen, model_signals, round_signals
from srlm.monitors.scores import histogram
from srlm.monitors.signals import Signal, plain
from srlm.records import Divergence, Judgment, Response
from srlm.seeds import RankedPrompt, SeedSet
from srlm.stages.drift import drift
from srlm.stages.judgments import judge
from srlm.store.jsonl import Records
from srlm.store.run import Run
from srlm.training.tracking import Tracker

PROBED = 12
"""Prompts of the fixed texts."""


class Monitor:
    """M1 first, then every later model as soon as it is measured: `look` at it."""

    def __init__(
        self,
        config: Config,
        run: Run,
        others: Mapping[str, Model],
        base: Model,
        *,
        seed: SeedSet,
        asked: Iterable[str],
    ) -> None:
        self._config, self._run, self._others, self._base = config, run, others, base
        self._rubric = grading_rubric(config.judge.rubric)
        ranked = seed.heldout_ranked
        self._fixed = Fixed(seed.prompts(), tuple(asked), ranked, probed(), self._rubric, config.dpo)
        self._first = base
        self._seen: dict[str, Seen] = {}
        self._signals: dict[str, list[Signal]] = {}
        self._best = ""
        self._tracker = Tracker(config.report_to, run.folder / "tracking/signals")

    def look(self, model: Model, measured: Measured, made: Round | None = None) -> Decision:
        """The signals of a model, and of the round that made it, kept in M?/monitors.json; what to do next.

        The first model is M1, beside which all others are seen; and beside the best before them.
        """
        if self._config.gates.preset == "off":
            return Decision("continue", model.name, "")
        if not self._seen:
            self._first = model
        self._seen[model.name] = self._see(model, measured)
        others = dict.fromkeys((model.name, self._first.name, self._best or self._first.name))
        self._signals[model.name] = self._keep(model.name, made, *(self._seen[name] for name in others))
        decision = decide(self._config.gates, self._signals)
        self._best = decision.best
        self._run.mark_best(decision.best)
        return decision

    def look_at_round(self, name: str, made: Round) -> None:
        """The signals of a round that made no model, kept all the same."""
        if self._config.gates.preset != "off":
            self._keep(name, made)

    def _keep(self, name: str, made: Round | None, *seen: Seen) -> list[Signal]:
        given = (made, self._outcomes(name, made), self._log(name), self._fixed, *seen)
        found = self._run.result(f"{name}/monitors", _figures, *given, follows=True)
        signals = [Signal(**item) for item in found["signals"]]
        values = {f"signals/{item.name}": item.value for item in signals if item.value is not None}
        self._tracker.log(int(name[1:]), values)
        return signals

    def _outcomes(self, name: str, made: Round | None) -> dict[str, int]:
        """What became of a round's prompts."""
        return self._run.counts(f"{name}/pairs") if made else {}

    def _log(self, name: str) -> list[dict[str, float]]:
        """The steps of a round's DPO that its model has taken; none where it was not trained."""
        folder = self._run.folder / name / "dpo"
        if not (folder / "summary.json").exists():
            return []
        steps = json.loads((folder / "summary.json").read_text("utf-8"))["steps"]
        lines = (folder / "log.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines[:steps]]

    def _see(self, model: Model, measured: Measured) -> Seen:
        config, run, step = self._config, self._run, f"{model.name}/watch"
        with open_roles(config, model, self._others) as (_, _, judging):
            asked = (config.judge, judging, self._rubric)
            own = run.records(f"{step}/own", Judgment, judge, *asked, measured.answers)
            probes = run.records(f"{step}/probes", Judgment, judge, *asked, fixed_texts(self._rubric))
        frozen = own if _judges_itself(config, model, self._first) else self._frozen(model, measured)
        losses = heldout_losses(run.folder, model.name)
        return Seen(measured, own, frozen, probes, self._drift(model, measured), losses)

    def _frozen(self, model: Model, measured: Measured) -> Records[Judgment]:
        """M1's word on a model's answers, whoever is the judge of the rounds."""
        with open_engine(self._config.engine, self._first) as engine:
            asked = (self._config.judge, engine, self._rubric, measured.answers)
            return self._run.records(f"{model.name}/watch/frozen", Judgment, judge, *asked)

    def _drift(self, model: Model, measured: Measured) -> dict[str, Records[Divergence]]:
        """KL to M0 and M1; a server or a script has no probabilities to compare."""
        engine, found = self._config.engine, {}
        if isinstance(engine, LocalEngineSection):
            from srlm.engines.divergence import ModelCouple  # loads torch

            for reference in (self._base, *([self._first] if model is not self._first else [])):
                with closing(ModelCouple(engine, model, reference)) as couple:
                    given = (self._config.evaluation.answers, couple, measured.answers)
                    step = f"{model.name}/watch/divergence_from_{reference.name}"
                    found[reference.name] = self._run.records(step, Divergence, drift, *given)
        return found


def watch_steps(config: Config, *, first: bool) -> list[str]:
    """The steps behind the signals of a model, `first` of M1, as they are called in its folder."""
    if config.gates.preset == "off":
        return []
    references = ["M0"] if first else ["M0", "M1"]
    drift_steps = [f"divergence_from_{name}" for name in references]
    own = config.judge.judge == FIRST or (first and not config.judge.judge)
    asked = ["own", "probes", *([] if own else ["frozen"])]
    made = [*asked, *(drift_steps if config.engine.kind == "local" else [])]
    return [*(f"watch/{step}" for step in made), "monitors"]


def _judges_itself(config: Config, model: Model, first: Model) -> bool:
    """Whether the judge of this model's round is M1 as it is: then its word is not asked for twice."""
    return config.judge.judge == FIRST or (model is first and not config.judge.judge)


def _figures(
    made: Round | None,
    outcomes: dict[str, int],
    log: list[dict[str, float]],
    fixed: Fixed,
    *seen: Seen,
) -> dict[str, Any]:
    signals = round_signals(made, outcomes, log, fixed) if made else []
    signals += model_signals(fixed, *seen) if seen else []
    return {"signals": plain(signals), "grades": histogram(made.judgments) if made else {}}


def probed() -> list[RankedPrompt]:
    """The prompts of the fixed texts: built-in ones, whatever the seed data of the run."""
    return probe_set(None, (), PROBED)


def fixed_texts(rubric: Rubric) -> list[Response]:
    """Texts that the judge of every round scores: good and bad answers, and what is made of the bad ones."""
    return graded_texts(probed(), rubric)
