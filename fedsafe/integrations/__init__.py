"""Runs in other tools: lm-eval, Inspect, TensorBoard, MLflow, trackio, Weights & Biases, tables.

Everything is made from the records of a run directory, offline, and each tool is an optional
extra that is imported where it is used.
"""
