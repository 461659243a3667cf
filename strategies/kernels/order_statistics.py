"""Order statistics of every coordinate (median, trimmed mean), by sorting networks over rows.

Nothing is sorted by index, and no row is copied but into one block of scratch memory.
Knows nothing of any rule.
"""

from collections.abc import Callable, Iterator
from itertools import accumulate
from typing import TYPE_CHECKING

from fedsafe.lazy import torch
from strategies.kernels import numba_sort
from strategies.kernels.blockwise import NARROW, Visit, stretches, sweep, vector
from strategies.kernels.sorting_networks import exchange, network
from strategies.kernels.update_matrix import Rows

if TYPE_CHECKING:
    from torch import Tensor

_SAMPLE = 2**19
"""Values that suffice to tell how often each row was used."""


Reduce = Callable[[list["Tensor"], "Tensor"], None]
"""Writes what it makes of some rows, in order of rank, to its second argument."""
Ranks = Callable[[slice], tuple[list["Tensor"], bool]]
"""Returns rows by rank for a block of columns, and whether all values are finite."""


def rank_mean(rows: Rows, first: int, last: int) -> "Tensor":
    """Return the mean of each coordinate's values of rank ``first`` to ``last``, (d,).

    Raises:
        ValueError: A row is not finite.
    """
    if len(rows) <= numba_sort.FEW and rows.mixing is None and numba_sort.suits(rows.matrix):
        return _few_mean(rows, first, last)

    def reduce(block: list["Tensor"], result: "Tensor") -> None:
        result.copy_(block[0])
        for row in block[1:]:
            result += row
        result /= last - first + 1

    return _columnwise(rows, first, last, reduce, ordered=False)


def _few_mean(rows: Rows, first: int, last: int) -> "Tensor":
    """Return the mean of some ranks of few rows, sorted in registers, (d,)."""
    sort, result = numba_sort.few_sorter(len(rows), first, last), vector(rows.matrix)
    whole, out, count = rows.matrix.numpy(), result.numpy(), last - first + 1
    sort(whole, 0, 0, out[:0])  # compiles, for all threads

    def visit(part: slice) -> bool:
        finite = sort(whole, part.start, part.stop, out[part])
        out[part] /= count
        return finite

    if not all(sweep(rows.matrix, NARROW, lambda: visit)):
        rows.require_finite()
    return result


