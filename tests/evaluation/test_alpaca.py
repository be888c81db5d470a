import csv
import gzip
import json
import math
import time

import numpy as np
import pytest
from scipy.optimize import check_grad

from srlm.errors import DataError
from srlm.evaluation import alpaca
from srlm.evaluation.alpaca import (
    Annotation,
    Annotations,
    RegularisationRow,
    alpaca_eval,
    alpaca_table,
    discrete,
    fit_logistic,
    length_controlled,
    read_annotations,
    read_difficulty,
    read_regularisation,
)

PUBLISHED = {  # win_rate, standard_error, length_controlled_winrate: shared/data/README.md
    "FuseChat-Gemma-2-9B-Instruct": ("70.497", "1.343", 70.181),
    "FuseChat-Llama-3.2-1B-Instruct": ("29.922", "1.393", 25.271),
    "gpt-3.5-turbo-1106_verbose": ("12.763", "1.044", 22.001),
    "gpt-3.5-turbo-1106_concise": ("7.416", "0.837", 15.770),
    "falcon-7b-instruct": ("2.147", "0.454", 4.037),
    "NullModel": ("76.920", "0.909", 86.458),
    "text_davinci_001": ("2.764", "0.518", 9.026),
}


@pytest.fixture(scope="module")
def fits(shared_data):
    """The figures of all seven models, and the seconds they took without reading."""
    difficulty = read_difficulty(shared_data("alpaca_eval/derived_instruction_difficulty.csv"))
    rows = read_regularisation(shared_data("alpaca_eval/derived_df_gamed_surrogate.csv"))
    annotations = {name: read_annotations(annotated(shared_data, name)) for name in PUBLISHED}
    start = time.perf_counter()
    figures = {name: alpaca_eval(found, difficulty, rows) for name, found in annotations.items()}
    return figures, time.perf_counter() - start


def annotated(shared_data, name):
    return shared_data(f"alpaca_eval/annotations/{name}.json.gz")


def table(path):
    with path.open(newline="") as lines:
        return {row[""]: row for row in csv.DictReader(lines)}


def row(preference, ours=10, theirs=10, position=0, text="say something"):
    return Annotation(position, text, preference, theirs, ours)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures_come_out(fits, shared_data, name):
    figures, published = fits[0][name], table(shared_data("alpaca_eval/leaderboard.csv"))[name]
    win_rate, error, level = PUBLISHED[name]
    assert (f"{figures['win_rate']:.3f}", f"{figures['standard_error']:.3f}") == (win_rate, error)
    assert figures["win_rate"] == pytest.approx(float(published["win_rate"]), abs=1e-8)
    assert figures["standard_error"] == pytest.approx(float(published["standard_error"]), abs=1e-8)
    found = figures["discrete"]
    counts = [int(published[key]) for key in ("n_wins", "n_wins_base", "n_draws")]
    assert [found["wins"], found["losses"], found["draws"]] == counts
    assert found["win_rate"] == pytest.approx(float(published["discrete_win_rate"]))
    assert figures["length_controlled"]["win_rate"] == pytest.approx(level, abs=0.2)
    assert figures["length_controlled"]["converged"]
    assert figures["interval"]["low"] < figures["win_rate"] < figures["interval"]["high"]


@pytest.mark.parametrize("name", PUBLISHED)
def test_weights_are_the_published_ones_in_sign_and_size(fits, shared_data, name):
    published = table(shared_data("alpaca_eval/length_controlled_v1_weights.csv"))[name]
    columns = ("np.tanh(std_delta_len)", "instruction_difficulty", "not_gamed_baseline.astype(float)")
    weights = list(fits[0][name]["length_controlled"]["weights"].values())
    assert weights == pytest.approx([float(published[key]) for key in columns], abs=0.07)


def test_the_leaderboards_error_is_the_spread_of_the_predictions(fits, shared_data):
    published = table(shared_data("alpaca_eval/leaderboard.csv"))
    known = {name: float(text) for name in PUBLISHED if (text := published[name]["lc_standard_error"])}
    assert len(known) == 3
    for name, error in known.items():
        assert fits[0][name]["length_controlled"]["spread_error"] == pytest.approx(error, abs=0.005)


def test_all_seven_take_less_than_two_seconds(fits):
    assert fits[1] < 2


