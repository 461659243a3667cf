"""Compiled lines are those of the uncompiled path."""

import numpy as np
import pytest
import torch

from strategies.kernels import numba_line, numba_sort
from strategies.rules.residual import fit_lines

NOTHING = np.empty(0, np.float32)


def interpreted():
    """The source itself: coverage cannot look into compiled code."""
    lines = numba_line
    exchange = lines._exchange
    steps = (lines._load, lines._rank, lines._draw_lines, lines._trust, lines._restrict)
    slope, confide = lines._slope_finder(exchange), lines._confider(exchange)
    return lines._block_fitter(exchange, slope, confide, *steps)


@pytest.fixture(params=["source", "compiled"])
def fit(request, monkeypatch):
    if request.param == "source":
        monkeypatch.setattr(numba_line, "STRIP", 16)  # it is slow
        return interpreted()
    if not numba_sort.available():
        pytest.skip("numba is not installed")
    return numba_line.fitter()


def rows_of(n, d):
    """Updates with an outlier, a client twice, and a coordinate where all agree."""
    rows = torch.randn(n, d, generator=torch.Generator().manual_seed(n))
    rows[1], rows[:, 5] = rows[0], 1.0
    rows[2] += 3
    return rows


@pytest.mark.parametrize("n", [2, 4, 5, 8, 11])
def test_trust_is_that_of_whole_row_operations(n, fit):
    rows, trust = rows_of(max(n, 3), 37)[:n], np.zeros(n)
    assert fit(rows.numpy(), numba_line.plan(n), 2.0, 0.1, NOTHING, trust, NOTHING)
    confidence = fit_lines(rows, 2.0, 0.1).confidence
    expected = torch.mv(confidence, confidence.std(dim=0))
    assert np.allclose(trust, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n", [4, 5, 8, 11])
def test_sum_is_that_of_whole_row_operations(n, fit):
    rows, found, weights = rows_of(n, 37), np.empty(37, np.float32), torch.rand(n)
    assert fit(rows.numpy(), numba_line.plan(n), 0.5, 0.3, weights.numpy(), np.zeros(n), found)
    expected = torch.mv(fit_lines(rows, 0.5, 0.3).restricted.T, weights)
    assert np.allclose(found, expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite_are_told(value, fit):
    rows = rows_of(5, 37).numpy()
    rows[3, 36] = value
    assert not fit(rows, numba_line.plan(5), 2.0, 0.1, NOTHING, np.zeros(5), NOTHING)
