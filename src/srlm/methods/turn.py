"""Where the loop is: what every step of a round may need to know."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from srlm.config import Config
from srlm.models import Model
from srlm.store.run import Run


@dataclass(frozen=True)
class Turn:
    """The round that makes M`t`; `models` are those so far, M0 first, `others` have roles of their own."""

    config: Config
    run: Run
    t: int
    models: Sequence[Model]
    others: Mapping[str, Model]