def test_a_model_with_rows_missing_reproduces_by_position_only(fits, shared_data):
    name = "text_davinci_001"
    assert fits[0][name]["length_controlled"]["win_rate"] == pytest.approx(9.06, abs=0.005)
    baseline = shared_data("alpaca_eval/reference_outputs_gpt4_1106_preview.json.gz")
    prompts = [item["instruction"] for item in json.loads(gzip.decompress(baseline.read_bytes()))]
    difficulty = read_difficulty(shared_data("alpaca_eval/derived_instruction_difficulty.csv"))
    rows = read_regularisation(shared_data("alpaca_eval/derived_df_gamed_surrogate.csv"))
    found = read_annotations(annotated(shared_data, name), prompts)
    assert (found.num, len(found.usable), len(found.missing), found.faults) == (803, 803, 2, ())
    by_prompt = length_controlled(found.usable, dict(zip(prompts, difficulty, strict=True)), rows)
    assert by_prompt["win_rate"] == pytest.approx(6.55, abs=0.005)
    assert by_prompt["difficulty_by"] == "prompt"


def test_the_delta_methods_error_is_that_of_a_bootstrap(shared_data):
    rows = read_annotations(annotated(shared_data, "FuseChat-Llama-3.2-1B-Instruct")).usable
    draws = np.random.default_rng(0).integers(0, len(rows), (200, len(rows)))
    rates = [length_controlled([rows[n] for n in draw])["win_rate"] for draw in draws]
    assert np.std(rates) == pytest.approx(length_controlled(rows)["standard_error"], rel=0.15)


def test_the_baseline_against_itself_is_a_half():
    rows = [row(1.5, ours=n, theirs=n, position=n) for n in range(20)]
    found = length_controlled(rows, [0.1 * n for n in range(20)])
    assert found["win_rate"] == pytest.approx(50)
    assert list(found["weights"]) == ["difficulty", "constant"]  # nothing to tell length by
    assert found["converged"]


def test_a_preference_that_is_all_length_is_none_at_equal_length():
    rng = np.random.default_rng(0)
    deltas = rng.normal(-300, 200, 2000).astype(int)
    terms = np.tanh(deltas / deltas.std(ddof=1))
    rows = [
        row(1 + 1 / (1 + math.exp(2 * term)), ours=1000 - delta, theirs=1000)
        for delta, term in zip(deltas.tolist(), terms, strict=True)
    ]
    found = length_controlled(rows)
    assert alpaca_eval(Annotations(tuple(rows), num=2000))["win_rate"] > 65
    assert found["win_rate"] == pytest.approx(50, abs=0.001)
    assert found["weights"] == pytest.approx({"length": -2, "constant": 0}, abs=0.001)
    assert (found["difficulty_by"], found["regularisation_rows"]) == (None, 0)


def test_regularisation_rows_weigh_a_tenth_and_leave_the_constant_alone():
    pull = [RegularisationRow(0.9, 1.0, 0.0)] * 10
    rows = [row(1.3, ours=5, theirs=9), row(1.6, ours=9, theirs=5), row(1.2, ours=7, theirs=7)]
    found = length_controlled(rows, None, pull)
    values = np.array([[math.tanh(x), 1] for x in (1, -1, 0)] + [[math.tanh(1), 0]])
    same = fit_logistic(values, np.array([0.3, 0.6, 0.2, 0.9]), np.ones(4))
    assert list(found["weights"].values()) == pytest.approx(same.weights, abs=1e-6)
    assert found["regularisation_rows"] == 10


def test_wins_without_exception_still_have_a_fit():
    found = length_controlled([row(2.0, ours=n) for n in range(30)])
    assert found["win_rate"] > 99.99
    assert found["converged"]


def test_the_gradient_and_the_curvature_are_those_of_the_loss(monkeypatch):
    seen = {}

    def spy(loss, start, jac, hess, **_):
        seen.update(loss=loss, jac=jac, hess=hess)
        return type("Found", (), {"x": start})

    monkeypatch.setattr(alpaca, "minimize", spy)
    rng = np.random.default_rng(0)
    fit_logistic(rng.normal(size=(50, 3)), rng.uniform(size=50), rng.uniform(size=50))
    at = np.array([0.3, -1.0, 2.0])
    assert check_grad(seen["loss"], seen["jac"], at) < 1e-5
    for n in range(3):
        assert check_grad(lambda w, n=n: seen["jac"](w)[n], lambda w, n=n: seen["hess"](w)[n], at) < 1e-5


def test_draws_are_halves():
    rows = [row(1.5), row(1.5000001), row(1.0), row(2.0)]
    assert discrete(rows) == {"wins": 2, "losses": 1, "draws": 1, "win_rate": 62.5}


