"""What the monitors said of the arms of a study, beside the truth."""

from srlm.proving.alarms import alarms_table


def rounds(*models):
    return [{"sampled": points, "greedy_right": right} | more for points, right, more in models]


def test_alarms_are_counted_by_seed_after_m1():
    fallen = rounds((4.0, 0.8, {"alarms": ["injection"]}), (3.0, 0.5, {"alarms": ["length", "kl"]}))
    held = rounds((4.0, 0.8, {"alarms": ["injection"]}), (4.2, 0.9, {"alarms": []}))
    unwatched = rounds((4.0, 0.8, {}), (4.0, 0.8, {}))
    table = alarms_table({"judge": {0: fallen, 1: held}, "oracle": {0: held}, "random": {0: unwatched}})
    assert table.columns == ("Arm", "points", "right, greedy", "kl", "length")
    found = {arm: [cell.text for cell in cells] for arm, cells in table.rows}
    assert found == {"judge": ["-0.40", "-10.0", "1 of 2", "1 of 2"], "oracle": ["+0.20", "+10.0", "–", "–"]}


def test_an_alarm_in_any_round_counts_once():
    (cells,) = [cells for _, cells in alarms_table({"judge": {0: rounds(
        (4.0, 0.8, {"alarms": []}), (4.0, 0.8, {"alarms": ["kl"]}), (4.0, 0.8, {"alarms": ["kl"]}),
    )}}).rows]  # fmt: skip
    assert cells[2].text == "1 of 1"


def test_without_monitors_there_is_no_table():
    assert alarms_table({"judge": {0: rounds((4.0, 0.8, {}))}}) is None
    assert alarms_table({}) is None
