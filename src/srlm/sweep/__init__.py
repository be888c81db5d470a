"""Sweeps: recipes with every combination of some values, on every seed, and what came of them."""
