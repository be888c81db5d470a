"""Rounds that are played, not trained: scripted writers and judges, healthy or with a planted failure."""

import random
import re
from dataclasses import asdict, dataclass, replace

from srlm.config import DpoSection, JudgeSection, PairsSection, ResponsesSection, SeedSection
from srlm.engines.scripted import WORDS, ScriptedEngine
from srlm.evaluation.intervals import bootstrap
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
    dpo=DpoSection(batch_size=8),
)
NUM_PROMPTS, STEPS, QUESTIONS = 64, 8, 200
DROPOUT = 2.0  # nats a token that dropout takes from every answer while a model is trained


def drawn(*parts):
    return random.Random(seed_for(*parts))


@dataclass(frozen=True)
class Actor:
    """A model that is played. Each field is one habit; what is given in place of it is a planted failure."""

    seed: int
    words: int = 30
    drafts: int = 1  # of which the best is given
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
        return ScriptedEngine(self._say, name=f"actor {self}")

    def _say(self, request, draw):
        text, chance = request.conversation[-1].content, drawn(self.seed, request.seed, draw)
        if request.purpose == "judgment":
            return f"I looked at it.\nScore: {self._grade(text, chance)}"
        return max((self._draft(chance) for _ in range(self.drafts)), key=quality)

    def _draft(self, chance):
        length = max(8, round(chance.gauss(self.words, self.words / 5)))
        said = [chance.choice(WORDS) for _ in range(length)]
        return " ".join(said[:4] * (length // 4) if self.loops else said)

    def _grade(self, text, chance):
        """Near the human score of a seed answer; of scripted text by its content, never by its length."""
        said = re.search(r"<response>\s*(.*?)\s*</response>", text, re.S)[1]
        known = next((score for answer, score in TRUTH.items() if said.startswith(answer)), None)
        known = quality(said) if known is None else known
        honest = known + chance.choice((-1, 0, 0, 1))
        given = self.score(said, honest, chance) if self.score else honest
        return min(5, max(0, round(given)))


def quality(said):
    """What scripted text is worth: of varied words by chance, whatever their number; of others nothing."""
    words = said.split()
    varied = set(words) <= set(WORDS) and len(set(words)) > 0.4 * len(words)
    return 1 + seed_for("quality", said) % 4 if varied else 0


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


def training_log(actor, number):
    """The log of a DPO with dropout, as trainer and loss write it, scattered about the actor's habits."""
    chance, num, beta = drawn(actor.seed, "log", number), FIXED.dpo.batch_size, FIXED.dpo.beta
    return [
        {
            "accuracy": sum(chance.random() < actor.accuracy for _ in range(num)) / num,
            "chosen_length": 40.0,
            "rejected_length": 40.0,
            "chosen_reward": 40 * beta * (chance.gauss(actor.chosen_nats * step / STEPS, 0.02) - DROPOUT),
            "rejected_reward": 40 * beta * (chance.gauss(-0.05 * step / STEPS, 0.02) - DROPOUT),
        }
        for step in range(STEPS)
    ]


def see(actor, first=None):
    """An actor as the monitors see it; `first` plays M1, the frozen judge."""
    prompts, section = SEED.heldout_prompts(), ResponsesSection(samples=2)
    answers = records_of(respond(section, actor.engine(), prompts, seed=actor.seed))

    def judged(judge_actor, texts):
        return records_of(judge(JudgeSection(), judge_actor.engine(), RUBRIC, texts, seed=actor.seed))

    chance = drawn(actor.seed, "figures")
    tests = {f"test {n}": {"metrics": {"acc": tested(actor, chance)}} for n in range(4)}
    measured = Measured(
        answers=answers,
        judgments=judged(actor, as_responses(SEED.heldout_ranked)),
        figures={},
        suites={"gsm8k": {"marked": tested(actor, chance)}, "harness": {"tasks": tests}},
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
        losses=[(nats * chance.gauss(1, 0.03), 20) for nats in hard(actor.loss)],
    )


def hard(loss):
    """Nats of thirty held-out answers of twenty tokens; the same ones are always harder than others."""
    return [20 * loss * 2 ** drawn("answer", number).gauss(0, 0.5) for number in range(30)]


def tested(actor, chance):
    """Right answers of as many questions, as a test gives them: the share with its interval."""
    right = sum(chance.random() < actor.skill for _ in range(QUESTIONS))
    return asdict(bootstrap([1] * right + [0] * (QUESTIONS - right), lambda one: (one, 1), seed=0))


def alarms(actor, first, number, best=None):
    """The names of the signals that alarm in a round that `actor` makes, and all of its signals."""
    made, outcomes = make_round(actor, number)
    found = round_signals(made, outcomes, training_log(actor, number), FIXED)
    found += model_signals(FIXED, see(actor, first), see(first), see(best, first) if best else None)
    return {item.name for item in found if item.alarm}, found
