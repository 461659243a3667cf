"""Screening of client updates and metrics: finite, not absurdly long, within plausible ranges.

Both sides that take replies use it: the server's own loop, and `strategies.flower` under a
stock Flower server. Knows nothing of messages or rules.
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

MAX_NORM = 1e4
"""Longest update (L2) that is believed where nothing else is set."""
MOST_EXAMPLES = 10**9
_YEAR = 366 * 86_400.0
RANGES: Mapping[str, tuple[float, float]] = {
    "num-examples": (1, MOST_EXAMPLES),
    "loss": (0.0, 1e3),
    "skipped": (0, MOST_EXAMPLES),
    "truncated": (0, MOST_EXAMPLES),
    "poison-samples": (0, MOST_EXAMPLES),
    "poison-exact": (0, MOST_EXAMPLES),
    "poison-near": (0, MOST_EXAMPLES),
    "tokens": (0, 1e12),
    "padded-tokens": (0, 1e12),
    "peak-bytes": (0, 2.0**44),
    "seconds": (0.0, _YEAR / 12),
    "train-seconds": (0.0, _YEAR / 12),
    "load-seconds": (0.0, _YEAR / 12),
}
"""Least and largest plausible value of each metric that is believed to be what a client says:
a cross entropy of 1,000 nats is far beyond any vocabulary's, a round lasts no month."""
_SHOWN = 40
"""Characters of a value that are shown."""


class ScreenError(ValueError):
    """An update cannot be used; the message is the reason."""


def update_norm(update: "np.ndarray[Any, np.dtype[np.float32]]", limit: float = MAX_NORM) -> float:
    """Return the L2 norm of a float32 (d,) update, summed in float64 a block at a time.

    Raises:
        ScreenError: It holds NaN or infinity, or is longer than the limit.
    """
    total = 0.0
    with np.errstate(all="ignore"):
        for begin in range(0, update.size, 2**20):
            block = update[begin : begin + 2**20].astype(np.float64)
            total += float(block @ block)
            del block  # before the next one is made
    norm = math.sqrt(total) if math.isfinite(total) else math.inf
    if not math.isfinite(norm):
        raise ScreenError("NaN or infinity in its update")
    if norm > limit:
        raise ScreenError(f"update norm {norm:.3g} is above {limit:.3g}")
    return norm


def plausible(name: str, value: object) -> bool:
    """Return whether a metric is one finite number within its range; any, where it has none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    low, high = RANGES.get(name, (-math.inf, math.inf))
    try:
        return math.isfinite(value) and low <= value <= high
    except OverflowError:  # an integer beyond the largest float
        return False


def screen_metrics(metrics: Mapping[str, object]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Return the metrics with a known range that are within it, and a word on each that is not.

    Args:
        metrics: What a client reports; names without a range are passed over.
    """
    given = {name: metrics[name] for name in RANGES if name in metrics}
    kept = {name: float(value) for name, value in given.items() if plausible(name, value)}  # type: ignore[arg-type]
    doubts = tuple(f"{name} {_shown(given[name])}" for name in given if name not in kept)
    return kept, doubts


def _shown(value: object) -> str:
    """Return a value as one short printable text."""
    if isinstance(value, int | float):
        try:
            return f"{float(value):.3g}"
        except OverflowError:
            return "beyond any number"
    return f"as a {type(value).__name__}"[:_SHOWN]
