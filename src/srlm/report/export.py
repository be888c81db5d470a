"""A model of a run as a folder to publish: weights, tokenizer, and a card that says how it came about."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from srlm.errors import ConfigError, ModelError, RunError
from srlm.models import BUILTIN, BUILTIN_HUB, model_folder
from srlm.report.card import render_card
from srlm.report.collect import collect
from srlm.report.reading import Reading
from srlm.store.files import publish_folder

CONVERTERS = ("convert-hf-to-gguf", "convert_hf_to_gguf.py")
"""llama.cpp's converter, as packaged and as the script in its repository."""
LICENSES = {BUILTIN: "apache-2.0", BUILTIN_HUB: "apache-2.0"}


def export(reference: str, target: Path) -> Path:
    """Copy the model of runs/NAME/M3 to `target` with README.md (the card) and srlm.json (its figures).

    The card names the base model's licence, as far as it is known, and hides no alarm. A base model of this
    machine is called by its folder's name; srlm.json and the line to reproduce hold the whole config.
    Raises RunError for a model that is not of a run, ModelError where `target` is not empty.
    """
    folder = model_folder(reference).resolve()
    run, name = folder.parent.parent, folder.parent.name
    if folder.name != "model" or not (run / "run.json").is_file():
        raise RunError(
            f"model {reference}",
            "it is not the model of a run, so there is nothing to say about it",
            "name one such as runs/smollm2/M3, or runs/smollm2/best",
        )
    if target.exists() and any(target.iterdir()):
        raise ModelError(
            f"target {target}", "the folder is not empty, and nothing is overwritten", "name another folder"
        )
    page = collect(run)
    made = target.with_name(f".{target.name}.tmp")
    shutil.rmtree(made, ignore_errors=True)
    shutil.copytree(folder, made)
    base = page.config.get("model.name", "")
    licence, local = licence_of(base) if base else None, Path(base).expanduser()
    shown = (local.name if local.exists() else base) if base else "a model that config.json does not name"
    known = None if local.exists() else base
    card = _front_matter(known, licence) + render_card(page, name, shown, licence)
    (made / "README.md").write_text(card, "utf-8")
    (made / "srlm.json").write_text(json.dumps(_figures(page.reading, name), indent=1) + "\n", "utf-8")
    if target.exists():
        target.rmdir()
    publish_folder(made, target)
    return target


def write_gguf(folder: Path) -> Path:
    """The exported model as model.gguf (float16) in its folder, by llama.cpp's converter.

    The converter is a program of its own, found on the PATH: as a package it would replace the `gguf` that
    reads models here. Raises ConfigError where there is none, ModelError where it fails.
    """
    found = [path for name in CONVERTERS if (path := shutil.which(name))]
    if not found:
        raise ConfigError(
            "--gguf",
            f"none of {', '.join(CONVERTERS)} is on the PATH",
            "put llama.cpp's convert_hf_to_gguf.py on the PATH, with an environment of its own; the exported "
            "folder itself is there",
        )
    out = folder / "model.gguf"
    made = subprocess.run(
        [found[0], str(folder), "--outtype", "f16", "--outfile", str(out)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode or not out.is_file():
        out.unlink(missing_ok=True)
        last = (made.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise ModelError(
            f"{found[0]} of {folder}",
            f"it ended with status {made.returncode}: {last}",
            "look whether the converter knows this kind of model; the exported folder itself is there",
        )
    return out


def licence_of(reference: str) -> str | None:
    """The licence that a base model states: the built-in's, or its folder's card's; None where not known."""
    card = Path(reference).expanduser() / "README.md"
    if reference in LICENSES:
        return LICENSES[reference]
    if not card.is_file():
        return None
    _, _, rest = card.read_text("utf-8").partition("---\n")
    stated = yaml.safe_load(rest.partition("\n---")[0]) if rest else None
    found = stated.get("license") if isinstance(stated, dict) else None
    return str(found) if found else None


def _front_matter(base: str | None, licence: str | None) -> str:
    """What model hubs read; they know no base model of this machine."""
    values: dict[str, Any] = {
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["self-rewarding", "dpo", "srlm"],
    }
    if base:
        values["base_model"] = BUILTIN_HUB if base == BUILTIN else base
    if licence:
        values["license"] = licence
    return f"---\n{yaml.safe_dump(values, sort_keys=True)}---\n\n"


def _figures(reading: Reading, name: str) -> dict[str, Any]:
    """Everything measured on the model, and the config and versions that made it."""
    parts = {
        "config": "config.json",
        "made_with": "run.json",
        "evaluation": f"{name}/evaluation/figures.json",
        "monitors": f"{name}/monitors.json",
    }
    there = {key: file for key, file in parts.items() if (reading.folder / file).exists()}
    return {"model": name} | {key: reading.values(file) for key, file in there.items()}