def test_without_a_record_there_is_no_figure():
    found = alpaca_eval(Annotations(()))
    assert found["win_rate"] is found["standard_error"] is found["length_controlled"] is None
    assert found["discrete"]["win_rate"] is None
    assert "–" in alpaca_table({"nobody": found})


def test_one_record_has_no_error():
    found = alpaca_eval(Annotations((row(1.2),), num=1))
    assert found["win_rate"] == pytest.approx(20)
    assert found["standard_error"] is found["length_controlled"]["standard_error"] is None


GOOD = {"instruction": "a", "output_1": "x", "output_2": "", "preference": 1.25}
BAD = [
    ({**GOOD, "preference": None}, "preference is missing"),
    ({"instruction": "b", "output_1": "x", "output_2": "y"}, "preference is missing"),
    ({**GOOD, "preference": 2.5}, "preference is not a number from 1 to 2 (2.5)"),
    ({**GOOD, "preference": 0}, "preference is not a number from 1 to 2 (0)"),
    ({**GOOD, "preference": float("nan")}, "preference is not a number from 1 to 2 (nan)"),
    ({**GOOD, "preference": True}, "preference is not a number from 1 to 2 (True)"),
    ({**GOOD, "preference": "1.5"}, "preference is not a number from 1 to 2 ('1.5')"),
    ({**GOOD, "output_2": ["y"]}, "output_2 is not a text"),
    ({**GOOD, "output_1": None}, "output_1 is missing"),
    ({**GOOD, "instruction": 3}, "instruction is not a text"),
    (["a"], "the record is not an object"),
    (GOOD, "its instruction stands in an earlier record (a)"),
    ({**GOOD, "instruction": "z"}, "its instruction is not one of the prompts (z)"),
]


@pytest.mark.parametrize("packed", [False, True])
def test_every_bad_record_is_named_and_counted(tmp_path, packed):
    records = [GOOD, *(record for record, _ in BAD), {**GOOD, "instruction": "c", "preference": 2}]
    data = json.dumps(records).encode()
    path = tmp_path / "annotations.json"
    path.write_bytes(gzip.compress(data) if packed else data)
    found = read_annotations(path, ["a", "b", "c"])
    assert [(item.instruction, item.position) for item in found.usable] == [("a", 0), ("c", len(BAD) + 1)]
    assert [(fault.number, str(fault)) for fault in found.faults] == [
        (number, reason) for number, (_, reason) in enumerate(BAD, 2)
    ]
    figures = alpaca_eval(found)
    assert (figures["records"], figures["usable"], figures["missing"]) == (len(BAD) + 2, 2, 1)
    assert figures["faults"][0] == "record 2: preference is missing"
    assert figures["empty"] == 2
    assert figures["win_rate"] == pytest.approx(62.5)


def test_a_line_that_is_not_json_keeps_its_place(tmp_path):
    path = tmp_path / "annotations.jsonl"
    path.write_text(json.dumps(GOOD) + "\n{torn\n" + json.dumps({**GOOD, "instruction": "b"}) + "\n")
    found = read_annotations(path)
    assert [item.position for item in found.usable] == [0, 2]
    assert len(found.faults) == 1


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_annotations(tmp_path / "no.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_difficulty(tmp_path / "no.csv")


def test_difficulty_must_be_there_for_every_record():
    with pytest.raises(DataError, match="1 of 2 annotations have none, the first in row 7"):
        length_controlled([row(1.2), row(1.4, position=7)], [0.5])
    with pytest.raises(DataError, match="annotations have none"):
        length_controlled([row(1.2)], {"another": 0.1})


def test_a_table_with_a_hole_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("index,instruction_difficulty\n0,0.5\n1,\n2,inf\n")
    with pytest.raises(DataError, match=r"line 3: 1, \n    line 4: 2, inf"):
        read_difficulty(path)
    path.write_text("index,instruction_difficulty\n0,0.5\n2,0.5\n")
    with pytest.raises(DataError, match="its index is 2"):
        read_difficulty(path)
    path.write_text("index,other\n0,0.5\n")
    with pytest.raises(DataError, match="instruction_difficulty"):
        read_difficulty(path)
    path.write_text("")
    with pytest.raises(DataError, match="0 of 0 lines"):
        read_regularisation(path)


def test_the_table_has_a_line_a_model(fits):
    lines = alpaca_table(fits[0]).splitlines()
    assert len(lines) == 8
    assert "76.92 ± 0.91" in lines[6]
    assert lines[6].endswith("805 of 805, 0 prompts missing")
