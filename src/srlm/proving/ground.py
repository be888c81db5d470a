"""What all arms of a seed stand on: an M0 of its own, seed data, prompts and tests, made once and kept.

A ground is a folder. Who pretrained M0 with which documents follows from the seed and the settings, and the
folder's name from both, so it is found again; nothing else is shared between seeds.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock
from pydantic import Field

from srlm import __version__
from srlm.config import LocalEngineSection, PretrainingSection, ResponsesSection, Section
from srlm.engines.opening import open_engine
from srlm.models import Model, folder_digest
from srlm.proving.labels import biased, dealt_anew, without_remarks
from srlm.proving.language import (
    CHAT_TEMPLATE,
    CHOICE_RUBRIC,
    META_RUBRIC,
    OTHER_TASK,
    RUBRIC,
    TALK,
    WORDS,
    remarks,
)
from srlm.proving.tasks import TOP, Task, points
from srlm.proving.world import WorldSection, documents, tasks
from srlm.records import Prompt, Response, content_id
from srlm.stages.responses import respond
from srlm.store.files import publish_folder, write_atomically

CHECKER = "srlm.proving.tasks:points"
LONGEST = 24
"""Tokens of an answer; a right one has at most nine."""
SAMPLE = 200
"""Documents that stand for the code that makes a world, in the name of a ground."""
FEW = 20
"""Right answers that leave M1 the faults of M0: room to hack."""
DRAWS = 8
"""Answers of M0 to each prompt whose answers are judged; its coverage is measured on them."""


class SizesSection(Section):
    """How much of everything there is, in prompts."""

    instructions: int = Field(100, ge=1, description="with right answers (IFT)")
    ranked: int = Field(1000, ge=1, description="whose answers have scores (EFT)")
    answers: int = Field(4, ge=2, description="different answers of M0 to each of these")
    probe: int = Field(120, ge=1, description="more such, held out, on which judges are measured")
    test: int = Field(240, ge=1, description="on which the truth is measured")
    given: int = Field(3200, ge=1, description="to give to rounds")


class GroundSection(Section):
    """The world, the size of M0 and how much seed data there is."""

    world: WorldSection = WorldSection()
    pretraining: PretrainingSection = PretrainingSection()
    sizes: SizesSection = SizesSection()


@dataclass(frozen=True)
class Ground:
    """The folder of a seed; `coverage` and the loss of M0, and whether the seed counts as failed."""

    folder: Path
    seed: int
    coverage: float
    loss: float
    failed: bool

    @property
    def recipe(self) -> str:
        """The recipe of a run on this ground."""
        return str(self.folder / "recipe.yaml")


def prepare(section: GroundSection, seed: int, cache: Path) -> Ground:
    """The ground of a seed, from the cache where it is there.

    Its name says the settings, the version, and the first documents, which change with the world's code.
    Raises ConfigError for a world with too few tasks.
    """
    said = list(documents(section.world.model_copy(update={"documents": SAMPLE}), seed))
    folder = cache / f"seed{seed}-{content_id('ground', __version__, section.model_dump(mode='json'), said)}"
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{folder.name}.lock")):  # two studies may want it at once
        if not (folder / "ground.json").exists():
            partial = folder.with_name(f".{folder.name}")
            partial.mkdir(exist_ok=True)
            _make(section, seed, partial, folder)
            publish_folder(partial, folder)
    return Ground(folder, seed, **json.loads((folder / "ground.json").read_text("utf-8")))


def _make(section: GroundSection, seed: int, folder: Path, target: Path) -> None:
    """Make the ground in a folder that will be called `target`."""
    from srlm.training.pretraining import pretrain, word_tokenizer  # loads torch

    world = section.world
    tokenizer = word_tokenizer((*WORDS, *TALK) if world.talk else WORDS, CHAT_TEMPLATE)
    loss = pretrain(section.pretraining, tokenizer, list(documents(world, seed)), folder / "M0", seed=seed)
    sizes = section.sizes
    counts = (sizes.instructions, 20, sizes.ranked, sizes.probe, sizes.given, sizes.test)
    drawn = iter(tasks(world, sum(counts), "ground", seed))
    gold, kept_back, ranked, probe, given, test = ([next(drawn) for _ in range(count)] for count in counts)
    heldout = [_gold(task, "heldout") for task in kept_back]
    _write(folder / "instructions.jsonl", [*map(_gold, gold), *heldout])
    _write(folder / "instructions-few.jsonl", [*map(_gold, gold[:FEW]), *heldout])
    answers = _answers(Model("M0", folder / "M0", folder_digest(folder / "M0")), [*ranked, *probe], seed)
    lines = [_ranked(section, task, answers[task.prompt]) for task in ranked]
    lines += [_ranked(section, task, answers[task.prompt], "heldout") for task in probe]
    lines = [line for line in lines if len(line["answers"]) > 1]
    _write(folder / "ranked.jsonl", lines)
    _write(folder / "ranked-shuffled.jsonl", dealt_anew(lines, seed))
    _write(folder / "ranked-biased.jsonl", map(biased, lines))
    _write(folder / "ranked-choice.jsonl", map(without_remarks, lines))
    _write(folder / "prompts.jsonl", [{"prompt": task.prompt} for task in given])
    _write(folder / "test.jsonl", [{"prompt": task.prompt} for task in test])
    write_atomically(folder / "rubric.md", RUBRIC)
    write_atomically(folder / "rubric-choice.md", CHOICE_RUBRIC)
    write_atomically(folder / "rubric-meta.md", META_RUBRIC)
    write_atomically(folder / "other-task.txt", OTHER_TASK)
    write_atomically(folder / "recipe.yaml", yaml.safe_dump(_recipe(target, seed), sort_keys=False))
    coverage = sum(_covers(prompt, texts) for prompt, texts in answers.items()) / len(answers)
    found = {"coverage": coverage, "loss": loss, "failed": coverage < world.least_coverage}
    write_atomically(folder / "ground.json", json.dumps(found, indent=1) + "\n")


def _recipe(folder: Path, seed: int) -> dict[str, Any]:
    sampled = {"samples": DRAWS, "temperature": 1.0, "top_p": 1.0}
    suite = {"suite": "checked", "prompts": str(folder / "test.jsonl"), "checker": CHECKER, "top": TOP}
    suite |= {"max_tokens": LONGEST, "block": 1000}
    return {
        "extends": "proving-ground",
        "seed": seed,
        "model": {"name": str(folder / "M0")},
        "data": {name: str(folder / f"{name}.jsonl") for name in ("instructions", "ranked")},
        "prompts": {"given": str(folder / "prompts.jsonl")},
        "judge": {"rubric": str(folder / "rubric.md")},
        "evaluation": {
            "suites": [suite | {"name": "greedy", "temperature": 0.0}, suite | {"name": "sampled"} | sampled]
        },
    }


def _answers(model: Model, asked: Sequence[Task], seed: int) -> dict[str, list[str]]:
    """What M0 says to each prompt, drawn several times."""
    section = ResponsesSection(samples=DRAWS, temperature=1.0, top_p=1.0, max_tokens=LONGEST, block=1000)
    prompts = [Prompt.of(task.prompt, (), 0) for task in asked]
    found: dict[str, list[str]] = {prompt.text: [] for prompt in prompts}
    with open_engine(LocalEngineSection(device="cpu", dtype="float32"), model) as engine:
        for block in respond(section, engine, prompts, seed=seed):
            response: Response
            for response in block.records:
                found[response.prompt].append(response.text)
    return found


def _gold(task: Task, split: str = "train") -> dict[str, Any]:
    return {"prompt": task.prompt, "response": task.solution(), "split": split}


def _ranked(section: GroundSection, task: Task, texts: Iterable[str], split: str = "train") -> dict[str, Any]:
    """A prompt with different answers, each with the points that it deserves and why."""
    said = [text for text in dict.fromkeys(texts) if text.strip()][: section.sizes.answers]
    flags = {text: task.flags(text) for text in said}
    answers = [
        {"text": text, "score": sum(flags[text]), "justification": remarks(flags[text])} for text in said
    ]
    return {"prompt": task.prompt, "answers": answers, "split": split}


def _covers(prompt: str, texts: Sequence[str]) -> bool:
    found = {points(prompt, text) == TOP for text in texts}
    return len(found) == 2


def _write(path: Path, lines: Iterable[dict[str, Any]]) -> None:
    write_atomically(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
