"""Sorting networks (Batcher's merge exchange) over whole rows, pruned to the ranks read.

A network is a fixed list of comparators; one whose outputs nobody reads is left out, and
where only the sum of some ranks is read, their own order does not matter. Knows nothing
of any rule.
"""

from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


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


def exchange(wires: list["Tensor"], comparators: tuple[Comparator, ...]) -> list["Tensor"]:
    """Run a network over rows, which are overwritten; the last one is room to swap with."""
    if wires[0].device.type == "cpu":  # NumPy's calls cost half of torch's
        import numpy as np

        buffers = [wire.numpy() for wire in wires]
        places = _exchange(buffers, comparators, np.minimum, np.maximum)
    else:
        places = _exchange(wires, comparators, torch.minimum, torch.maximum)
    return [wires[place] for place in places]


def _exchange(
    buffers: list[Any], comparators: tuple[Comparator, ...], minimum: Any, maximum: Any
) -> list[int]:
    """Run a network; return in which buffer each wire has come to lie."""
    *places, spare = range(len(buffers))
    for low, high, keep_low, keep_high in comparators:
        below, above = buffers[places[low]], buffers[places[high]]
        if keep_low:
            minimum(below, above, out=buffers[spare])
            if keep_high:
                maximum(below, above, out=above)
            places[low], spare = spare, places[low]
        else:
            maximum(below, above, out=above)
    return places
