"""Can EFT teach a small model to judge? The SFT baseline against M1, on held-out ranks and on others' data.

    python benchmarks/teach_judge.py DATA FOLDER

DATA holds the preference files named below. Each step is skipped when its result is in FOLDER, so the
script goes on where it was stopped. Hours on two cores; `--epochs` and `--answers` shorten it.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from srlm.config import Config, ModelSection, SeedSection
from srlm.console import watcher
from srlm.evaluation.heldout import scored_prompts
from srlm.evaluation.intervals import Share, bootstrap
from srlm.evaluation.judge_quality import PairCounts, count_pairs
from srlm.evaluation.tables import quality_table
from srlm.judging.eft import eft_examples
from srlm.judging.rubric import load_rubric
from srlm.models import Model, folder_digest, resolve
from srlm.recipes import load
from srlm.records import Example, Judgment
from srlm.seeds import RankedPrompt, load_seed
from srlm.seeds.balance import without_length
from srlm.seeds.building import BuildOptions, build_seed, seed_files
from srlm.seeds.oasst import read_trees
from srlm.seeds.preferences import heldout_preferences
from srlm.standalone import evaluate_judge
from srlm.store.jsonl import read_records
from srlm.store.run import open_run
from srlm.training.launch import train_sft

OASST = ("oasst/oasst1_en_validation.messages.jsonl.gz", "oasst/en_100_tree.jsonl.gz")
OTHERS = {
    "llmbar-natural": "llmbar/Natural.json",
    "llmbar-adversarial": (
        "llmbar/GPTInst.json",
        "llmbar/GPTOut.json",
        "llmbar/Manual.json",
        "llmbar/Neighbor.json",
    ),
    "pandalm": "pandalm/testset-v1.json.gz",
    "autoj": "autoj/testdata_pairwise.jsonl.gz",
    "hhh": "prometheus/hhh_alignment_eval.json.gz",
}
OPTIONS = BuildOptions(
    eft_turns=9, eft_share=0.85, heldout=0.4, ift_heldout=0.1, max_answer_chars=3000, scores="rank"
)
WAYS = {
    "expected, at once": ["judge.scoring=expected", "judge.justify=false"],
    "expected, after reasons": ["judge.scoring=expected", "judge.samples=1"],
    "sampled": ["judge.samples=3", "judge.retries=0"],
}


@dataclass(frozen=True)
class Pupil:
    """A model to train: what it learns about judging beside instructions, and how it is weighed."""

    name: str
    reasons: bool | None
    balance: str
    ways: tuple[str, ...]
    no_length: bool = False


PUPILS = [
    Pupil("SFT", None, "tokens", ("expected, at once", "expected, after reasons", "sampled")),
    Pupil("M1 score alone", False, "examples", ("expected, at once", "sampled")),
    Pupil("M1 without length", False, "examples", ("expected, at once",), no_length=True),
    Pupil("M1 reasons first", True, "tokens", tuple(WAYS)),
]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--learning-rate", default="1e-4")
    parser.add_argument("--answers", type=int, default=300, help="answers of each other set, at most")
    parser.add_argument("--pupils", nargs="*", default=[pupil.name for pupil in PUPILS])
    asked = parser.parse_args()
    for pupil in [pupil for pupil in PUPILS if pupil.name in asked.pupils]:
        model = trained(pupil, asked.data, asked.folder, asked.learning_rate, asked.epochs)
        for way in pupil.ways:
            sets = held_out(asked.folder)
            if way == "expected, at once":
                sets += others(asked.data, asked.answers)
            report(pupil.name, way, model, sets, asked.folder)
    for name, lines in held_out(asked.folder) + others(asked.data, asked.answers):
        for pupil in [
            pupil.name for pupil in PUPILS if pupil.name in asked.pupils and pupil.reasons is not None
        ]:
            print(f"{name}, {pupil}: {gain(asked.folder, pupil, name, lines)}")


def gain(folder: Path, better: str, name: str, lines: Sequence[RankedPrompt]) -> str:
    """By how much M1 is right on more pairs than the SFT baseline: paired, over the same prompts."""
    both = []
    for pupil in ("SFT", better.replace(" ", "-")):
        judgments = read_records(folder / pupil / "expected-at-once" / name / "judgments.jsonl", Judgment)
        scores = {item.response_id: item.score for item in judgments}
        both.append([count_pairs(prompt) for prompt in scored_prompts(scores, lines)])

    def part(counts: tuple[PairCounts, PairCounts]) -> Share:
        if any(item.unscored for item in counts):
            return 0, 0  # both have to have judged all of the prompt
        before, after = (item.right + item.tied / 2 for item in counts)
        return after - before, counts[0].right + counts[0].wrong + counts[0].tied

    found = bootstrap(list(zip(*both, strict=True)), part, seed=0)
    return f"M1 above SFT by {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] of pairs"


def trained(pupil: Pupil, data: Path, folder: Path, rate: str, epochs: float) -> Model:
    """The pupil's model: from the folder, or trained now."""
    section = load(
        "smollm2",
        [
            f"sft.epochs={epochs}",
            f"sft.learning_rate={rate}",
            "sft.micro_tokens=1024",
            f"sft.balance={pupil.balance}",
        ],
    ).config.sft
    target = folder / pupil.name.replace(" ", "-") / "model"
    seed = load_seed(seed_section(data, folder))
    examples = list(seed.instructions)
    if pupil.reasons is not None:
        ranked = without_length(seed.ranked) if pupil.no_length else seed.ranked
        examples += judging_examples(ranked, reasons=pupil.reasons)
    print(f"{pupil.name}: {len(examples)} examples, {epochs:g} epochs", flush=True)
    base = resolve(ModelSection())
    with watcher(Console(), json_lines=True) as progress:
        train_sft(
            section,
            base,
            examples,
            seed.heldout_instructions,
            folder=target.parent / "sft",
            target=target,
            report=lambda done, total, note: done % 10 or progress.advance(pupil.name, done, total, note),
        )
    return Model(pupil.name, target, folder_digest(target))


