"""Human seed data (paper, section 2.1): instruction answers and ranked answers, built-in or a user's own."""

from srlm.seeds.loading import RankedAnswer, RankedPrompt, SeedSet, load_seed

__all__ = ["RankedAnswer", "RankedPrompt", "SeedSet", "load_seed"]
