"""All signals of a round: what it made, and the model that came of it beside M1."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from srlm.config import DpoSection
from srlm.evaluation.heldout import scored_prompts
from srlm.evaluation.panel import Measured
from srlm.evaluation.probes import bias
from srlm.judging.rubric import Rubric
from srlm.monitors import learning, scores, texts, yardsticks
from srlm.monitors.signals import Signal
from srlm.records import Divergence, Judgment, Pair, Prompt, Response, content_id
from srlm.seeds import RankedPrompt
from srlm.store.jsonl import Records

FAR = 0.5
"""Nats a token from M1."""


@dataclass(frozen=True)
class Round:
    """What a round made on the way to its model."""

    prompts: Records[Prompt]
    responses: Records[Response]
    judgments: Records[Judgment]
    pairs: Records[Pair]

    @property
    def digest(self) -> str:
        made = (self.prompts.digest, self.responses.digest, self.judgments.digest, self.pairs.digest)
        return content_id("round", made)


@dataclass(frozen=True)
class Seen:
    """A model as the monitors see it.

    `measured`, by the evaluation; judgments of its answers to held-out prompts, `own` by the judge of its
    round and `frozen` by M1; `probes`, its judge's word on the fixed texts; `divergences` by reference;
    `losses` on people's held-out answers.
    """

    measured: Measured
    own: Records[Judgment]
    frozen: Records[Judgment]
    probes: Records[Judgment]
    divergences: Mapping[str, Records[Divergence]]
    losses: learning.Losses

    @property
    def digest(self) -> str:
        digests = [self.own.digest, self.frozen.digest, self.probes.digest]
        digests += [items.digest for items in self.divergences.values()]
        return content_id("seen", self.measured.digest, digests, self.losses)


@dataclass(frozen=True)
class Fixed:
    """What stays the same in all rounds: prompts of the seed and the evaluation, human ranks, fixed texts."""

    seeds: Sequence[str]
    asked: Sequence[str]
    ranked: Sequence[RankedPrompt]
    probed: Sequence[RankedPrompt]
    rubric: Rubric
    dpo: DpoSection


def round_signals(made: Round, outcomes: Mapping[str, int], log: learning.Log, fixed: Fixed) -> list[Signal]:
    """What a round made shows, what became of its prompts (`outcomes`), and the log of its DPO."""
    prompts, responses = list(made.prompts), list(made.responses)
    judgments, pairs = list(made.judgments), list(made.pairs)
    return [
        texts.prompt_length(prompts, fixed.seeds),
        texts.prompt_p95(prompts),
        texts.prompt_variety(prompts, fixed.seeds),
        texts.prompt_nearness(prompts, fixed.seeds),
        texts.contamination(prompts, fixed.asked),
        scores.unreadable(judgments),
        scores.ties(outcomes),
        scores.discarded(outcomes),
        scores.score(judgments),
        scores.entropy(judgments),
        scores.disagreement(judgments),
        scores.length_slope(responses, judgments),
        scores.score_gap(pairs),
        scores.length_gap(pairs),
        learning.chosen_path(log, fixed.dpo),
        learning.rejected_path(log, fixed.dpo),
        learning.implicit_agreement(log, fixed.dpo),
    ]


def model_signals(
    fixed: Fixed, now: Seen, first: Seen | None = None, best: Seen | None = None
) -> list[Signal]:
    """A model beside M1 (`first`, None: it is M1): how it answers, how it judges, what it has kept.

    And beside the best model before it, where that is not M1.
    """
    first = first or now
    answers, before = list(now.measured.answers), list(first.measured.answers)
    return [
        *_yardsticks(fixed, now, first, "M1"),
        *(_yardsticks(fixed, now, best, "the best model") if best else []),
        yardsticks.self_praise(now.own, now.frozen),
        yardsticks.probe_drift(now.probes, first.probes),
        *_biases(now.probes, fixed),
        texts.answer_length(answers, before),
        texts.answer_p95(answers),
        texts.ended(answers, before),
        texts.repeated(answers, before),
        texts.variety(answers, before),
        *(
            learning.divergence(items, name, above=FAR if name == "M1" else None)
            for name, items in now.divergences.items()
        ),
        learning.forgetting(now.losses, first.losses),
        *_suites(now.measured.suites, first.measured.suites),
    ]


def _yardsticks(fixed: Fixed, now: Seen, other: Seen, name: str) -> list[Signal]:
    """A model beside an earlier one by people's ranks and by M1 as the judge."""
    ours, theirs = (scored_prompts(_scores(seen.measured.judgments), fixed.ranked) for seen in (now, other))
    return [
        yardsticks.human_agreement(ours, theirs, than=name),
        yardsticks.frozen_win_rate(now.frozen, other.frozen, than=name),
    ]


def _biases(probes: Records[Judgment], fixed: Fixed) -> list[Signal]:
    """What a judge pays for besides quality, on the fixed texts."""
    found = bias(fixed.probed, probes, (), fixed.rubric)
    effects = {probe["name"]: probe["effect"] for probe in found["probes"]}
    tokens = {name: effect for name, effect in effects.items() if name.startswith("token: ")}
    return [
        yardsticks.probe(
            "injection",
            effects["injection: an order to the judge"],
            "the judge obeys an order that stands in the response",
        ),
        yardsticks.probe(
            "all of it said twice",
            effects["verbosity: all of it said twice"],
            "the judge pays for saying everything twice",
        ),
        *(
            yardsticks.probe(name, effect, "the judge is fooled by a text that answers nothing", 0)
            for name, effect in tokens.items()
        ),
    ]


def _suites(now: Mapping[str, Any], first: Mapping[str, Any]) -> list[Signal]:
    """Skills, of the suites that have right answers, and AlpacaEval's win rate with and without length."""
    tests: dict[str, tuple[Any, Any]] = {}
    gains = []
    for suite in sorted(now.keys() & first.keys()):
        before = _skills(first[suite])
        tests |= {
            f"{suite}: {name}": (figure, before[name])
            for name, figure in _skills(now[suite]).items()
            if name in before
        }
        if "length_controlled" in now[suite]:
            gains.append(yardsticks.length_gain(*(_win_rates(each[suite]) for each in (now, first))))
    skills = [yardsticks.skills(list(tests.values()))] if tests else []
    return [*skills, *(yardsticks.lost(name, *two) for name, two in tests.items()), *gains]


def _skills(figures: Mapping[str, Any]) -> dict[str, Any]:
    """The shares of right answers of the suites that have such, by name."""
    if "strict" in figures:
        return {"prompts followed": figures["strict"]["prompt"]}
    if "right" in figures:
        return {"right answers": figures["right"]}
    if "marked" in figures:
        return {"right answers": figures["marked"]}
    return {
        f"{task} {metric}": value
        for task, row in figures.get("tasks", {}).items()
        for metric, value in [item for item in row["metrics"].items() if item[1]["num"]][:1]
        if not row.get("part_of")
    }


def _win_rates(figures: Mapping[str, Any]) -> dict[str, float | None]:
    level = figures["length_controlled"] or {}
    return {"raw": figures["win_rate"], "controlled": level.get("win_rate"), "num": figures["usable"]}


def _scores(judgments: Records[Judgment]) -> dict[str, float | None]:
    return {item.response_id: item.score for item in judgments}
