"""Evaluation: generate replies, judge them, compute measures with confidence intervals."""
