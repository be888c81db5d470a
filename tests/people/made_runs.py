"""Run folders written by hand: as much of a run as people are asked about."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from srlm.config import Config
from srlm.records import Prompt, Response, content_id

TEXTS = (
    "Boil the water, add the leaves, wait four minutes.",
    "Here is a short plan:\n\n1. Begin early.\n2. Rest.\n3. Go on.",
    "```python\ndef add(a, b):\n    return a + b\n```\nIt adds two numbers.",
    "| a | b |\n|---|---|\n| 1 | 2 |\n\nA table of two rows.",
    "An answer that says the same in more words than it needs, over and over, for a while. " * 6,
)
"""Answers of different kinds."""


def made_run(
    folder: Path, answers: Mapping[str, Sequence[str]], prompts: Sequence[str] | None = None
) -> Path:
    """A run whose models have answered held-out prompts: by model the text of every answer."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"srlm": "0.1.0"}), "utf-8")
    saved = {"config": Config().model_dump(mode="json"), "origins": {}}
    (folder / "config.json").write_text(json.dumps(saved), "utf-8")
    for number, (model, texts) in enumerate(answers.items()):
        asked = prompts or [f"Question {place}: how is it done?" for place in range(len(texts))]
        records = [response(prompt, text, model) for prompt, text in zip(asked, texts, strict=True)]
        step = folder / model / "evaluation/answers"
        step.parent.mkdir(parents=True, exist_ok=True)
        step.with_suffix(".jsonl").write_text("".join(f"{r.model_dump_json()}\n" for r in records), "utf-8")
        state = {"step": f"{model}/evaluation/answers", "number": number, "done": True, "digest": "d"}
        state |= {"records": len(records), "progress": [1, 1], "seconds": 1.0, "counts": {}, "bytes": 0}
        Path(f"{step}.step.json").write_text(json.dumps(state), "utf-8")
    return folder


def plain_run(folder: Path, prompts: int = 20, models: Sequence[str] = ("M1", "M2", "M3")) -> Path:
    """A run of some models with answers of all kinds, no two of them equal."""
    return made_run(
        folder,
        {
            model: [f"{TEXTS[(place + shift) % 5]} ({shift}.{place})" for place in range(prompts)]
            for shift, model in enumerate(models)
        },
    )


def response(prompt: str, text: str, model: str = "") -> Response:
    """A model's answer to a prompt."""
    asked = Prompt.of(prompt, (), 0)
    id_ = content_id("response", asked.id, 0, text, model)
    return Response(id=id_, prompt_id=asked.id, prompt=prompt, draw=0, text=text, num_tokens=9, finish="stop")
