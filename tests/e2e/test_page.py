"""The pages of a real run: its report, two side by side, a model's card; of a run that is not whole, too."""

import json
import shutil

import pytest
import yaml
from safetensors.torch import load_file

from srlm.errors import ConfigError, ModelError, RunError
from srlm.records import Judgment, Pair
from srlm.report import write_comparison, write_report
from srlm.report.export import export, licence_of, write_gguf
from srlm.store.jsonl import read_records


def test_the_page_of_a_run_has_its_figures_and_what_to_read(finished):
    folder, _, _ = finished
    html = write_report(folder)[1].read_text()
    for title in (
        "Calibration",
        "Scores of responses",
        "Score against length",
        "Map of prompts",
        "Loss of DPO",
    ):
        assert f"<figcaption>{title}" in html
    for kind in ("Pairs", "Longest responses"):
        assert f"<summary>{kind} " in html
    assert "M3 " in html.partition("Lineage of the models")[0]
    pairs = read_records(folder / "M2/pairs.jsonl", Pair)
    widest = max(pairs, key=lambda pair: pair.chosen_score - pair.rejected_score)
    assert f"<code>{widest.id}</code>" in html
    judged = {item.response_id: item.id for item in read_records(folder / "M2/judgments.jsonl", Judgment)}
    assert f"<code>{judged[widest.chosen_id]}, {judged[widest.rejected_id]}</code>" in html


def test_a_half_written_or_moved_run_still_has_its_page(finished, tmp_path):
    """What is there is shown, what is not is named; nothing depends on where the run lies."""
    first, moved = tmp_path / "first", tmp_path / "elsewhere"
    shutil.copytree(finished[0], first, symlinks=True)
    before = [path.read_text() for path in write_report(first)]
    first.rename(moved)  # nothing is left where it was
    after = [path.read_text() for path in write_report(moved)]
    assert [text.replace("elsewhere", "first") for text in after] == before
    for name in (
        "M2/dpo/log.jsonl",
        "M2/monitors.json",
        "M3/monitors.json",
        "M1/monitors.json",
        "outcome.json",
    ):
        (moved / name).unlink(missing_ok=True)
    watched = [f"M{n}/monitors" for n in (1, 2, 3)]
    for step in ("M3/judgments", "M3/pairs", "M3/evaluation/figures", *watched):
        (moved / f"{step}.step.json").unlink()
        (moved / f"{step}.jsonl").unlink(missing_ok=True)
    shutil.rmtree(moved / "M1/watch")
    text = write_report(moved)[0].read_text()
    assert "signals of reward hacking: not watched" in text
    assert "The run is not finished" in text
    assert "held-out figures of M3: not measured" in text
    assert "round M3 cannot be read" in text
    assert "round M2" not in text


def test_runs_stand_side_by_side(finished, tmp_path):
    folder, _, _ = finished
    other = tmp_path / "longer"
    shutil.copytree(folder, other, symlinks=True)
    saved = json.loads((other / "config.json").read_text())
    saved["config"]["pairs"]["length_control"] = 0.3
    (other / "config.json").write_text(json.dumps(saved))
    markdown, page = write_comparison([folder, other], tmp_path / "out")
    text = markdown.read_text()
    assert "| pairs.length_control | `0.0` | `0.3` |" in text
    assert text.count("| `") == 2  # nothing else is told
    assert "| longer | M3 |" in text
    assert "<figcaption>Lengths of answers" in page.read_text()


def test_a_model_is_exported_with_a_card(finished, tmp_path):
    folder, _, _ = finished
    target = export(f"{folder}/best", tmp_path / "out")
    assert load_file(target / "model.safetensors")
    card = (target / "README.md").read_text()
    front = yaml.safe_load(card.split("---")[1])
    assert "base_model" not in front  # a hub knows no folder of this machine
    above = card.partition("## Reproduce")[0]
    assert str(finished[1].model.name) not in above
    assert "license" not in front
    assert "which is not known here" in card
    assert "M2/dpo" in card
    assert "instructions of srlm's built-in seed" in card
    kept = json.loads((target / "srlm.json").read_text())
    assert {"config", "made_with", "evaluation", "monitors"} <= kept.keys()
    alarms = [item["alarm"] for item in kept["monitors"]["signals"] if item["alarm"]]
    assert all(alarm in card for alarm in alarms)
    with pytest.raises(ModelError, match="not empty"):
        export(f"{folder}/M3", target)
    with pytest.raises(RunError, match="not the model of a run"):
        export(str(target), tmp_path / "again")


def test_a_card_tells_of_the_models_own_ancestors_alone(finished, tmp_path):
    """Alarms of those that it came of, nothing of what came after."""
    run = tmp_path / "run"
    shutil.copytree(finished[0], run, symlinks=True)
    for name in ("M2", "M3"):
        kept = json.loads((run / name / "monitors.json").read_text())
        kept["signals"][0] |= {"alarm": f"{name} went wrong"}
        (run / name / "monitors.json").write_text(json.dumps(kept))
    (run / "outcome.json").write_text(json.dumps({"verdict": "M3 is trained.", "best": "M2"}))
    cards = {
        name: (export(f"{run}/{name}", tmp_path / name) / "README.md").read_text()
        for name in ("M1", "M2", "M3")
    }
    assert "went wrong" not in cards["M1"]
    assert "M3" not in cards["M2"]
    assert "- M2: M2 went wrong" in cards["M2"]
    assert "- M2: M2 went wrong" in cards["M3"]
    assert "- M3: M3 went wrong" in cards["M3"]
    assert "M3 is trained." in cards["M3"]


CONVERTER = """#!/bin/sh
[ -f "$1/config.json" ] || { echo "cannot convert" >&2; exit 3; }
[ "$2 $3 $4" = "--outtype f16 --outfile" ] || exit 4
echo made > "$5"
"""


def test_gguf_is_made_by_the_converter_on_the_path(tmp_path, monkeypatch):
    model, programs = tmp_path / "model", tmp_path / "bin"
    model.mkdir()
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    with pytest.raises(ConfigError, match=r"put llama\.cpp's convert_hf_to_gguf\.py"):
        write_gguf(model)
    (programs / "convert-hf-to-gguf").write_text(CONVERTER)
    (programs / "convert-hf-to-gguf").chmod(0o755)
    with pytest.raises(ModelError, match="status 3: cannot convert"):
        write_gguf(model)
    (model / "config.json").write_text("{}")
    assert write_gguf(model).read_text() == "made\n"


def test_the_licence_is_the_base_models(tmp_path):
    assert licence_of("smollm2-135m-instruct") == "apache-2.0"
    assert licence_of(str(tmp_path)) is None
    (tmp_path / "README.md").write_text("---\nlicense: mit\ntags: [a]\n---\n# A model\n")
    assert licence_of(str(tmp_path)) == "mit"
    (tmp_path / "README.md").write_text("# A model without front matter\n")
    assert licence_of(str(tmp_path)) is None
