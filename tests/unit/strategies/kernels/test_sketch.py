"""Sketches keep inner products on average, and sums exactly."""

import torch

from strategies.kernels.sketch import add_sketch
from strategies.kernels.update_matrix import Rows


def sketched(rows, size, mixing=None):
    result = torch.zeros(len(rows) if mixing is None else len(mixing), size)
    add_sketch(Rows(rows, mixing), result)
    return result


def rows_of(n, d, seed=0):
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def test_short_rows_are_their_own_sketch():
    rows = rows_of(3, 40_000)
    assert torch.equal(sketched(rows, 40_000), rows)


def test_cosines_are_kept_within_a_root_of_the_size():
    rows = rows_of(8, 300_000)
    rows[1] += 0.5 * rows[0]
    kept = torch.corrcoef(sketched(rows, 10_007)) - torch.corrcoef(rows)
    assert float(kept.abs().max()) < 4 / 10_007**0.5


def test_what_recurs_at_powers_of_two_is_spread():
    """A row of one large column in each row of a weight matrix."""
    rows = torch.zeros(2, 2**19)
    rows[:, ::4096] = rows_of(2, 128)
    rows[1, ::4096] = rows[0, ::4096].flip(0)
    true = torch.nn.functional.cosine_similarity(rows[0], rows[1], dim=0)
    kept = sketched(rows, 4095)
    found = torch.nn.functional.cosine_similarity(kept[0], kept[1], dim=0)
    assert float((found - true).abs()) < 1e-5


def test_sketch_is_linear():
    rows, more = rows_of(3, 70_000), rows_of(3, 70_000, seed=1)
    together, apart = sketched(rows + more, 1001), sketched(rows, 1001) + sketched(more, 1001)
    assert torch.allclose(together, apart, atol=1e-3)


def test_mixed_rows_are_sketched_as_they_are():
    rows, mixing = rows_of(4, 70_000), torch.rand(2, 4).double()
    expected = mixing.float() @ sketched(rows, 1001)
    assert torch.allclose(sketched(rows, 1001, mixing), expected, atol=1e-3)
