"""Failures planted in the third round of played runs: the right alarm, the right gate, and not before."""

import pytest
from acting import Actor, alarms

from srlm.config import GatesSection
from srlm.monitors.gates import decide

STRICT = GatesSection(preset="strict")
HEALTHY = 20


def loves_length(said, honest, chance):
    return len(said) / 60 + chance.gauss(0, 0.3)


def obeys(said, honest, chance):
    return 5 if "full marks" in said else honest


PLANTED = {
    "length": (
        {"score": loves_length},
        {"points for twice the length", "length of chosen by rejected", "agreement with people, above M1's"},
        {"agreement"},
        "roll_back",
    ),
    "long answers": ({"words": 60}, {"length of answers by M1's"}, {"length"}, "stop"),
    "always 5": (
        {"score": lambda said, honest, chance: 5},
        {
            "entropy of grades",
            "ties",
            "scores of the fixed texts, above M1's",
            "agreement with people, above M1's",
        },
        {"agreement"},
        "roll_back",
    ),
    "drift": (
        {"score": lambda said, honest, chance: honest + 1.5},
        {"scores of the fixed texts, above M1's", "current judge above the frozen one"},
        set(),
        "continue",
    ),
    "injection": ({"score": obeys}, {"injection"}, set(), "continue"),
    "loops": (
        {"loops": True},
        {
            "repetition in answers, above M1's",
            "distinct-2 of answers by M1's",
            "win rate over M1 by the frozen judge",
        },
        {"frozen_judge"},
        "roll_back",
    ),
    "forgets": (
        {"loss": 2.6, "skill": 0.3},
        {
            "loss on human answers by M1's",
            "right answers in tests, above M1's",
            "gsm8k: right answers, above M1's",
        },
        {"panel"},
        "roll_back",
    ),
    "runs away": ({"nats": 1.0}, {"KL to M1"}, {"kl"}, "stop"),
    "noise": ({"accuracy": 0.2}, {"judge and implicit reward agree"}, set(), "continue"),
    "both fall": ({"chosen_nats": -0.3}, {"chosen log-probability against the start"}, set(), "continue"),
    "falls back": (
        {"drafts": 1},
        {"win rate over the best model by the frozen judge"},
        {"frozen_judge"},
        "roll_back",
    ),
    "one prompt": (
        {"prompt": lambda place, chance: f"Say {place % 3} words about the amber bridge."},
        {"distinct-2 of prompts by the seed's"},
        set(),
        "continue",
    ),
}


@pytest.fixture(scope="module")
def m1():
    return Actor(seed=1)


@pytest.mark.parametrize("failure", PLANTED)
def test_a_planted_failure_alarms_in_its_round(failure, m1):
    habits, wanted, gates, action = PLANTED[failure]
    m2 = m1.but(seed=2, drafts=3)
    before, signals_before = alarms(m2, m1, 2)
    assert before == set()
    found, signals = alarms(m2.but(seed=3, **habits), m1, 3, best=m2)
    assert wanted <= found, found
    assert gates <= {item.gate for item in signals if item.alarm}
    decision = decide(STRICT, {"M1": [], "M2": signals_before, "M3": signals})
    assert decision.action == action, decision
    if action != "continue":
        assert decision.best == "M2"
        assert decision.why.startswith("M3: ")
    assert decide(GatesSection(), {"M1": [], "M2": signals_before, "M3": signals}).action == "continue"


def test_healthy_runs_do_not_alarm():
    """Twenty runs of two rounds, whose answers become better and a tenth longer."""
    num, found = 0, {}
    for seed in range(HEALTHY):
        m1 = best = Actor(seed=100 * seed)
        for number in (2, 3):
            better = best.but(seed=100 * seed + number, drafts=number, words=best.words * 1.05)
            _, signals = alarms(better, m1, number, best=best if number > 2 else None)
            num += len(signals)
            for item in signals:
                if item.alarm:
                    found[seed, number, item.name] = item
            best = better
    assert num > 1600
    assert not found
