"""Engines over a Ray cluster."""
