"""Columns: order statistics of every coordinate, by sorting networks across whole rows.

A network is pruned to the comparators whose outputs somebody reads: for the mean of
the middle values, their own order does not matter. Nothing is sorted by index and no
row is copied but into one block of scratch memory. Knows nothing of any rule.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from fedsafe.lazy import torch
from strategies.rows import Rows
from strategies.sweep import NARROW, Visit, sweep

if TYPE_CHECKING:
    from torch import Tensor

_SAMPLE = 2**19
"""Values that suffice to tell how often each row was used."""


class Comparator(NamedTuple):
    """One exchange: the smaller value to the low wire, the larger to the high one."""

    low: int
    high: int
    keep_low: bool
    keep_high: bool


@lru_cache(maxsize=64)
def network(n: int, first: int, last: int, *, ordered: bool) -> tuple[Comparator, ...]:
    """Return Batcher's merge exchange for n wires, pruned to wires ``first`` to ``last``.

    Knuth, *The Art of Computer Programming* 3, algorithm 5.2.2M.

    Args:
        n: Number of rows.
        first: First rank that is read.
        last: Last rank that is read.
        ordered: Whether each of them is read on its own; otherwise only their sum is.
    """
    pool = set() if ordered else set(range(first, last + 1))
    needed = set(range(first, last + 1)) - pool
    pruned: list[Comparator] = []
    for low, high in reversed(_mergeexchange(n)):
        if low in pool and high in pool:
            continue
        keep_low, keep_high = low in pool | needed, high in pool | needed
        if keep_low or keep_high:
            pruned.append(Comparator(low, high, keep_low, keep_high))
            pool -= {low, high}
            needed |= {low, high}
    return tuple(reversed(pruned))


def _mergeexchange(n: int) -> list[tuple[int, int]]:
    comparators: list[tuple[int, int]] = []
    top = 1 << max((n - 1).bit_length() - 1, 0)
    p = top
    while p > 0:
        q, r, distance = top, 0, p
        while True:
            comparators += [(i, i + distance) for i in range(n - distance) if i & p == r]
            if q == p:
                break
            distance, q, r = q - p, q // 2, p
        p //= 2
    return comparators


def rank_mean(rows: Rows, first: int, last: int) -> "Tensor":
    """Return the mean of each coordinate's values of rank ``first`` to ``last``, (d,).

    Raises:
        ValueError: A row is not finite.
    """
    wires = network(len(rows), first, last, ordered=False)

    def reduce(block: list["Tensor"], result: "Tensor") -> None:
        torch.add(block[first], block[last], out=result) if last > first else result.copy_(
            block[first]
        )
        for rank in range(first + 1, last):
            result += block[rank]
        result /= last - first + 1

    return _columnwise(rows, wires, reduce)


def nearest_mean(rows: Rows, keep: int) -> "Tensor":
    """Return the mean of each coordinate's ``keep`` values nearest to the median, (d,).

    In sorted order they are neighbours, so one window slides over the values; of two
    windows as near the one with the smaller values counts.

    Raises:
        ValueError: A row is not finite.
    """
    n = len(rows)
    wires = network(n, 0, n - 1, ordered=True)

    def reduce(block: list["Tensor"], result: "Tensor") -> None:
        median = (block[(n - 1) // 2] + block[n // 2]) / 2
        nearest = torch.full_like(median, torch.inf)
        for start, total in enumerate(_window_sums(block, keep)):
            last = block[start + keep - 1]
            reach = torch.maximum(median - block[start], last - median)
            torch.where(reach < nearest, total, result, out=result)
            torch.minimum(reach, nearest, out=nearest)
        result /= keep

    return _columnwise(rows, wires, reduce)


def _window_sums(rows: list["Tensor"], width: int) -> "Iterator[Tensor]":
    """Yield the sum of every window of rows, without subtracting any.

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


def _columnwise(
    rows: Rows,
    wires: tuple[Comparator, ...],
    reduce: Callable[[list["Tensor"], "Tensor"], None],
) -> "Tensor":
    """Apply a network and a reduction to every block of columns."""
    result = torch.empty(rows.columns, device=rows.matrix.device)
    n = len(rows)

    def prepare() -> Visit[bool]:
        load = rows.loader(NARROW, spare=1)

        def visit(part: slice) -> bool:
            block = load(part)
            finite = bool(torch.isfinite(block[:n].sum()))
            reduce(exchange(list(block), wires), result[part])
            return finite

        return visit

    if not all(sweep(rows.matrix, NARROW, prepare)):
        rows.require_finite()
    return result


def exchange(wires: list["Tensor"], comparators: tuple[Comparator, ...]) -> list["Tensor"]:
    """Run a network over rows; the last one is room to swap with."""
    spare = wires.pop()
    for low, high, keep_low, keep_high in comparators:
        below, above = wires[low], wires[high]
        if keep_low:
            torch.minimum(below, above, out=spare)
            if keep_high:
                torch.maximum(below, above, out=above)
            wires[low], spare = spare, below
        else:
            torch.maximum(below, above, out=above)
    return wires


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

    Counted as in `shares`; it sums to 1.
    """
    values = _sample(rows).T.contiguous()
    ordered = values.sort(dim=1).values
    n = len(rows)
    median = (ordered[:, (n - 1) // 2] + ordered[:, n // 2]) / 2
    chosen = (values - median[:, None]).abs().argsort(dim=1, stable=True)[:, :keep]
    counts = torch.bincount(chosen.flatten(), minlength=n).double().cpu()
    return counts / counts.sum()


def _sample(rows: Rows) -> "Tensor":
    """Return some of the columns, (m, s)."""
    width = 2**10
    step = max(1, rows.columns * len(rows) // _SAMPLE) * width
    load = rows.loader(width)
    starts = range(0, rows.columns, step)
    return torch.cat([load(slice(s, min(s + width, rows.columns))).clone() for s in starts], dim=1)
