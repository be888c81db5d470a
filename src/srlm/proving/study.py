"""What a study asks, and its folder:

study.json   seed3/judge/ (a run)   seed3/judge.json (its figures, or why there are none)
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from srlm import __version__
from srlm.errors import ConfigError
from srlm.proving.arms import ARMS
from srlm.proving.ground import GroundSection
from srlm.recipes import load, parse_values, recipe_text
from srlm.records import content_id
from srlm.store.files import write_atomically


@dataclass(frozen=True)
class Study:
    """The folder of a study, its arms and seeds, and what all arms share."""

    folder: Path
    arms: tuple[str, ...]
    seeds: tuple[int, ...]
    ground: GroundSection
    overrides: tuple[str, ...]

    def save(self) -> None:
        """Write down what is asked for; raises ConfigError where the folder holds another world's study."""
        path = self.folder / "study.json"
        shared = {"ground": self.ground.model_dump(mode="json"), "overrides": list(self.overrides)}
        shared |= {"version": __version__, "recipe": content_id("recipe", recipe_text("proving-ground"))}
        if path.exists():
            before = json.loads(path.read_text("utf-8"))
            if other := [key for key, value in shared.items() if before.get(key) != value]:
                raise ConfigError(
                    f"study {self.folder}",
                    f"it was begun with another {' and another '.join(other)}, and figures of two worlds "
                    "do not belong in one table",
                    "name another folder with --out, or give the settings in its study.json",
                )
        text = json.dumps(shared | {"arms": self.arms, "seeds": self.seeds}, indent=1)
        write_atomically(path, text + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Study":
        """The study in a folder."""
        saved = json.loads((folder / "study.json").read_text("utf-8"))
        ground = GroundSection.model_validate(saved["ground"])
        arms, seeds, overrides = (tuple(saved[key]) for key in ("arms", "seeds", "overrides"))
        return cls(folder, arms, seeds, ground, overrides)

    def outcome(self, seed: int, arm: str) -> dict[str, Any] | None:
        """The figures of an arm on a seed, or `{"failure": why}`; None where it is not done."""
        path = self._outcome_path(seed, arm)
        found: dict[str, Any] | None = json.loads(path.read_text("utf-8")) if path.exists() else None
        return found

    def keep(self, seed: int, arm: str, outcome: dict[str, Any]) -> None:
        """Write down what came of an arm on a seed."""
        write_atomically(self._outcome_path(seed, arm), json.dumps(outcome, indent=1) + "\n")

    def left(self, seed: int) -> list[str]:
        """The arms of a seed that are not done."""
        return [arm for arm in self.arms if self.outcome(seed, arm) is None]

    def _outcome_path(self, seed: int, arm: str) -> Path:
        return self.folder / f"seed{seed}" / f"{arm}.json"


def study_of(folder: Path, arms: tuple[str, ...], seeds: int, words: Sequence[str]) -> Study:
    """A study of so many seeds; words are overrides of the ground, or of the recipe; raises ConfigError."""
    own = [word for word in words if word.partition(".")[0] in GroundSection.model_fields]
    try:
        ground = GroundSection.model_validate(parse_values(own))
    except ValidationError as error:
        lines = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ConfigError(
            f"the proving ground has {len(lines)} mistakes:\n    " + "\n    ".join(lines),
            "the world would be another than you asked for",
            "see docs/proving-ground.md for its keys",
        ) from error
    rest = tuple(word for word in words if word not in own)
    return Study(folder, arms, tuple(range(seeds)), ground, rest)


def check(study: Study) -> None:
    """Raise ConfigError where an arm is no valid config, or asks what M0 of this world cannot know."""
    given = "prompts.given=prompts.jsonl"  # as every ground's recipe has some
    for arm in study.arms:
        if ARMS[arm].talks and not study.ground.world.talk:
            raise ConfigError(
                f"arm {arm}",
                "it asks to compare judgments or to write another task, of which M0 has never read",
                "give world.talk=0.6 world.documents=100000 (and another --out), or leave the arm out",
            )
        load("proving-ground", [given, *study.overrides, *ARMS[arm].on(study.folder)])
