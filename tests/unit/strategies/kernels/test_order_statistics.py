import numpy as np
import pytest
import torch

from strategies.kernels import numba_sort
from strategies.kernels.order_statistics import nearest_mean, nearest_shares, rank_mean, shares
from strategies.kernels.sorting_networks import network
from strategies.kernels.update_matrix import Rows


@pytest.fixture(params=[False, True], ids=["network", "compiled"])
def path(request, monkeypatch):
    if request.param and not numba_sort.available():
        pytest.skip("numba is not installed")
    monkeypatch.setattr(numba_sort, "LARGE", 0 if request.param else 2**60)


def rows_of(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("n", [1, 2, 3, 7, 8, 9, 10, 16, 17, 31, 50])
@pytest.mark.parametrize("d", [1, 129, 70_000])
def test_median_is_numpys_to_the_bit(n, d, path):
    rows = rows_of(n, d)
    found = rank_mean(Rows(rows), (n - 1) // 2, n // 2)
    assert np.array_equal(found.numpy(), np.median(rows.numpy(), axis=0))


@pytest.mark.parametrize(("n", "cut"), [(5, 1), (10, 3), (10, 0), (25, 12), (40, 7)])
def test_mean_of_ranks_is_that_of_sorted_values(n, cut, path):
    rows = rows_of(n, 300)
    found = rank_mean(Rows(rows), cut, n - 1 - cut)
    expected = rows.double().sort(dim=0).values[cut : n - cut].mean(dim=0)
    assert torch.allclose(found.double(), expected, atol=1e-6)


@pytest.mark.parametrize(("n", "keep"), [(5, 3), (10, 7), (11, 3), (12, 12), (6, 1)])
def test_nearest_values_are_averaged(n, keep, path):
    rows = rows_of(n, 200)
    median = torch.from_numpy(np.median(rows.numpy(), axis=0))
    order = (rows - median).abs().argsort(dim=0)[:keep]
    expected = rows.gather(0, order).mean(dim=0)
    found = nearest_mean(Rows(rows), keep)
    tied = ((rows - median).abs().sort(dim=0).values[keep - 1 : keep + 1].diff(dim=0) == 0).any(0)
    assert torch.allclose(found[~tied], expected[~tied], atol=1e-5)


def test_mixed_and_halved_rows_are_sorted_as_they_are(path):
    rows, mixing = rows_of(6, 100), torch.rand(4, 6).double()
    found = rank_mean(Rows(rows.half(), mixing), 1, 2)
    expected = (mixing @ rows.half().double()).sort(dim=0).values[1:3].mean(dim=0)
    assert torch.allclose(found.double(), expected, atol=1e-5)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
def test_row_that_is_not_finite_is_named(value, path):
    rows = rows_of(5, 100)
    rows[3, 70] = value
    with pytest.raises(ValueError, match="row 3 of 5"):
        rank_mean(Rows(rows), 2, 2)


def test_largest_numbers_are_finite(path):
    rows = torch.full((5, 10), 3e38)
    assert rank_mean(Rows(rows), 2, 2).eq(3e38).all()


@pytest.mark.parametrize("n", range(1, 14))
def test_network_sorts_zeros_and_ones(n):
    """The zero-one principle: then it sorts anything."""
    inputs = ((torch.arange(2**n)[None] >> torch.arange(n)[:, None]) & 1).tolist()
    for first in range(n):
        wires = [list(row) for row in inputs]
        for low, high, keep_low, keep_high in network(n, first, first, ordered=True):
            pairs = list(zip(wires[low], wires[high], strict=True))
            wires[low] = [min(pair) if keep_low else 9 for pair in pairs]
            wires[high] = [max(pair) if keep_high else 9 for pair in pairs]
        expected = [sorted(column)[first] for column in zip(*inputs, strict=True)]
        assert wires[first] == expected


def test_network_leaves_out_what_nobody_reads():
    everything = network(10, 0, 9, ordered=True)
    middle = network(10, 3, 6, ordered=False)
    assert len(middle) < len(everything)
    assert not network(10, 0, 9, ordered=False)


def test_shares_say_whose_values_counted():
    rows = torch.tensor([[1.0, 5, 9], [2, 2, 2], [3, 1, 4]])
    assert shares(Rows(rows), 1, 1).tolist() == pytest.approx([0, 2 / 3, 1 / 3])
    assert nearest_shares(Rows(rows), 1).tolist() == pytest.approx([0, 2 / 3, 1 / 3])


def test_shares_of_many_columns_are_estimated():
    rows = rows_of(4, 1_000_000)
    assert torch.allclose(shares(Rows(rows), 0, 0), torch.tensor(0.25).double(), atol=0.01)
