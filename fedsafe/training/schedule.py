"""The learning rate of a round: a cosine over rounds, constant within one.

As the reference system does (its last round is a hair above the final rate, because
the cosine reaches it one round later).
"""

import math


def learning_rate(first: float, last: float, number: int, rounds: int) -> float:
    """Return the rate of round ``number`` (from 1) of ``rounds``."""
    progress = (number - 1) / rounds
    return last + 0.5 * (first - last) * (1 + math.cos(math.pi * progress))
