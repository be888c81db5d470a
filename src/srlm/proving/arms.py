"""The arms of a study: the same loop, each with a few keys of its own.

An arm is a sentence and overrides of the ground's recipe. What it is compared with are the controls: a judge
whose scores are dealt out at random, and a vote without any judge.
"""

from dataclasses import dataclass
from pathlib import Path

from srlm.errors import ConfigError
from srlm.proving.noise import DIAL


@dataclass(frozen=True)
class Arm:
    """What an arm asks, and the keys in which it differs; `{ground}` stands for the folder of its seed.

    One that `talks` asks what M0 has only read about in a world with `world.talk`.
    """

    asks: str
    overrides: tuple[str, ...]
    talks: bool = False

    def on(self, ground: Path) -> list[str]:
        """The overrides on the ground of a seed."""
        return [key.replace("{ground}", str(ground)) for key in self.overrides]


CONTROLS = ("random", "consensus")
ROOM = ("data.instructions={ground}/instructions-few.jsonl", "dpo.learning_rate=3e-4", "dpo.nll=0")

SELF_WRITTEN = (
    *("prompts.given=", "prompts.method=synthesis", "prompts.temperature=1", "prompts.top_p=1"),
    *("prompts.max_rouge=1", "prompts.max_tokens=16", "prompts.block=400"),
)
ORACLE = ("pairs.rank_by=checker", "pairs.checker=srlm.proving.tasks:points")

ARMS: dict[str, Arm] = {
    "judge": Arm("The paper's loop: the model's own judge, mean of three verdicts, N = 8.", ()),
    "random": Arm(
        "Control: the judge's own scores, dealt out at random: as many pairs, as far apart.",
        ("pairs.rank_by=random",),
    ),
    "consensus": Arm(
        "Control: how many of the N answers are the same; no judge at all (ScPO, arXiv 2411.04109).",
        ("pairs.rank_by=consensus",),
    ),
    "oracle": Arm(
        "The truth as the judge: what the optimiser could do with a perfect one.",
        ORACLE,
    ),
    "judge+consensus": Arm(
        "The judge's score and half the logarithm of the votes.", ("pairs.consensus=0.5",)
    ),
    "n2": Arm("N = 2.", ("responses.samples=2",)),
    "n4": Arm("N = 4, the paper's.", ("responses.samples=4",)),
    "n2-wide": Arm(
        "N = 2 for four times the prompts: as many answers.", ("responses.samples=2", "prompts.count=1600")
    ),
    "n4-wide": Arm(
        "N = 4 for twice the prompts: as many answers.", ("responses.samples=4", "prompts.count=800")
    ),
    "one-verdict": Arm("A single verdict an answer.", ("judge.samples=1",)),
    "eight-verdicts": Arm("The mean of eight verdicts.", ("judge.samples=8",)),
    "expected": Arm(
        "The expected grade, without reasons.", ("judge.scoring=expected", "judge.justify=false")
    ),
    "expected-after-reasons": Arm(
        "The expected grade after each of three sampled reasons.", ("judge.scoring=expected",)
    ),
    "multiple-choice": Arm(
        "A level at once in place of points with remarks, in EFT and in judging (section 3.2).",
        ("data.ranked={ground}/ranked-choice.jsonl", "judge.rubric={ground}/rubric-choice.md"),
    ),
    "shuffled-eft": Arm(
        "EFT with its labels dealt out at random: as many steps, nothing about judging.",
        ("data.ranked={ground}/ranked-shuffled.jsonl",),
    ),
    "biased": Arm(
        "EFT by somebody who takes length for quality.", ("data.ranked={ground}/ranked-biased.jsonl",)
    ),
    "room": Arm("Room to hack: 20 right answers, a hard optimiser without NLL.", ROOM),
    "biased-room": Arm(
        "The same room, and EFT by somebody who takes length for quality.",
        ("data.ranked={ground}/ranked-biased.jsonl", *ROOM),
    ),
    "no-eft": Arm(
        "No EFT: instructions alone, for as many optimiser steps.", ("eft.teach=false", "sft.epochs=123")
    ),
    "frozen-judge": Arm("M1 judges every round.", ("judge.judge=M1",)),
    "replay": Arm(
        "EFT replay: an eighth of every batch are EFT examples again.", ("judge_training.methods=replay",)
    ),
    "meta-rewarding": Arm(
        "The model compares its own judgments, and learns from pairs of them (arXiv 2407.19594).",
        ("judge_training.methods=meta", "judge_training.rubric={ground}/rubric-meta.md"),
        talks=True,
    ),
    "self-taught": Arm(
        "Its judgments that rank an answer above one to another task are EFT (arXiv 2408.02666).",
        ("judge_training.methods=self_taught", "judge_training.other_task={ground}/other-task.txt"),
        talks=True,
    ),
    "positives-only": Arm(
        "SFT on the chosen answers alone (section 3.2's ablation).", ("dpo.loss=sft", "dpo.nll=0")
    ),
    "self-written": Arm(
        "The model writes its prompts, from the head of the chat template (arXiv 2406.08464).",
        SELF_WRITTEN,
    ),
    "scpo": Arm(
        "A vote whose pairs weigh as their votes are apart (ScPO, arXiv 2411.04109).",
        ("pairs.rank_by=consensus", "pairs.weights=votes"),
    ),
    "implicit": Arm("Ranked by the implicit reward of DPO.", ("pairs.rank_by=implicit",)),
    "cream": Arm(
        "CREAM (arXiv 2410.12735): the same, believed as far as two models rank alike.",
        ("pairs.rank_by=implicit", "pairs.labels=cream"),
    ),
    "judge-cream": Arm(
        "The judge's pairs, believed as far as two models rank alike.", ("pairs.labels=cream",)
    ),
    "scir": Arm(
        "SCIR (arXiv 2502.08922): only pairs on which judge and implicit reward agree.",
        ("pairs.labels=scir",),
    ),
    "spa": Arm(
        "SPA (arXiv 2406.04412): the implicit reward, the nearest tenth smoothed.",
        ("pairs.rank_by=implicit", "pairs.labels=spa"),
    ),
    "temporal": Arm(
        "Chosen from one step ahead, rejected from M1 (Temporal, arXiv 2508.06026).",
        ("pairs.opponents=temporal",),
    ),
    "spin": Arm(
        "The seed's 100 answers against the model's own (SPIN, arXiv 2401.01335).",
        ("pairs.opponents=spin", "prompts.given="),
    ),
    "pool": Arm("Trained on the pairs of all rounds so far.", ("pairs.earlier=1",)),
    "oracle-dpo": Arm("The oracle without the NLL term.", (*ORACLE, "dpo.nll=0")),
    "oracle-hard": Arm(
        "The oracle without the NLL term, at three times the learning rate.",
        (*ORACLE, "dpo.nll=0", "dpo.learning_rate=3e-4"),
    ),
    "oracle-hard-nll": Arm(
        "The oracle with the NLL term, at three times the learning rate.", (*ORACLE, "dpo.learning_rate=3e-4")
    ),
    "near-top": Arm(
        "Chosen is drawn within half a point of the best, against the winner's curse.",
        ("pairs.chosen_within=0.5",),
    ),
    "two-pairs": Arm("Two pairs a prompt.", ("pairs.per_prompt=2",)),
    "against-random": Arm("The best against any other answer.", ("pairs.rejected=random",)),
    "sure": Arm(
        "Only pairs whose gap exceeds the standard deviation of the two scores.", ("pairs.min_deviations=1",)
    ),
    "sure-ties": Arm("Among equal scores the one the judge is surest of.", ("pairs.ties=variance",)),
    "length-control": Arm(
        "ρ tiers of Meta-Rewarding (arXiv 2407.19594): short good answers against long bad ones.",
        ("pairs.length_control=0.2",),
    ),
    "dpo": Arm("Without the NLL term.", ("dpo.nll=0",)),
    "cdpo": Arm("A tenth of the pairs taken to be the wrong way round.", ("dpo.label_smoothing=0.1",)),
    "robust": Arm(
        "The same, unbiased (robust DPO, arXiv 2403.00409).", ("dpo.loss=robust", "dpo.label_smoothing=0.1")
    ),
    "ipo": Arm(
        "IPO (arXiv 2310.12036), by token as its authors do.", ("dpo.loss=ipo", "dpo.length_normalised=true")
    ),
    "simpo": Arm(
        "SimPO (arXiv 2405.14734): no reference; beta 2, gamma 1.",
        ("dpo.loss=simpo", "dpo.length_normalised=true", "dpo.beta=2", "dpo.target_margin=1"),
    ),
    "ln-dpo": Arm("Mean log-probabilities a token.", ("dpo.length_normalised=true", "dpo.beta=1")),
    "ld-dpo": Arm(
        "Tokens beyond the shorter answer count half (arXiv 2409.06411).", ("dpo.excess_weight=0.5",)
    ),
    "r-dpo": Arm(
        "The longer chosen is than rejected, the less it is pushed (arXiv 2403.19159).",
        ("dpo.length_margin=0.05",),
    ),
}
PLACES = ((2, 0), (4, 0), (8, 0), (8, 2), (8, 4))
"""N and the margin in points that a pair's scores must exceed: the columns of the map."""


