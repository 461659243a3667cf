"""Numba kernel that sorts every column of a large matrix in vector registers.

Eight rows are sorted, and two sorted eights merged, by straight-line code that the
compiler turns into vector minima and maxima; a network over the eights does the rest in
strips that stay in the first-level cache. The sorted values are those of the uncompiled
path, bit for bit; sums of more than two of them may round otherwise, as their order
differs. It takes two seconds to compile, once a process: it is for large matrices.
Knows nothing of what is done with the sorted rows.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    Matrix = np.ndarray[Any, np.dtype[np.float32]]

LARGE = 2**25
"""Elements from which compiling pays."""
STRIP = 128
"""Columns of a strip: with 48 rows 24 KB."""
_EIGHT = (
    ((0, 2), (1, 3), (4, 6), (5, 7)),
    ((0, 4), (1, 5), (2, 6), (3, 7)),
    ((0, 1), (2, 3), (4, 5), (6, 7)),
    ((2, 4), (3, 5)),
    ((1, 4), (3, 6)),
    ((1, 2), (3, 4), (5, 6)),
)
"""The best sorting network of eight wires: 19 comparators."""
Pairs = Sequence[tuple[int, int]]
Sorter = Callable[["Matrix", int, int, "np.ndarray[Any, Any]", int, int, "Matrix"], bool]
"""``(matrix, start, stop, merges, first, ranks, out) -> finite``: see `sorter`."""


@cache
def available() -> bool:
    """Tell whether numba is installed."""
    return find_spec("numba") is not None


def suits(matrix: "Tensor") -> bool:
    """Tell whether compiled code can read a matrix, and whether compiling pays."""
    return (
        matrix.device.type == "cpu"
        and matrix.numel() >= LARGE
        and matrix.element_size() == 4
        and matrix.is_contiguous()
        and available()
    )


@cache
def sorter() -> Sorter:
    """Return the compiled function that sorts columns ``start`` to ``stop`` of a matrix.

    It writes ``ranks`` ranks from ``first`` to the rows of ``out``, from column 0, or
    their sum where ``out`` has one row; it returns whether all values were finite.
    ``merges`` is (k, 2): which sorted eights are merged one after the other.
    """
    import numba

    compiled = numba.njit(nogil=True, error_model="numpy")
    places = [f"{'low' if wire < 8 else 'high'}[v + {wire % 8 * STRIP}]" for wire in range(16)]
    stores = [f"{place} = x{wire}" for wire, place in enumerate(places)]
    layers = [pair for layer in _EIGHT for pair in layer]
    eight = _straight_line("sort_eight", layers, places[:8], stores[:8])
    merge = _straight_line("merge", _merging(), places, stores)
    sort: Sorter = compiled(_columns_sorter(compiled(eight), compiled(merge)))
    return sort


FEW = 16
"""Rows that are sorted in registers without a detour over eights."""


@cache
def few_sorter(rows: int, first: int, last: int) -> Callable[["Matrix", int, int, "Matrix"], bool]:
    """Return ``(matrix, start, stop, out) -> finite``, compiled, for at most `FEW` rows.

    It writes to ``out`` the sum of the values of rank ``first`` to ``last``.
    """
    import numba

    from strategies.kernels.sorting_networks import network

    compiled = numba.njit(nogil=True, error_model="numpy")
    places = [f"low[v + {row * STRIP}]" for row in range(rows)]
    pairs = [wire[:2] for wire in network(rows, first, last, ordered=False)]
    total = " + ".join(f"x{rank}" for rank in range(first, last + 1))
    rank = compiled(_straight_line("sum_ranks", pairs, places, [f"{places[0]} = {total}"]))
    return compiled(_few_sorter(rank))  # type: ignore[no-any-return]


def _few_sorter(sum_ranks: Callable[..., None]) -> Callable[["Matrix", int, int, "Matrix"], bool]:
    """Return the function that `few_sorter` compiles."""
    import numpy as np

    def sort_columns(matrix: "Matrix", start: int, stop: int, out: "Matrix") -> bool:
        strip = np.zeros(matrix.shape[0] * STRIP, np.float32)
        flaws = np.zeros(STRIP, np.float32)
        for left in range(start, stop, STRIP):
            size = min(STRIP, stop - left)
            for row in range(matrix.shape[0]):
                place = strip[row * STRIP : row * STRIP + size]
                source = matrix[row, left : left + size]
                for column in range(size):
                    place[column] = source[column]
                    flaws[column] += source[column] * np.float32(0)
            sum_ranks(strip)
            target = out[left - start : left - start + size]
            for column in range(size):
                target[column] = strip[column]
        return not flaws.any()

    return sort_columns


def _columns_sorter(sort_eight: Callable[..., None], merge: Callable[..., None]) -> Sorter:
    """Return the function that `sorter` compiles."""
    import numpy as np

    def sort_columns(
        matrix: "Matrix", start: int, stop: int, merges: Any, first: int, ranks: int, out: "Matrix"
    ) -> bool:
        n, last = matrix.shape[0], out.shape[0] - 1
        eights = (n + 7) // 8
        strip = np.full(eights * 8 * STRIP, np.inf, np.float32)
        flaws = np.zeros(STRIP, np.float32)
        for left in range(start, stop, STRIP):
            size = min(STRIP, stop - left)
            strip[n * STRIP :] = np.inf
            for row in range(n):
                place, source = (
                    strip[row * STRIP : row * STRIP + size],
                    matrix[row, left : left + size],
                )
                for column in range(size):
                    place[column] = source[column]
                    flaws[column] += source[column] * np.float32(0)
            for eight in range(eights):
                sort_eight(strip[eight * 8 * STRIP : (eight + 1) * 8 * STRIP])
            for pair in range(merges.shape[0]):
                low, high = merges[pair, 0] * 8 * STRIP, merges[pair, 1] * 8 * STRIP
                merge(strip[low : low + 8 * STRIP], strip[high : high + 8 * STRIP])
            for rank in range(ranks):
                place = strip[(first + rank) * STRIP : (first + rank) * STRIP + size]
                target = out[min(rank, last), left - start : left - start + size]
                if rank <= last:
                    target[:] = place
                else:  # one row for all ranks: their sum
                    for column in range(size):
                        target[column] += place[column]
        return not flaws.any()

    return sort_columns


def _merging() -> Pairs:
    """Return the comparators that merge two sorted eights: 32."""
    pairs = [(wire, 15 - wire) for wire in range(8)]
    for half in (4, 2, 1):
        pairs += [(wire, wire + half) for wire in range(16) if wire % (2 * half) < half]
    return pairs


def _straight_line(
    name: str, pairs: Pairs, places: Sequence[str], stores: Sequence[str]
) -> Callable[..., None]:
    """Return a function of one or two blocks of rows that exchanges in registers."""
    high = any(place.startswith("high") for place in places)
    lines = [f"def {name}(low{', high' if high else ''}):", f"    for v in range({STRIP}):"]
    lines += [f"        x{wire} = {place}" for wire, place in enumerate(places)]
    for a, b in pairs:
        lines.append(f"        x{a}, x{b} = (x{a}, x{b}) if x{a} < x{b} else (x{b}, x{a})")
    lines += [f"        {store}" for store in stores]
    scope: dict[str, Any] = {}
    exec("\n".join(lines), scope)  # our own text: networks as data, code as the compiler needs it
    made: Callable[..., None] = scope[name]
    return made