def nearest_mean(rows: Rows, keep: int) -> "Tensor":
    """Return the mean of each coordinate's ``keep`` values nearest to the median, (d,).

    In sorted order they are neighbours, so one window slides over the values; of two
    windows as near the one with the smaller values counts.

    Raises:
        ValueError: A row is not finite.
    """
    n = len(rows)

    def reduce(block: list["Tensor"], result: "Tensor") -> None:
        median = (block[(n - 1) // 2] + block[n // 2]) / 2
        nearest = torch.full_like(median, torch.inf)
        for start, total in enumerate(_window_sums(block, keep)):
            last = block[start + keep - 1]
            reach = torch.maximum(median - block[start], last - median)
            torch.where(reach < nearest, total, result, out=result)
            torch.minimum(reach, nearest, out=nearest)
        result /= keep

    return _columnwise(rows, 0, n - 1, reduce, ordered=True)


def _window_sums(rows: list["Tensor"], width: int) -> "Iterator[Tensor]":
    """Yield the sum of every window of rows, without subtracting any.

    What all windows share is summed once, and so is all that lies to either side.
    """
    more = len(rows) - width
    if more >= width:
        yield from _short_window_sums(rows, width)
        return
    shared = rows[more].clone()
    for row in rows[more + 1 : width]:
        shared += row
    below = list(accumulate(reversed(rows[:more])))[::-1]
    above = list(accumulate(rows[width:]))
    for first in range(more + 1):
        total = shared + below[first] if first < more else shared
        yield total + above[first - 1] if first else total


def _short_window_sums(rows: list["Tensor"], width: int) -> "Iterator[Tensor]":
    """Yield the same of windows that have no row in common.

    A window is the end of one stretch of ``width`` rows and the start of the next.
    """
    ends, starts = list(rows), list(rows)
    for row in range(len(rows)):
        if row % width:
            starts[row] = starts[row - 1] + rows[row]
    for row in reversed(range(len(rows) - 1)):
        if (row + 1) % width:
            ends[row] = ends[row + 1] + rows[row]
    for first in range(len(rows) - width + 1):
        last = starts[first + width - 1]
        yield ends[first] + last if first % width else last


def _columnwise(rows: Rows, first: int, last: int, reduce: Reduce, *, ordered: bool) -> "Tensor":
    """Apply a reduction to the rows of rank ``first`` to ``last`` of every block of columns.

    Raises:
        ValueError: A row is not finite.
    """
    result = vector(rows.matrix)
    large = rows.matrix.device.type == "cpu" and rows.matrix.numel() >= numba_sort.LARGE
    if large and numba_sort.available():
        sort = _compiled_sort(rows, first, last, ordered=ordered)
    else:
        sort = _network_sort(rows, first, last, ordered=ordered)

    def prepare() -> Visit[bool]:
        ranks = sort()

        def visit(part: slice) -> bool:
            block, finite = ranks(part)
            reduce(block, result[part])
            return finite

        return visit

    if not all(sweep(rows.matrix, NARROW, prepare)):
        rows.require_finite()
    return result


def _network_sort(rows: Rows, first: int, last: int, *, ordered: bool) -> Callable[[], Ranks]:
    """Return what makes a thread's sorting function out of whole-row minima and maxima."""
    n = len(rows)
    wires = network(n, first, last, ordered=ordered)

    def make() -> Ranks:
        load = rows.loader(NARROW, spare=1)

        def ranks(part: slice) -> "tuple[list[Tensor], bool]":
            block = load(part)
            finite = bool(torch.isfinite(block[:n].sum()))
            return exchange(list(block), wires)[first : last + 1], finite

        return ranks

    return make


def _compiled_sort(rows: Rows, first: int, last: int, *, ordered: bool) -> Callable[[], Ranks]:
    """Return what makes a thread's sorting function out of compiled code.

    Where the order of the ranks is not asked for, they come as one row, their sum.
    """
    import numpy as np

    sort = numba_sort.sorter()
    blocks = network(-(-len(rows) // 8), first // 8, last // 8, ordered=True)
    merges = np.array([wire[:2] for wire in blocks], np.int64).reshape(-1, 2)
    matrix = rows.matrix
    direct = rows.mixing is None and matrix.dtype == torch.float32 and matrix.is_contiguous()
    whole = matrix.numpy() if direct else np.empty((len(rows), 0), np.float32)
    count = last - first + 1
    sort(whole[:, :0].copy(), 0, 0, merges, first, 1, np.empty((1, 0), np.float32))  # compiles

    def make() -> Ranks:
        load = None if direct else rows.loader(NARROW)
        found = np.empty((count if ordered else 1, NARROW), np.float32)
        block = [torch.from_numpy(row) for row in found]

        def ranks(part: slice) -> "tuple[list[Tensor], bool]":
            size = part.stop - part.start
            if load is None:
                finite = sort(whole, part.start, part.stop, merges, first, count, found)
            else:
                finite = sort(load(part).numpy(), 0, size, merges, first, count, found)
            return [row[:size] for row in block], finite

        return ranks

    return make


def shares(rows: Rows, first: int, last: int) -> "Tensor":
    """Return how often each row's value has a rank between the two, float64 (m,); sums to 1.

    Counted on every coordinate, or on evenly spread stretches of them where there are
    very many. Of equal values the lower row has the lower rank.
    """
    chosen = _sample(rows).T.contiguous().argsort(dim=1, stable=True)[:, first : last + 1]
    counts = torch.bincount(chosen.flatten(), minlength=len(rows)).double().cpu()
    return counts / counts.sum()


def nearest_shares(rows: Rows, keep: int) -> "Tensor":
    """Return how often each row's value is among those nearest the median, float64 (m,).

    Counted as in `shares`; it sums to 1. Of two values equally near the smaller counts, as
    in `nearest_mean`, and of equal values the lower row.
    """
    values = _sample(rows).T.contiguous()
    ordered, by_value = values.sort(dim=1, stable=True)
    n = len(rows)
    median = (ordered[:, (n - 1) // 2] + ordered[:, n // 2]) / 2
    nearest = (ordered - median[:, None]).abs().argsort(dim=1, stable=True)[:, :keep]
    chosen = by_value.gather(1, nearest)
    counts = torch.bincount(chosen.flatten(), minlength=n).double().cpu()
    return counts / counts.sum()


def _sample(rows: Rows) -> "Tensor":
    """Return some of the columns, (m, s)."""
    width = 2**10
    step = max(1, rows.columns * len(rows) // _SAMPLE) * width
    return stretches(rows.matrix, range(0, rows.columns, step), width, rows.loader(width))
