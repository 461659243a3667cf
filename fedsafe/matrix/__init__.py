"""Experiment matrices: axes over settings, a graph of shared stages, and where it runs."""
