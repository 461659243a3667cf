"""Compiled sums are the plain ones, to the precision of float32."""

import numpy as np
import pytest

from strategies.kernels import numba_sort, numba_sums

NOBODY = np.empty(0, np.float32)


@pytest.fixture(params=["source", "compiled"])
def kind(request, monkeypatch):
    if request.param == "source":  # coverage cannot look into compiled code
        monkeypatch.setattr(numba_sums, "STRIP", 16)
        monkeypatch.setattr(numba_sums, "LONG", 32)
    elif not numba_sort.available():
        pytest.skip("numba is not installed")
    return request.param


@pytest.fixture
def products(kind):
    if kind == "compiled":
        return numba_sums.producer()
    return numba_sums._make_products(numba_sums._load, numba_sums._four)


@pytest.fixture
def add(kind):
    return numba_sums.summer() if kind == "compiled" else numba_sums._sum


def rows_of(n, d=100):
    return np.random.default_rng(n).normal(size=(n, d)).astype(np.float32)


@pytest.mark.parametrize("n", [1, 3, 4, 9])
@pytest.mark.parametrize("guest", [True, False])
def test_inner_products_are_those_of_points_less_the_centre(n, guest, products):
    rows, extra = rows_of(n), rows_of(1)[0] + 1 if guest else NOBODY
    points = np.vstack([rows, extra[None]]) if guest else rows
    total = np.zeros((len(points) + 1, len(points) + 1))
    for start, stop in ((0, 37), (37, 100)):
        products(rows, start, stop, n - 1, extra, total)
    shifted = np.vstack([points - rows[n - 1], rows[n - 1]]).astype(np.float64)
    assert np.allclose(total, np.triu(shifted @ shifted.T), atol=1e-4)


@pytest.mark.parametrize("chosen", [[0], [6], [0, 2, 3], [1, 2, 4, 6], list(range(7))])
def test_chosen_rows_are_summed(chosen, add):
    rows, weights = rows_of(7), np.linspace(0.5, 2, len(chosen)).astype(np.float32)
    found = np.empty(63, np.float32)
    assert add(rows, 37, 100, np.array(chosen), weights, found)
    assert np.allclose(found, weights @ rows[chosen, 37:], atol=1e-5)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("row", [2, 5])
def test_sums_that_are_not_finite_are_told(value, row, add):
    rows, found = rows_of(6), np.empty(100, np.float32)
    rows[row, 99] = value
    weights = np.ones(6, np.float32)
    assert not add(rows, 0, 100, np.arange(6), weights, found)
    assert add(rows, 0, 99, np.arange(6), weights, found[:99])


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_inner_products_do_not_hide_what_is_not_finite(value, products):
    rows, total = rows_of(6), np.zeros((7, 7))
    rows[3, 50] = value
    products(rows, 0, 100, 0, NOBODY, total)
    assert not np.isfinite(total[3]).all()
