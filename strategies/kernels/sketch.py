"""Sketches: short stand-ins for the rows that keep their inner products, on average.

Every column is given a random sign and added to one of a few numbers (Charikar, Chen and
Farach-Colton, *Finding Frequent Items in Data Streams*, 2002). It is linear, so that
sketches can be summed over rounds. Knows nothing of any rule.
"""

from typing import TYPE_CHECKING

from fedsafe.lazy import torch
from strategies.kernels.blockwise import NARROW, Visit, reader, sweep
from strategies.kernels.random_columns import stream
from strategies.kernels.update_matrix import Rows

if TYPE_CHECKING:
    from torch import Tensor


def add_sketch(rows: Rows, result: "Tensor") -> None:
    """Add a sketch of the rows to (m, k); the rows themselves where they are as short.

    Column i goes to number i mod k: an odd k spreads what recurs at powers of two. Two
    rows' inner product is kept on average, and errs by about a share of 1 / sqrt(k) of
    their lengths' product.
    """
    size = result.shape[1]
    laps = -(-rows.columns // size)
    told = reader(rows.matrix)

    def prepare() -> Visit[None]:
        load = rows.loader(NARROW)

        def visit(part: slice) -> None:
            for lap in range(laps):
                start, stop = lap * size + part.start, min(lap * size + part.stop, rows.columns)
                if start >= stop:
                    break
                block = load(slice(start, stop))
                if laps > 1:
                    block *= _signs(start, stop - start).to(block.device)
                result[:, part.start : part.start + stop - start] += block
                told(stop - start)

        return visit

    sweep(result, NARROW, prepare)


def _signs(start: int, count: int) -> "Tensor":
    """Return the signs of some columns, always the same, float32 (c,)."""
    return torch.randint(0, 2, (count,), generator=stream(start, 0)).float().mul_(2).sub_(1)
