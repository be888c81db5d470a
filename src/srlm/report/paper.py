"""The paper's figures (arXiv 2401.10020), to stand beside a run's: another model, other data, a direction."""

PAIRWISE = {"SFT": 65.1, "M1": 78.7, "M2": 80.4, "M3": 81.7}
"""Reward model: pairwise accuracy in percent."""
FIVE_BEST = {"SFT": 39.6, "M1": 41.5, "M2": 44.3, "M3": 43.2}
EXACT_MATCH = {"SFT": 10.1, "M1": 13.1, "M2": 14.3, "M3": 14.3}
SPEARMAN = {"SFT": 0.253, "M1": 0.279, "M2": 0.331, "M3": 0.349}
KENDALL = {"SFT": 0.233, "M1": 0.253, "M2": 0.315, "M3": 0.324}

ALPACA_EVAL = {"M1": 9.94, "M2": 15.38, "M3": 20.44}
"""Win rate against GPT-4 Turbo in percent; length-controlled ones did not exist yet."""
CHARACTERS = {"M1": 1092, "M2": 1552, "M3": 2552}
"""Mean length of the same answers."""
MT_BENCH = {"SFT": 6.85, "M1": 6.78, "M2": 7.01, "M3": 7.25}
MT_BENCH_SCALE = [1, 10]
PAIRS = {"M2": 3964, "M3": 6942}
"""Preference pairs that trained each model."""

HEAD_TO_HEAD = {
    ("M1", "SFT"): (30.5, 38.7, 30.9),
    ("M2", "SFT"): (49.2, 36.3, 14.5),
    ("M3", "SFT"): (62.5, 27.7, 9.8),
    ("M2", "M1"): (55.5, 32.8, 11.7),
    ("M3", "M2"): (47.7, 39.8, 12.5),
}
"""Wins, ties and losses in percent of 256 prompts."""
HUMANS = {("M1", "SFT"): (28, 26, 46), ("M2", "SFT"): (56, 24, 20), ("M3", "SFT"): (66, 16, 18)}
"""The same by people, 50 prompts."""

NLP = {"ARC-Challenge": {"M1": 57.5, "M3": 53.1}, "Natural Questions": {"M1": 35.5, "M3": 31.9}}
"""Right answers in percent, by test and model."""

ABLATIONS = {
    "without EFT": ("preference pairs of the two rounds", "541 and 429", "3,964 and 6,942"),
    "with self-made positive examples in SFT": ("result", "29 %", "30 %"),
    "with the multiple-choice judge prompt": ("pairs right", "26.6 %", "65.1 %"),
}
"""What was changed: the figure, its value then, and its value as the method has it."""
