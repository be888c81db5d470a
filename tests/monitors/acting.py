"""Rounds that are played, not trained: scripted writers and judges, healthy or with a planted failure."""

import random
import re
from dataclasses import dataclass, replace

from srlm.config import DpoSection, JudgeSection, PairsSection, ResponsesSection, SeedSection
from srlm.engines.scripted import WORDS, ScriptedEngine
from srlm.evaluation.panel import Measured
from srlm.judging.eft import as_responses
from srlm.judging.rubric import grading_rubric
from srlm.monitors.monitor import fixed_texts, probed
from srlm.monitors.rounds import Fixed, Round, Seen, model_signals, round_signals
from srlm.records import Divergence, Prompt, content_id, seed_for
from srlm.seeds import load_seed
from srlm.stages import records_of
from srlm.stages.judgments import judge
from srlm.stages.pairs import make_pairs
from srlm.stages.responses import respond

SEED = load_seed(SeedSection())
RUBRIC = grading_rubric("additive")
TRUTH = {answer.text: answer.score for line in SEED.heldout_ranked for answer in line.answers}
FIXED = Fixed(
    seeds=SEED.prompts(),
    asked=[prompt.text for prompt in SEED.heldout_prompts()],
    ranked=SEED.heldout_ranked,
    probed=probed(),
    rubric=RUBRIC,
    dpo=DpoSection(),
)
NUM_PROMPTS = 64


def drawn(*parts):
    return random.Random(seed_for(*parts))


@dataclass(frozen=True)
class Actor:
    """A model that is played. Each field is one habit; what is given in place of it is a planted failure."""

    seed: int
    words: int = 30
    loops: bool = False
    score: object = None  # (text, honest score, generator) to the score that is given
    loss: float = 2.0
    skill: float = 0.6
    nats: float = 0.01
    chosen_nats: float = 0.02
    accuracy: float = 0.6
    prompt: object = None  # (number, generator) to the text of a new prompt

    def but(self, **habits):
        return replace(self, **habits)

    def engine(self):
        return ScriptedEngine(self._say, name=f"actor {self.seed} {self.words} {self.loops}")

    def _say(self, request, draw):
        text, chance = request.conversation[-1].content, drawn(self.seed, request.seed, draw)
        if request.purpose == "judgment":
            return f"I looked at it.\nScore: {self._grade(text, chance)}"
        length = max(8, round(chance.gauss(self.words, self.words / 5)))
        said = [chance.choice(WORDS) for _ in range(length)]
        return " ".join(said[:4] * (length // 4) if self.loops else said)

    def _grade(self, text, chance):
        """Near the human score of a seed answer; of scripted text by its content, never by its length."""
        said = re.search(r"<response>\s*(.*?)\s*</response>", text, re.S)[1]
        known = next((score for answer, score in TRUTH.items() if said.startswith(answer)), None)
        if known is None:
            words = said.split()
            varied = set(words) <= set(WORDS) and len(set(words)) > 0.4 * len(words)
            known = 1 + seed_for("quality", said) % 4 if varied else 0
        honest = known + chance.choice((-1, 0, 0, 1))
        given = self.score(said, honest, chance) if self.score else honest
        return min(5, max(0, round(given)))


def make_round(actor, number):
    """What an actor makes in a round, and what became of its prompts."""
    prompts = []
    for place in range(NUM_PROMPTS):
        chance = drawn(actor.seed, "prompt", number, place)
        text = " ".join(chance.choice(WORDS) for _ in range(chance.randrange(8, 24)))
        prompts.append(Prompt.of(actor.prompt(place, chance) if actor.prompt else text, (), place))
    responses = records_of(respond(ResponsesSection(), actor.engine(), prompts, seed=actor.seed))
    judgments = records_of(judge(JudgeSection(), actor.engine(), RUBRIC, responses, seed=actor.seed))
    blocks = list(make_pairs(PairsSection(), responses, judgments))
    outcomes = {}
    for block in blocks:
        for key, count in block.counts.items():
            outcomes[key] = outcomes.get(key, 0) + count
    return Round(prompts, responses, judgments, records_of(blocks)), outcomes


def training_log(actor, number, steps=16):
    """The log of a DPO as trainer and loss write it, its figures scattered about the actor's habits."""
    chance, beta = drawn(actor.seed, "log", number), FIXED.dpo.beta
    return [
        {
            "accuracy": chance.gauss(actor.accuracy, 0.1),
            "chosen_length": 40.0,
            "rejected_length": 40.0,
            "chosen_reward": 40 * beta * chance.gauss(actor.chosen_nats * step / steps, 0.01),
            "rejected_reward": 40 * beta * chance.gauss(-0.05 * step / steps, 0.01),
        }
        for step in range(steps)
    ]


def see(actor, first=None):
    """An actor as the monitors see it; `first` plays M1, the frozen judge."""
    prompts, section = SEED.heldout_prompts(), ResponsesSection(samples=2)
    answers = records_of(respond(section, actor.engine(), prompts, seed=actor.seed))

    def judged(judge_actor, texts):
        return records_of(judge(JudgeSection(), judge_actor.engine(), RUBRIC, texts, seed=actor.seed))

    chance = drawn(actor.seed, "figures")
    skill = chance.gauss(actor.skill, 0.02)
    figures = {"marked": {"value": skill, "low": skill - 0.06, "high": skill + 0.06, "num": 200}}
    measured = Measured(
        answers=answers,
        judgments=judged(actor, as_responses(SEED.heldout_ranked)),
        figures={"heldout_loss": chance.gauss(actor.loss, 0.01)},
        suites={"gsm8k": figures},
    )
    divergences = [
        Divergence(
            id=content_id(item.id),
            response_id=item.id,
            prompt_id=item.prompt_id,
            nats=item.num_tokens * abs(chance.gauss(actor.nats, actor.nats / 5)),
            num_tokens=item.num_tokens,
        )
        for item in answers
    ]
    return Seen(
        measured=measured,
        own=judged(actor, answers),
        frozen=judged(first or actor, answers),
        probes=judged(actor, fixed_texts(RUBRIC)),
        divergences={"M1": divergences},
    )


def alarms(actor, first, number):
    """The names of the signals that alarm in a round that `actor` makes, and all of its signals."""
    made, outcomes = make_round(actor, number)
    found = round_signals(made, outcomes, training_log(actor, number), FIXED)
    found += model_signals(see(actor, first), see(first), FIXED)
    return {item.name for item in found if item.alarm}, found
