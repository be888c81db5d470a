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
        "roll_back",
    ),
    "long answers": ({"words": 60}, {"length of answers by M1's"}, "stop"),
    "always 5": (
        {"score": lambda said, honest, chance: 5},
        {
            "entropy of grades",
            "ties",
            "scores of the fixed texts, above M1's",
            "agreement with people, above M1's",
        },
        "roll_back",
    ),
    "drift": (
        {"score": lambda said, honest, chance: honest + 1.5},
        {"scores of the fixed texts, above M1's", "current judge above the frozen one"},
        "continue",
    ),
    "injection": ({"score": obeys}, {"injection"}, "continue"),
    "loops": (
        {"loops": True},
        {
            "repetition in answers, above M1's",
            "distinct-2 of answers by M1's",
            "win rate over M1 by the frozen judge",
        },
        "roll_back",
    ),
    "forgets": (
        {"loss": 2.6, "skill": 0.3},
        {"loss on human answers by M1's", "gsm8k: right answers, above M1's"},
        "roll_back",
    ),
    "runs away": ({"nats": 1.0}, {"KL to M1"}, "stop"),
    "noise": ({"accuracy": 0.3}, {"judge and implicit reward agree"}, "continue"),
    "both fall": ({"chosen_nats": -0.3}, {"chosen log-probability against the start"}, "continue"),
    "one prompt": (
        {"prompt": lambda place, chance: f"Say {place % 3} words about the amber bridge."},
        {"distinct-2 of prompts by the seed's"},
        "continue",
    ),
}


@pytest.fixture(scope="module")
def m1():
    return Actor(seed=1)


@pytest.mark.parametrize("failure", PLANTED)
def test_a_planted_failure_alarms_in_its_round(failure, m1):
    habits, wanted, action = PLANTED[failure]
    before, signals_before = alarms(m1.but(seed=2), m1, 2)
    assert before == set()
    found, signals = alarms(m1.but(seed=3, **habits), m1, 3)
    assert wanted <= found, found
    decision = decide(STRICT, {"M1": [], "M2": signals_before, "M3": signals})
    assert decision.action == action, decision
    if action != "continue":
        assert decision.best == "M2"
        assert decision.why.startswith("M3: ")
    assert decide(GatesSection(), {"M1": [], "M2": signals_before, "M3": signals}).action == "continue"


def test_healthy_runs_do_not_alarm():
    """Twenty runs of two rounds: some forty signals each, and no alarm."""
    found = {}
    for seed in range(HEALTHY):
        m1 = Actor(seed=100 * seed)
        for number in (2, 3):
            names, _ = alarms(m1.but(seed=100 * seed + number), m1, number)
            if names:
                found[seed, number] = names
    assert found == {}
