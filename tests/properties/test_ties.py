"""Ties go to the lower index, also where rounding would break them."""

import itertools
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fedsafe.contracts import filters, rules
from strategies import aggregate
from strategies.kernels.ranking import lowest, without_rounding
from tests.properties.rounds import N, apply, honest, round_of

RANKED = {
    *("median", "trimmed-mean", "residual"),
    *("reference-median", "reference-trimmed-mean", "reference-residual"),
}
"""Read values by their rank; of two equal values the lower row has the lower rank, whether or
not that is the one that is read."""
SEEDS = st.integers(0, 10_000)


def evenly_spaced(n, seed):
    """Points on a line: by symmetry many sets and scores are equal, but for rounding.

    The points themselves are exact: the last bits of what they are multiples of are zero.
    """
    line = torch.randn(30, generator=torch.Generator().manual_seed(seed))
    exact = (line.view(torch.int32) & ~7).view(torch.float32)
    return (torch.arange(n) - n // 2)[:, None] * exact


def kept(name, rows, **given):
    return torch.nonzero(aggregate(name, rows, **given).influence).flatten().tolist()


@pytest.mark.parametrize("name", [name for name in rules if name not in RANKED])
@settings(max_examples=5)
@given(seed=SEEDS, low=st.integers(0, N - 2), data=st.data())
def test_of_two_equal_updates_the_lower_row_counts_at_least_as_much(name, seed, low, data):
    high = data.draw(st.integers(low + 1, N - 1))
    rows = honest(seed=seed)
    rows[high] = rows[low]
    influence = apply(name, round_of(rows)).influence
    assert float(influence[low]) >= float(influence[high]) - 1e-6


@pytest.mark.parametrize(
    ("name", "n", "f", "first"),
    [
        ("krum", 5, 1, [1]),
        ("multi-krum", 5, 1, [0, 1, 2, 3]),
        ("reference-krum", 5, 1, [0, 1, 2, 3]),
        ("mda", 5, 1, [0, 1, 2, 3]),
        ("mda", 5, 2, [0, 1, 2]),
        ("smea", 5, 1, [0, 1, 2, 3]),
        ("bulyan", 7, 1, [2, 3, 4]),
    ],
)
@settings(max_examples=20)
@given(seed=SEEDS)
def test_first_of_equal_sets_is_kept(name, n, f, first, seed):
    assert kept(name, evenly_spaced(n, seed), byzantine=f) == first


@settings(max_examples=20)
@given(seed=SEEDS)
def test_nearest_neighbour_mixing_takes_the_lower_of_two_neighbours(seed):
    updates = filters["nnm"].configure({"byzantine": 1})(round_of(evenly_spaced(3, seed)))
    assert updates.mixing[1].tolist() == [0.5, 0.5, 0.0]


@settings(max_examples=40)
@given(seed=SEEDS, n=st.integers(3, 7), d=st.integers(1, 3), origin=st.sampled_from([0, 64.5]))
def test_mda_takes_the_first_of_the_tightest_sets(seed, n, d, origin):
    """By diameter, then by sum of squared distances, in exact arithmetic over all sets."""
    f = (n - 1) // 2
    points = torch.randint(-3, 4, (n, d), generator=torch.Generator().manual_seed(seed)) + origin
    exact = [[Fraction(value) for value in row] for row in points.tolist()]
    squared = [[sum((a - b) ** 2 for a, b in zip(p, q, strict=True)) for q in exact] for p in exact]

    def size(rows):
        apart = [squared[i][j] for i in rows for j in rows]
        return max(apart), sum(apart)

    best = min(itertools.combinations(range(n), n - f), key=size)  # min keeps the first
    assert kept("mda", points.float(), byzantine=f) == list(best)


def test_influence_of_meamed_names_the_values_that_count():
    """Of two values equally near the median the smaller counts, whichever row has it."""
    found = aggregate("meamed", torch.tensor([[3.0], [2.0], [1.0]]), byzantine=1)
    assert (found.update.tolist(), found.influence.tolist()) == ([1.5], [0.0, 0.5, 0.5])


def test_values_apart_by_rounding_are_equal():
    values = torch.tensor([3.0, 1.0 + 2e-16, 1.0, 0.0, 2.0, 2.0 + 1e-15]).double()
    assert without_rounding(values).tolist() == [3.0, 1.0, 1.0, 0.0, 2.0, 2.0]
    assert lowest(values, 4).tolist() == [3, 1, 2, 4]


def test_small_values_beside_a_huge_one_stay_apart():
    values = torch.tensor([1e36, 2.0, 1.0]).double()
    assert lowest(values, 3).tolist() == [2, 1, 0]
