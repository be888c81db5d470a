"""Text like people's: words by Zipf's law over a large vocabulary, from a seed alone."""

import random
from functools import cache
from itertools import accumulate

VOCABULARY = 50_000


@cache
def _weights() -> list[float]:
    return list(accumulate(1 / (rank + 2.7) for rank in range(VOCABULARY)))


def text(seed: int, low: int = 8, high: int = 24) -> str:
    """Between `low` and `high` words."""
    chance = random.Random(seed)
    ranks = chance.choices(range(VOCABULARY), cum_weights=_weights(), k=chance.randint(low, high))
    return " ".join(f"w{rank}" for rank in ranks)
