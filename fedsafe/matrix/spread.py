"""A measure over the runs of one table cell: its mean and its 95 % interval."""

from collections.abc import Mapping, Sequence

from fedsafe.evaluation.paired import mean_interval
from fedsafe.evaluation.statistics import share as share_of
from fedsafe.runs.scores import Rate


def mean_of(rates: Sequence[Rate]) -> float:
    """Return the mean of the values that are known, at least one."""
    values = [rate.value for rate in rates if rate.value is not None]
    return sum(values) / len(values)


def interval(
    by_seed: Mapping[str, Sequence[Rate]], means: Mapping[str, float], *, share: bool
) -> tuple[float | None, float | None]:
    """Return the 95 % interval of a mean over seeds.

    Student's t over seeds; of a share the wider of that and Wilson's for all prompts together,
    since seeds that all agree say nothing of how few prompts there were. With one run, its own.
    """
    rates = [rate for listed in by_seed.values() for rate in listed]
    if len(rates) == 1:
        return rates[0].low, rates[0].high
    over = mean_interval(list(means.values()))
    if not share:
        return over.low, over.high
    n = sum(rate.n for rate in rates)
    pooled = share_of(round(over.mean * n), n)
    ends = [(one.low, one.high) for one in (over, pooled)]
    low = min(end for end, _ in ends if end is not None)
    high = max(end for _, end in ends if end is not None)
    return max(0.0, low), min(1.0, high)
