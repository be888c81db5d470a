"""Methods on the real model: SmolLM2-135M-Instruct, one round, the same M1 for all arms of a seed.

python benchmarks/methods.py DATA FOLDER --seeds 3: the folder of benchmark data, and where all of it goes.
Four arms answer prompts that the model wrote; five are given sums in words, whose answers a program knows
(benchmarks/sums.py). It writes a recipe an arm and does `srlm sweep` over them: a second call goes on.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import sums
import yaml
from evaluate_run import alpaca_eval, mt_bench, questions

HERE = Path(__file__).parent
MODEL = "smollm2-135m-instruct"
PROMPTS = 32
SUMS = {"gold": 96, "train": 64, "test": 120}
AT_ONCE = {"scoring": "expected", "justify": False}
"""Cheap enough to judge eight answers to each of 64 sums."""


def arms(folder: Path) -> dict[str, dict[str, Any]]:
    """By name the keys that an arm sets beside those which all share."""
    given = {
        "prompts": {"given": str(folder / "sums/train.jsonl"), "count": SUMS["train"]},
        "responses": {"samples": 8, "temperature": 1.0, "top_p": 1.0, "max_tokens": 40},
        "judge": AT_ONCE,
    }
    truth = {"rank_by": "checker", "checker": "sums:points"}
    return {
        "paper": {},
        "length-control": {"pairs": {"length_control": 0.3}},
        "nll": {"dpo": {"nll": 1.0}},
        "meta-rewarding": {"judge_training": {"methods": ["meta"], "max_tokens": 96}},
        "sums-random": given | {"pairs": {"rank_by": "random"}},
        "sums-judge": given,
        "sums-vote": given | {"pairs": {"rank_by": "consensus", "same_answer": "number"}},
        "sums-scpo-nll": given
        | {
            "pairs": {"rank_by": "consensus", "same_answer": "number", "weights": "votes"},
            "dpo": {"nll": 1.0},
        },
        "sums-oracle": given | {"pairs": truth},
    }


def base(data: Path, folder: Path) -> dict[str, Any]:
    """What all arms share. The learning rate is six times the recipe's, so that one round moves something."""
    return {
        "extends": "smollm2",
        "iterations": 2,
        "data": {"instructions": ["builtin", str(folder / "sums/gold.jsonl")]},
        "prompts": {"count": PROMPTS},
        "responses": {"max_tokens": 96},
        "dpo": {"learning_rate": 3e-5, "min_learning_rate": 3e-6},
        "evaluation": {"judge": {"model": MODEL, "justify": False}, "suites": suites(data, folder)},
    }


def suites(data: Path, folder: Path) -> list[dict[str, Any]]:
    """Every suite that two cores can do in some minutes a model."""
    tasks = [
        str(questions(data / "commonsense" / name / "test.json.gz", folder / f"{name}.jsonl"))
        for name in ("ARC-Easy", "openbookqa", "piqa")
    ]
    greedy = {"temperature": 0.0}
    sums_suite = {"suite": "checked", "prompts": str(folder / "sums/test.jsonl"), "checker": "sums:points"}
    return [
        sums_suite | {"name": "sums", "max_tokens": 40} | greedy,
        {"suite": "gsm8k", "data": str(data / "gsm8k/test.jsonl.gz"), "limit": 12, "max_tokens": 128},
        {"suite": "ifeval", "data": str(data / "ifeval/input_data.jsonl"), "limit": 16, "max_tokens": 160},
        {"suite": "harness", "limit": 40, "tasks": tasks},
        alpaca_eval(data, limit=16, max_tokens=96),
        mt_bench(data, limit=8, max_tokens=96),
    ]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("data", type=Path)
    asked.add_argument("folder", type=Path)
    asked.add_argument("--seeds", type=int, default=3)
    given = asked.parse_args()
    folder = given.folder.resolve()
    if not (folder / "sums").exists():
        sums.write(folder / "sums", 0, **SUMS)
    shared = base(given.data.resolve(), folder)
    recipes = []
    for name, values in arms(folder).items():
        recipes.append(folder / f"{name}.yaml")
        own = {section: shared.get(section, {}) | keys for section, keys in values.items()}
        recipes[-1].write_text(yaml.safe_dump(shared | own, sort_keys=False), "utf-8")
    command = [sys.executable, "-m", "srlm.cli", "sweep", ",".join(map(str, recipes))]
    command += ["--seeds", str(given.seeds), "--out", str(folder / "runs")]
    paths = [str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    sys.exit(subprocess.run(command, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
