"""Numba kernels for inner products and weighted sums of a large matrix's rows.

Both read each row once, in strips that stay in the cache, and in an order that depends on
nothing but the shape. Knows nothing of any rule.
"""

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    Matrix = np.ndarray[Any, np.dtype[np.float32]]

STRIP = 512
"""Columns of a strip of which inner products are taken: with twelve rows 25 KB."""
LONG = 2048
"""Columns of a strip that is summed."""
_FAST = {"reassoc", "contract", "nsz"}
"""Sums may be taken in vector registers; numbers that are not finite keep their meaning."""


@cache
def producer() -> Callable[..., None]:
    """Return ``(matrix, start, stop, centre, guest, total)``, compiled.

    It adds to ``total`` (p + 1, p + 1) float64, on and above the diagonal, the inner products
    of columns ``start`` to ``stop`` of the p points (the rows, then the guest (d,) where it
    is not empty) less row ``centre``, and of that row, which comes last.
    """
    import numba

    compiled = numba.njit(nogil=True, error_model="numpy", fastmath=_FAST)
    made: Callable[..., None] = compiled(_make_products(compiled(_load), compiled(_four)))
    return made


@cache
def summer() -> Callable[..., bool]:
    """Return ``(matrix, start, stop, chosen, weights, out) -> finite``, compiled.

    It writes to ``out`` the sum of the ``chosen`` rows' columns ``start`` to ``stop``.
    """
    import numba

    made: Callable[..., bool] = numba.njit(nogil=True, error_model="numpy", fastmath=_FAST)(_sum)
    return made


def _load(
    matrix: "Matrix", left: int, size: int, centre: int, guest: "Matrix", strip: "Matrix"
) -> None:
    """Write a strip of the points less the centre, and the centre itself to the last row."""
    n, last, middle = matrix.shape[0], strip[-1], matrix[centre, left : left + size]
    for v in range(size):
        last[v] = middle[v]
    for row in range(strip.shape[0] - 1):
        source = matrix[row, left : left + size] if row < n else guest[left : left + size]
        place = strip[row]
        for v in range(size):
            place[v] = source[v] - last[v]


def _four(one: "Matrix", strip: "Matrix", row: int, size: int, total: "Matrix") -> None:
    """Add the inner products of one row with four others."""
    a, b, c, d = strip[row], strip[row + 1], strip[row + 2], strip[row + 3]
    zero = np.float32(0)
    to_a, to_b, to_c, to_d = zero, zero, zero, zero
    for v in range(size):
        to_a += one[v] * a[v]
        to_b += one[v] * b[v]
        to_c += one[v] * c[v]
        to_d += one[v] * d[v]
    total[row] += to_a
    total[row + 1] += to_b
    total[row + 2] += to_c
    total[row + 3] += to_d


def _make_products(load: Callable[..., None], four: Callable[..., None]) -> Callable[..., None]:
    """Return the function that `producer` compiles."""

    def products(
        matrix: "Matrix", start: int, stop: int, centre: int, guest: "Matrix", total: "Matrix"
    ) -> None:
        rows = total.shape[0]
        strip = np.zeros((rows, STRIP), np.float32)
        for left in range(start, stop, STRIP):
            size = min(STRIP, stop - left)
            load(matrix, left, size, centre, guest, strip)
            for row in range(rows):
                other = row
                while other + 4 <= rows:
                    four(strip[row], strip, other, size, total[row])
                    other += 4
                while other < rows:
                    product, one, two = np.float32(0), strip[row], strip[other]
                    for v in range(size):
                        product += one[v] * two[v]
                    total[row, other] += product
                    other += 1

    return products


def _sum(
    matrix: "Matrix", start: int, stop: int, chosen: "Matrix", weights: "Matrix", out: "Matrix"
) -> bool:
    flaws = np.float32(0)
    for left in range(start, stop, LONG):
        size = min(LONG, stop - left)
        end = left + size
        place = out[left - start : left - start + size]
        for v in range(size):
            place[v] = 0
        row, rows = 0, chosen.shape[0]
        while row + 4 <= rows:
            a, b = matrix[chosen[row], left:end], matrix[chosen[row + 1], left:end]
            c, d = matrix[chosen[row + 2], left:end], matrix[chosen[row + 3], left:end]
            of_a, of_b = weights[row], weights[row + 1]
            of_c, of_d = weights[row + 2], weights[row + 3]
            for v in range(size):
                place[v] += (of_a * a[v] + of_b * b[v]) + (of_c * c[v] + of_d * d[v])
            row += 4
        while row < rows:
            source, weight = matrix[chosen[row], left:end], weights[row]
            for v in range(size):
                place[v] += weight * source[v]
            row += 1
        for v in range(size):
            flaws += place[v] * np.float32(0)
    return bool(flaws == np.float32(0))
