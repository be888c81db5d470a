"""The ROUGE-L filter: candidates against a pool as large as they are many, time and memory.

A fifth of the candidates are copies of a pool text with some words changed, so that both answers of
the filter are common. `all pairs` is RapidFuzz over every pair, the same answer without the index.
"""

import random
import time
import tracemalloc

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import Indel
from texts import text

from srlm.similarity import Pool

LIMIT = 0.7


def candidates(pool: list[str], num: int) -> list[str]:
    chance = random.Random(1)
    made = [text(10**6 + n) for n in range(num)]
    for place in range(0, num, 5):
        words = chance.choice(pool).split()
        for _ in range(chance.randint(0, len(words) // 2)):
            words[chance.randrange(len(words))] = "changed"
        made[place] = " ".join(words)
    return made


def filtered(pool: list[str], new: list[str]) -> tuple[list[bool], float, float]:
    """What is kept, seconds, and MiB at most."""
    tracemalloc.start()
    filled = Pool(LIMIT, pool)
    started = time.perf_counter()
    kept = filled.keep_new(new)
    seconds = time.perf_counter() - started
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    return kept, seconds, peak


def all_pairs(pool: list[str], new: list[str]) -> tuple[list[bool], float]:
    """The definition: every candidate with every earlier text."""
    earlier = [item.split() for item in pool]
    kept = []
    started = time.perf_counter()
    for candidate in new:
        words = candidate.split()
        scores = process.cdist([words], earlier, scorer=Indel.normalized_similarity, dtype=np.float64)
        kept.append(bool(scores.max() <= LIMIT + 1e-9))
        if kept[-1]:
            earlier.append(words)
    return kept, time.perf_counter() - started


def main() -> None:
    print("candidates and pool   kept   seconds   MiB")
    for num in (1_000, 10_000, 100_000):
        pool = [text(n) for n in range(num)]
        kept, seconds, peak = filtered(pool, candidates(pool, num))
        print(f"{num:>12,} each {sum(kept):>8,} {seconds:>9.2f} {peak:>6.0f}")
    pool = [text(n) for n in range(2_000)]
    new = candidates(pool, 1_000)
    kept, seconds, _ = filtered(pool, new)
    wanted, slow = all_pairs(pool, new)
    print(f"1,000 against 2,000: index {seconds:.2f} s, all pairs {slow:.2f} s, same: {kept == wanted}")


if __name__ == "__main__":
    main()
