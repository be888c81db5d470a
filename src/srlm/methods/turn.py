"""Where the loop is: what every step of a round may need to know."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from srlm.config import Config
from srlm.models import Model
from srlm.records import Judgment, Pair, Prompt
from srlm.stages.demonstrations import spreads_of
from srlm.store.run import Run


@dataclass
class Past:
    """What earlier rounds left: prompts, and where they are asked for pairs, and how far answers differ."""

    written: list[Prompt] = field(default_factory=list)
    learned: list[Pair] = field(default_factory=list)
    spreads: dict[str, float] = field(default_factory=dict)

    def add(
        self, config: Config, prompts: Iterable[Prompt], judgments: Iterable[Judgment], pairs: Iterable[Pair]
    ) -> None:
        """Take in a round that made a model."""
        self.written += prompts
        self.learned += pairs if config.pairs.earlier else ()
        self.spreads |= spreads_of(config.prompts, judgments)


@dataclass(frozen=True)
class Turn:
    """The round that makes M`t`; `models` are those so far, M0 first, `others` have roles of their own."""

    config: Config
    run: Run
    t: int
    models: Sequence[Model]
    others: Mapping[str, Model]
    past: Past
