"""Count sketch: short vectors that keep the rows' inner products, on average.

Every column is given a random sign and added to one of a few numbers (Charikar, Chen and
Farach-Colton, *Finding Frequent Items in Data Streams*, 2002). It is linear, so that
sketches can be summed over rounds. Knows nothing of any rule.
"""

from typing import TYPE_CHECKING

from fedsafe.lazy import torch
from fedsafe.seeds import derive
from strategies.kernels.blockwise import NARROW, Visit, reader, sweep
from strategies.kernels.random_columns import stream
from strategies.kernels.update_matrix import Rows

if TYPE_CHECKING:
    from torch import Tensor


def add_sketch(rows: Rows, result: "Tensor", seed: int | None = None) -> None:
    """Add a count sketch of the rows to (m, k); the rows themselves where they are as short.

    Column i goes to number i mod k: an odd k spreads what recurs at powers of two. Two
    rows' inner product is kept on average, and errs by about a share of 1 / sqrt(k) of
    their lengths' product. Whoever knows the signs can make rows that are alike look
    unlike, so that a server that has a secret should seed them.

    Args:
        rows: The rows.
        result: float32 (m, k), changed in place.
        seed: Of the signs; sketches that are to be added or compared need the same.
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
                    block *= _signs(start, stop - start, seed).to(block.device)
                result[:, part.start : part.start + stop - start] += block
                told(stop - start)

        return visit

    sweep(result, NARROW, prepare)


def _signs(start: int, count: int, seed: int | None) -> "Tensor":
    """Return the signs of some columns, always the same for a seed, float32 (c,)."""
    draw = stream(start if seed is None else derive(seed, "signs", start), 0)
    return torch.randint(0, 2, (count,), generator=draw).float().mul_(2).sub_(1)
