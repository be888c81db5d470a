"""Suites: ask models, have the answers judged or checked, and keep the figures as steps of a run.

The figures themselves are made one floor above, by functions that know no run.
"""
