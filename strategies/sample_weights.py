"""Sample weights from clients' claimed example counts, and averages of their metrics.

The one place where claims become weights: the server and `strategies.flower` both use it.
Knows nothing of messages or rules.
"""

from collections.abc import Iterable, Mapping, Sequence

from strategies.screening import plausible

_CLAIM = 10.0
"""Largest number of examples believed, in medians of what was claimed."""

_EXAMPLES = "num-examples"


def weights_of(claims: Sequence[float]) -> list[float]:
    """Return weights that sum to one; no claim counts more than ten times the median.

    Of an even number of claims the median is the lower of the middle two, so that of two
    clients one cannot raise its own bound: claims of 1 and 100 weigh 1/11 and 10/11. Where
    all claims are 0 or less, the weights are equal.
    """
    if not claims:
        return []
    usual = max(sorted(claims)[(len(claims) - 1) // 2], 1.0)
    clamped = [min(max(claim, 0.0), _CLAIM * usual) for claim in claims]
    total = sum(clamped)
    return [claim / total for claim in clamped] if total > 0 else [1 / len(claims)] * len(claims)


def numbers_of(metrics: Iterable[Mapping[str, object]]) -> dict[str, float]:
    """Return the plausible numbers among a reply's metrics, by `strategies.screening`.

    A number of examples may be any finite number here: `weights_of` bounds it.
    """
    return {
        name: float(value)
        for record in metrics
        for name, value in record.items()
        if isinstance(value, int | float) and plausible("" if name == _EXAMPLES else name, value)
    }


def average(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean of each metric over those who report it."""
    names = dict.fromkeys(name for one in metrics for name in one)
    values = {name: [one[name] for one in metrics if name in one] for name in names}
    return {name: sum(reported) / len(reported) for name, reported in values.items()}
