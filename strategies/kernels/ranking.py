"""Ranking: order scores and distances so that equal ones go to the lower index.

Distances come from a Gram matrix, so that two which are equal on paper differ in their
last bits, in whichever direction the rounding went; a plain sort would then let rounding
choose a client. Values that differ by rounding alone are made equal first, and the sort is
stable. Knows nothing of any rule.
"""

from typing import TYPE_CHECKING

from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

ROUNDING = 1e-9
"""Relative difference that float64 inner products do not resolve reliably."""


def without_rounding(values: "Tensor") -> "Tensor":
    """Return the values with those equal that differ by rounding alone.

    Any shape, float64, at least 0; of equal values the smallest stands for all. The
    result depends on the values alone, not on their order.
    """
    ordered, order = values.flatten().sort(stable=True)
    starts = torch.ones_like(ordered, dtype=torch.bool)
    starts[1:] = ordered[1:] > ordered[:-1] * (1 + ROUNDING)
    equal = torch.empty_like(ordered)
    equal[order] = ordered[starts][starts.cumsum(0) - 1]
    return equal.view_as(values)


def lowest(scores: "Tensor", count: int) -> "Tensor":
    """Return the indices of the smallest scores, of equal ones the lower index, (count,)."""
    return without_rounding(scores).argsort(stable=True)[:count]
