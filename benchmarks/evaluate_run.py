"""Every suite on the models of a run of the recipe smollm2, on subsets that two cores can do in an hour.

python benchmarks/evaluate_run.py DATA RUN: the folder of benchmark data, and of a run made with
``srlm run smollm2 evaluation.sft_baseline=true``. It goes on with that run: what is done is not done again.
"""

import gzip
import json
import re
import sys
from pathlib import Path

from srlm.cli import main as srlm
from srlm.store.states import saved_config

JUDGE = {"model": "M1", "justify": False}  # the run's own M1: the best judge of this size at hand


def suites(data: Path, folder: Path) -> list[dict]:
    return [
        {"suite": "head_to_head", "rubric": "additive", "max_tokens": 128},
        alpaca_eval(data, limit=40, max_tokens=160),
        mt_bench(data, limit=16, max_tokens=128),
        {"suite": "ifeval", "data": str(data / "ifeval/input_data.jsonl"), "limit": 48, "max_tokens": 256},
        {
            "suite": "gsm8k",
            "data": str(data / "gsm8k/test.jsonl.gz"),
            "limit": 24,
            "max_tokens": 160,
            "samples": 4,
            "temperature": 0.7,
        },
        {"suite": "diversity", "max_tokens": 96, "samples": 2},
        {
            "suite": "harness",
            "limit": 100,
            "tasks": [
                str(questions(data / "commonsense" / name / "test.json.gz", folder / f"{name}.jsonl"))
                for name in ("ARC-Easy", "ARC-Challenge", "openbookqa", "piqa")
            ]
            + [
                str(data / "truthfulqa/TruthfulQA.csv"),
                str(data / "mmlu/test/miscellaneous_test.csv"),
            ],
        },
    ]


def alpaca_eval(data: Path, **keys: int) -> dict:
    """AlpacaEval against GPT-4 Turbo, with the length control."""
    alpaca = data / "alpaca_eval"
    return {
        "suite": "alpaca_eval",
        "rubric": "additive",
        "baseline": str(alpaca / "reference_outputs_gpt4_1106_preview.json.gz"),
        "difficulty": str(alpaca / "derived_instruction_difficulty.csv"),
        "regularisation": str(alpaca / "derived_df_gamed_surrogate.csv"),
        **keys,
    }


def mt_bench(data: Path, **keys: int) -> dict:
    """MT-Bench by grades from 0 to 5."""
    return {
        "suite": "mt_bench",
        "questions": str(data / "mt_bench/question.jsonl"),
        "references": str(data / "mt_bench/reference_answer_gpt-4.jsonl"),
        "rubric": "additive",
        **keys,
    }


def questions(source: Path, target: Path) -> Path:
    """A file whose questions hold their options in one text, as questions with choices."""
    lines = []
    for row in json.loads(gzip.decompress(source.read_bytes())):
        text, _, rest = row["instruction"].partition("\n\n")
        parts = re.split(r"(?:Answer|Solution|Option)(\d+): ", rest.partition("\n\nAnswer format")[0])
        choices = [part.strip() for part in parts[2::2]]
        question = text.split(": ", 1)[-1].strip()
        answer = int(re.sub(r"\D", "", row["answer"])) - 1
        lines.append(json.dumps({"question": question, "choices": choices, "answer": answer}) + "\n")
    target.write_text("".join(lines), "utf-8")
    return target


def main() -> None:
    data, run = Path(sys.argv[1]), Path(sys.argv[2])
    values = {
        "answers": saved_config(run).evaluation.answers.model_dump(),
        "sft_baseline": saved_config(run).evaluation.sft_baseline,
        "judge": JUDGE | {"model": str(run / "M1")},
        "suites": suites(data, run),
    }
    srlm(
        ["run", "smollm2", f"evaluation={json.dumps(values)}", "--name", run.name, "--runs", str(run.parent)]
    )


if __name__ == "__main__":
    main()
