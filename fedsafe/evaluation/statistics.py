"""Shares with Wilson's 95 % interval (Wilson 1927).

Knows nothing of models or judges.
"""

from collections.abc import Sequence
from math import sqrt
from typing import Final

from fedsafe.contracts import Measured

Z: Final = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""


def share(successes: int, n: int, unknown: int = 0) -> Measured:
    """Return a share with its Wilson 95 % interval; no value where ``n`` is 0."""
    if n == 0:
        return Measured(value=None, n=0, unknown=unknown)
    found = successes / n
    centre = (found + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * sqrt(found * (1 - found) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == n else centre + half
    return Measured(value=found, n=n, low=low, high=high, unknown=unknown)


def share_of(found: Sequence[bool | None]) -> Measured | None:
    """Return the share of True, None being unknown; None where there is nothing to count."""
    if not found:
        return None
    return share(found.count(True), len(found) - found.count(None), found.count(None))
