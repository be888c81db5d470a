"""Annotators at once, and a server that is killed under them (the whole of it: benchmarks/annotators.py)."""

from annotators import Trial, make_run


def test_a_server_that_is_killed_under_load_loses_and_doubles_no_vote(tmp_path):
    make_run(tmp_path / "demo", 25)
    trial = Trial(tmp_path / "demo", annotators=8, each=25, kills=2)
    trial.go()
    assert len(trial.acknowledged) == 8 * 25
    assert trial.resent > 0  # it was away
    assert trial.compare() == (0, 0, 0)
