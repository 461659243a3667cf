"""Claims: what clients say of themselves, believed within bounds.

Knows nothing of messages or rules.
"""

import math
from collections.abc import Iterable, Mapping, Sequence

_CLAIM = 10.0
"""Largest number of examples believed, in medians of what was claimed."""


def weights_of(claims: Sequence[float]) -> list[float]:
    """Return weights that sum to one; no claim counts more than ten times the median."""
    usual = max(sorted(claims)[(len(claims) - 1) // 2], 1.0)
    clamped = [min(max(claim, 0.0), _CLAIM * usual) for claim in claims]
    total = sum(clamped)
    return [claim / total for claim in clamped] if total > 0 else [1 / len(claims)] * len(claims)


def numbers_of(metrics: Iterable[Mapping[str, object]]) -> dict[str, float]:
    """Return the finite numbers among a reply's metrics."""
    return {
        name: float(value)
        for record in metrics
        for name, value in record.items()
        if isinstance(value, int | float) and math.isfinite(value)
    }


def average(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over those who report it."""
    names = dict.fromkeys(name for one in metrics for name in one)
    values = {name: [one[name] for one in metrics if name in one] for name in names}
    return {name: sum(found) / len(found) for name, found in values.items()}
