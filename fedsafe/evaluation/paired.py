"""Statistics of repeated and paired measurements: t, McNemar, sign flips, bootstrap, Holm.

Knows nothing of models, judges or files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from fedsafe.evaluation.statistics import share

LEVEL = 0.95
"""Coverage of every interval here."""
DRAWS = 2000
"""Bootstrap resamples."""
FLIPS = 9999
"""Random sign patterns of a permutation test."""


@dataclass(frozen=True)
class MeanInterval:
    """A mean over independent repetitions with its spread.

    Attributes:
        mean: Arithmetic mean.
        sd: Standard deviation with n - 1; None for fewer than two values.
        low: Lower end of Student's 95 % t interval of the mean; None for fewer than two values.
        high: Upper end of it.
        n: Number of values.
    """

    mean: float
    sd: float | None
    low: float | None
    high: float | None
    n: int


def mean_interval(values: Sequence[float]) -> MeanInterval:
    """Return mean, standard deviation and Student's t interval of independent values.

    Args:
        values: One value a repetition (a seed); at least one.

    Raises:
        ValueError: There is no value.
    """
    if not len(values):
        raise ValueError("There is no value to take the mean of.")
    found = np.asarray(values, dtype=np.float64)
    n, mean = len(found), float(found.mean())
    if n == 1:
        return MeanInterval(mean, None, None, None, 1)
    sd = float(found.std(ddof=1))
    half = float(stats.t.ppf((1 + LEVEL) / 2, n - 1)) * sd / sqrt(n)
    return MeanInterval(mean, sd, mean - half, mean + half, n)


def mcnemar(gained: int, lost: int) -> float:
    """Return the p-value of McNemar's exact two-sided test (McNemar 1947).

    It takes pairs as independent: where prompts come in groups, read it beside the interval of
    `clustered_bootstrap`.

    Args:
        gained: Pairs that are false before and true after.
        lost: Pairs that are true before and false after.

    Returns:
        Probability of counts at least as unequal if a change either way is equally likely; 1
        where no pair changed.
    """
    changed = gained + lost
    return 1.0 if changed == 0 else float(stats.binomtest(gained, changed, 0.5).pvalue)


def sign_flips(differences: Sequence[float]) -> float:
    """Return the p-value of a paired permutation test of a mean difference (Fisher 1935).

    Under the null each pair's difference is as likely to have the other sign. It takes pairs as
    independent, as `mcnemar` does.

    Args:
        differences: After less before, one a pair.

    Returns:
        Two-sided probability of so large a mean, exact for up to 13 pairs, else from 9,999 random
        patterns; 1 where no pair changed.
    """
    changed = np.asarray([one for one in differences if one], dtype=np.float64)
    if not len(changed):
        return 1.0
    if len(changed) == 1:
        return 1.0  # both signs are as far from 0
    found = stats.permutation_test(
        (changed,),
        np.mean,
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        batch=1000,
        rng=np.random.default_rng(0),
    )
    return float(found.pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for being several (Holm 1979): the family-wise error holds.

    Args:
        p_values: One a test, in any order, in [0, 1].

    Returns:
        Adjusted values in the same order; never below the given ones, never above 1.
    """
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def paired_difference(
    pairs: Sequence[tuple[float, float]], groups: Sequence[str], seeds: Sequence[int]
) -> dict[str, float | None]:
    """Return what pairs of prompts say together; nothing where there are no pairs.

    Args:
        pairs: (before, after) of each prompt.
        groups: Group of each pair's prompt.
        seeds: Seed of each pair.

    Returns:
        ``pairs``, ``groups`` and ``p_value``: of true and false by McNemar's test, with ``gained``
        and ``lost``, else by sign flips; ``bootstrap_low``, ``bootstrap_high`` where there are
        clusters to resample. Where every pair was gained, or lost, no resample differs: there they
        are Wilson's, with the groups for the number of pairs.
    """
    if not pairs:
        return {}
    moved = [new - old for old, new in pairs]
    found: dict[str, float | None] = {"pairs": len(pairs), "groups": len(set(groups))}
    if all(value in (0.0, 1.0) for pair in pairs for value in pair):
        gained, lost = pairs.count((0.0, 1.0)), pairs.count((1.0, 0.0))
        found |= {"gained": gained, "lost": lost, "p_value": mcnemar(gained, lost)}
    else:
        found["p_value"] = sign_flips(moved)
    bounds = clustered_bootstrap(moved, groups, seeds)
    if bounds is not None and len(pairs) in (found.get("gained"), found.get("lost")):
        least = share(len(set(groups)), len(set(groups))).low or 0.0
        bounds = (least, 1.0) if found["gained"] else (-1.0, -least)
    if bounds is not None:
        found |= {"bootstrap_low": bounds[0], "bootstrap_high": bounds[1]}
    return found


def clustered_bootstrap(
    differences: Sequence[float],
    groups: Sequence[str],
    seeds: Sequence[int],
    *,
    draws: int = DRAWS,
    random_state: int = 0,
) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of a mean paired difference, clustered two ways.

    Seeds and prompt groups are resampled with replacement, each by itself, and a pair counts as
    often as its seed times its group were drawn: the pigeonhole bootstrap for crossed clusters
    (Owen 2007), which errs on the wide side. With one seed, groups alone are resampled.

    Args:
        differences: After less before, one a pair.
        groups: Group of each pair; a group may appear under several seeds.
        seeds: Seed of each pair.
        draws: Resamples.
        random_state: Seed of the resampling: equal arguments give equal intervals.

    Returns:
        Lower and upper end; None where there are fewer than two clusters to resample.

    Raises:
        ValueError: The three have different lengths.
    """
    if not len(differences) == len(groups) == len(seeds):
        raise ValueError(
            f"There are {len(differences)} differences, {len(groups)} groups and {len(seeds)} "
            "seeds; there must be one of each a pair."
        )
    rows, columns = _codes(seeds), _codes(groups)
    shape = (int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1)
    if max(shape) < 2:
        return None
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (rows, columns), np.asarray(differences, dtype=np.float64))
    np.add.at(counts, (rows, columns), 1.0)
    generator = np.random.default_rng(random_state)
    of_rows, of_columns = (_multiplicities(generator, size, draws) for size in shape)
    total = np.einsum("ds,sg,dg->d", of_rows, sums, of_columns, optimize=True)
    weight = np.einsum("ds,sg,dg->d", of_rows, counts, of_columns, optimize=True)
    means = total[weight > 0] / weight[weight > 0]
    low, high = np.quantile(means, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _codes(labels: Sequence[Any]) -> NDArray[np.int64]:
    """Return a number from 0 for each label, in order of first appearance."""
    known = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return np.array([known[label] for label in labels], dtype=np.int64)


def _multiplicities(generator: np.random.Generator, size: int, draws: int) -> NDArray[np.float64]:
    """Return how often each of ``size`` clusters is drawn, shape ``(draws, size)``."""
    return generator.multinomial(size, np.full(size, 1 / size), size=draws).astype(np.float64)