def _off(dial: str, samples: int, margin: int) -> Arm:
    off = dial.replace("_", " ")
    return Arm(
        f"Phase map: a judge that is off by {off}, N = {samples}, margin {margin}, one round.",
        (
            *("iterations=2", f"responses.samples={samples}", f"pairs.min_margin={margin}"),
            *("pairs.rank_by=checker", f"pairs.checker=srlm.proving.noise:{dial}"),
        ),
    )


MAP = {
    f"{dial.replace('_', '-')}-off-n{samples}" + f"-margin{margin}" * bool(margin): _off(
        dial, samples, margin
    )
    for dial in DIAL
    for samples, margin in PLACES
}
"""Gain by a judge's accuracy, N and margin."""
ARMS |= MAP
GROUPS = {
    "map": tuple(MAP),
    "all": tuple(name for name, arm in ARMS.items() if name not in MAP and not arm.talks),
    "talk": ("judge", "random", *(name for name, arm in ARMS.items() if arm.talks), "replay"),
}
"""Names for several arms; `all` are those of every world, `talk` those of a world with `world.talk`."""
DEFAULT = ("judge", "random", "consensus", "oracle", "judge+consensus")
"""What `srlm prove` runs when it is told no arm: about five minutes of a core a seed, M0 included."""


def find(names: tuple[str, ...]) -> dict[str, Arm]:
    """The arms of some names or groups, the default ones for none; raises ConfigError for an unknown one."""
    wanted = dict.fromkeys(arm for name in names or DEFAULT for arm in GROUPS.get(name, (name,)))
    if unknown := [name for name in wanted if name not in ARMS]:
        known = ", ".join([*GROUPS, *(name for name in ARMS if name not in MAP)])
        raise ConfigError(f"arm {unknown[0]!r}", "there is no such arm", f"take some of {known}")
    return {name: ARMS[name] for name in wanted}
