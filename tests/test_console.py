"""What a run prints where there is no terminal."""

from srlm import console
from srlm.console import Lines


def test_a_long_step_says_once_a_minute_how_far_it_is(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: now[0])
    said: list[str] = []
    lines = Lines(said.append)
    lines.begin("M1/sft", 0, 57)
    for step in range(1, 58):
        now[0] += 10
        lines.advance("M1/sft", step, 57, f"loss {step}")
    assert said[:2] == ["M1/sft: 6 of 57, loss 6", "M1/sft: 12 of 57, loss 12"]
    assert len(said) == 9
    lines.begin("M2/pairs", 0, 3)
    lines.advance("M2/pairs", 1, 3)
    assert len(said) == 9  # a new step has its own minute
    now[0] += 61
    lines.advance("M2/pairs", 2, 3)
    assert said[-1] == "M2/pairs: 2 of 3"
