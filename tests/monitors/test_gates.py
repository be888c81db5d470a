"""From alarms to what a run does."""

import pytest

from srlm.config import GatesSection
from srlm.evaluation.intervals import Estimate
from srlm.monitors.gates import decide
from srlm.monitors.signals import signal
from srlm.recipes import load

STRICT = GatesSection(preset="strict")


def of(gate, alarm=True):
    return signal(
        "s", "x", Estimate(1.0, 0.9, 1.1, 20), f"bad {gate}", above=0.5 if alarm else 2.0, gate=gate
    )


def test_without_alarms_the_newest_model_is_best():
    decision = decide(STRICT, {"M1": [], "M2": [of("kl", alarm=False)]})
    assert (decision.action, decision.best, decision.why) == ("continue", "M2", "")


def test_an_alarm_without_a_gate_ends_nothing():
    assert decide(STRICT, {"M1": [], "M2": [of(None)]}).best == "M2"


def test_the_strongest_action_counts_and_both_reasons_are_told():
    decision = decide(STRICT, {"M1": [], "M2": [of("length"), of("agreement")]})
    assert (decision.action, decision.best) == ("roll_back", "M1")
    assert decision.why == "M2: bad length; bad agreement."
    assert decide(STRICT, {"M1": [], "M2": [of("length")]}).action == "stop"


def test_warn_goes_on_but_marks_the_best():
    decision = decide(GatesSection(), {"M1": [], "M2": [of("length")]})
    assert (decision.action, decision.best) == ("continue", "M1")
    assert decision.why == "M2: bad length."


def test_one_gate_can_be_set_by_itself():
    assert decide(GatesSection(actions={"kl": "stop"}), {"M1": [], "M2": [of("kl")]}).action == "stop"
    assert decide(GatesSection(actions={"kl": "stop"}), {"M1": [], "M2": [of("length")]}).action == "continue"
    mild = GatesSection(preset="strict", actions={"agreement": "continue"})
    assert decide(mild, {"M1": [], "M2": [of("agreement")]}).action == "continue"


def test_patience_waits_for_the_same_gate_in_a_row():
    patient = GatesSection(preset="strict", patience=2)
    once = {"M1": [], "M2": [of("length")]}
    assert decide(patient, once).action == "continue"
    assert decide(patient, once | {"M3": [of("length")]}).action == "stop"
    assert decide(patient, once | {"M3": [of("kl")]}).action == "continue"
    assert decide(patient, once | {"M3": [of("length")]}).best == "M1"
    assert decide(patient, {"M1": [of("kl")]}).action == "continue"


@pytest.mark.parametrize("word", ["off", "warn", "strict"])
def test_a_preset_is_a_word_even_where_yaml_reads_off_as_false(word):
    assert load("smollm2", [f"gates.preset={word}"]).config.gates.preset == word
