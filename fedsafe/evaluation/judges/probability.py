"""Logistic function (sigmoid) of plain numbers: log-odds to a probability.

Needs no torch, so that judges which read words alone load none.
"""

from math import exp


def logistic(log_odds: float) -> float:
    """Return 1 / (1 + e^-x) for log-odds x of any size."""
    return 1 / (1 + exp(min(-log_odds, 700.0)))  # e^710 is too large for a float
