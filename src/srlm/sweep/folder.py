"""The folder of a sweep:

sweep.json   dpo.beta=0.1/seed0/ (a run)   dpo.beta=0.1/seed0.json (how it ended, or why not)
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from srlm.config import Config
from srlm.errors import ConfigError
from srlm.store.files import write_atomically
from srlm.sweep.settings import Setting, changes, settings_of


@dataclass(frozen=True)
class Sweep:
    """The folder of a sweep, the words that asked for it, its settings and seeds."""

    folder: Path
    recipe: str
    words: tuple[str, ...]
    settings: tuple[Setting, ...]
    seeds: tuple[int, ...]

    @property
    def runs(self) -> list[tuple[Setting, int]]:
        """Every run, seed by seed, so that those that share steps follow each other."""
        return [(setting, seed) for seed in self.seeds for setting in self.settings]

    @property
    def failures(self) -> list[str]:
        """The runs that have failed, in words."""
        found = ((setting.label, seed, self.outcome(setting.label, seed)) for setting, seed in self.runs)
        return [
            f"{label}, seed {seed}: {outcome['failure']} (tried again when {label}/seed{seed}.json is gone)"
            for label, seed, outcome in found
            if outcome and "failure" in outcome
        ]

    @property
    def done(self) -> list[Path]:
        """The folders of the runs that have ended well, setting by setting."""
        return [
            self.home(setting.label, seed)
            for setting in self.settings
            for seed in self.seeds
            if "verdict" in (self.outcome(setting.label, seed) or {})
        ]

    def home(self, label: str, seed: int) -> Path:
        """The folder of a run."""
        return self.folder / label / f"seed{seed}"

    def outcome(self, label: str, seed: int) -> dict[str, Any] | None:
        """How a run ended, or `{"failure": why}`; None where it is not done."""
        path = self._outcome_path(label, seed)
        found: dict[str, Any] | None = json.loads(path.read_text("utf-8")) if path.exists() else None
        return found

    def keep(self, label: str, seed: int, outcome: Mapping[str, Any]) -> None:
        """Write down how a run ended."""
        write_atomically(self._outcome_path(label, seed), json.dumps(outcome, indent=1) + "\n")

    def save(self) -> None:
        """Write down what is asked for; raises ConfigError where the folder holds another sweep."""
        path = self.folder / "sweep.json"
        settings = [setting.saved() for setting in self.settings]
        if path.exists():
            before = json.loads(path.read_text("utf-8"))["settings"]
            if found := changes(before, settings):
                raise ConfigError(
                    f"sweep {self.folder}",
                    "it was begun with other settings, and figures of two sweeps do not belong in one table: "
                    + "; ".join(found),
                    "name another folder with --out, or give the words in its sweep.json",
                )
        asked = {"recipe": self.recipe, "words": self.words, "seeds": self.seeds, "settings": settings}
        write_atomically(path, json.dumps(asked, indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> "Sweep":
        """The sweep in a folder."""
        saved = json.loads((folder / "sweep.json").read_text("utf-8"))
        settings = tuple(
            Setting(one["label"], one["values"], Config.model_validate(one["config"]), one["origins"])
            for one in saved["settings"]
        )
        return cls(folder, saved["recipe"], tuple(saved["words"]), settings, tuple(saved["seeds"]))

    def _outcome_path(self, label: str, seed: int) -> Path:
        return self.folder / label / f"seed{seed}.json"


def sweep_of(folder: Path, recipe: str, words: Sequence[str], seeds: int) -> Sweep:
    """The sweep that words ask for, on so many seeds; raises ConfigError as `settings_of` does."""
    return Sweep(folder, recipe, tuple(words), settings_of(recipe, words), tuple(range(seeds)))
