"""What the monitors said of the arms of a study, beside the truth."""

from srlm.proving.alarms import alarms_table
from srlm.proving.study import study_of


def outcome(points, right, **alarms):
    rounds = [{"sampled": 4.0, "greedy_right": 0.8}, {"sampled": points, "greedy_right": right}]
    return {"rounds": rounds} | ({"alarms": alarms} if alarms else {})


def table_of(folder, **arms):
    study = study_of(folder, tuple(arms), 2, ())
    for arm, outcomes in arms.items():
        for seed, one in enumerate(outcomes):
            study.keep(seed, arm, one)
    return alarms_table(study)


def test_alarms_are_counted_by_seed_after_m1(tmp_path):
    fallen = outcome(3.0, 0.5, M1=["injection"], M2=["length", "kl"], M3=["kl"])
    held = outcome(4.2, 0.9, M1=["injection"], M2=[])
    table = table_of(
        tmp_path, judge=[fallen, held], oracle=[held], random=[outcome(4.0, 0.8)], n2=[{"failure": "dead"}]
    )
    assert table.columns == ("Arm", "points", "right, greedy", "kl", "length")
    found = {arm: [cell.text for cell in cells] for arm, cells in table.rows}
    assert found == {"judge": ["-0.40", "-10.0", "1 of 2", "1 of 2"], "oracle": ["+0.20", "+10.0", "–", "–"]}


def test_without_monitors_there_is_no_table(tmp_path):
    assert table_of(tmp_path, judge=[outcome(4.0, 0.8)]) is None