def judging_examples(ranked: Sequence[RankedPrompt], *, reasons: bool) -> list[Example]:
    """EFT examples with their justifications, or with the score alone."""
    if not reasons:
        ranked = [
            line.model_copy(
                update={"answers": tuple(a.model_copy(update={"justification": ""}) for a in line.answers)}
            )
            for line in ranked
        ]
    return eft_examples(ranked, load_rubric("additive"))


def seed_section(data: Path, folder: Path) -> SeedSection:
    """The built-in seed and Open Assistant's, which is built at the first call."""
    out = folder / "oasst"
    if not (out / "ranked.jsonl").exists():
        forest = read_trees(*(str(data / name) for name in OASST))
        out.mkdir(parents=True, exist_ok=True)
        for name, text in seed_files(build_seed(forest.trees, replace(OPTIONS)), forest.faults).items():
            (out / name).write_text(text, "utf-8")
    return SeedSection(
        instructions=("builtin", f"{out}/instructions.jsonl"), ranked=("builtin", f"{out}/ranked.jsonl")
    )


def held_out(folder: Path) -> list[tuple[str, list[RankedPrompt]]]:
    """The ranked answers that no pupil saw."""
    return [("oasst", heldout_preferences(folder / "oasst/ranked.jsonl")[0])]


def others(data: Path, answers: int) -> list[tuple[str, list[RankedPrompt]]]:
    """The first prompts of every other set, up to a number of answers."""
    found = []
    for name, paths in OTHERS.items():
        files = (paths,) if isinstance(paths, str) else paths
        lines = [line for path in files for line in heldout_preferences(data / path)[0]]
        found.append((name, lines[: answers // 2]))
    return found


def report(
    name: str, way: str, model: Model, sets: list[tuple[str, list[RankedPrompt]]], folder: Path
) -> None:
    """Judge, and print the tables."""
    config: Config = load("smollm2", WAYS[way]).config
    out = folder / name.replace(" ", "-") / way.replace(", ", "-").replace(" ", "-")
    with open_run(out, config) as run:
        figures = evaluate_judge(config, run, model, sets)
    (out / "figures.json").write_text(json.dumps(figures, indent=1))
    print(f"\n=== {name}, {way}\n{quality_table(figures)}", flush=True)


if __name__ == "__main__":
    main()
