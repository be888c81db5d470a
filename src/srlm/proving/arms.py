"""The arms of a study: the same loop, each with a few keys of its own.

An arm is a sentence and overrides of the ground's recipe. What it is compared with are the controls: a judge
whose scores are dealt out at random, and a vote without any judge.
"""

from dataclasses import dataclass

from srlm.errors import ConfigError


@dataclass(frozen=True)
class Arm:
    """What an arm asks, and the keys in which it differs."""

    asks: str
    overrides: tuple[str, ...]


CONTROLS = ("random", "consensus")

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
        ("pairs.rank_by=checker", "pairs.checker=srlm.proving.tasks:points"),
    ),
    "judge+consensus": Arm(
        "The judge's score and half the logarithm of the votes.", ("pairs.consensus=0.5",)
    ),
    "n2": Arm("N = 2.", ("responses.samples=2",)),
    "n4": Arm("N = 4, the paper's.", ("responses.samples=4",)),
    "expected": Arm(
        "The expected grade, without reasons.", ("judge.scoring=expected", "judge.justify=false")
    ),
    "near-top": Arm(
        "Chosen is drawn within half a point of the best, against the winner's curse.",
        ("pairs.chosen_within=0.5",),
    ),
    "dpo": Arm("Without the NLL term.", ("dpo.nll=0",)),
}
DEFAULT = ("judge", "random", "consensus", "oracle", "judge+consensus")
"""What `srlm prove` runs when it is told no arm: within 15 minutes on two cores."""


def find(names: tuple[str, ...]) -> dict[str, Arm]:
    """The arms of some names, the default ones for none; raises ConfigError for an unknown one."""
    wanted = names or DEFAULT
    if unknown := [name for name in wanted if name not in ARMS]:
        raise ConfigError(f"arm {unknown[0]!r}", "there is no such arm", f"take some of {', '.join(ARMS)}")
    return {name: ARMS[name] for name in wanted}
