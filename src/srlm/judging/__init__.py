"""Rubrics, reading what a judge says, scores, and examples that teach judging."""
