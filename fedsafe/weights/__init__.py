"""Arithmetic on adapter weights: one flat vector, edits of a matrix."""
