"""Random generators of rules and filters, and random columns of the updates.

The one place that rules take randomness from: `generator` for the draws of a round, by the
server's secret `Updates.seed` where there is one. Knows nothing of any rule.
"""

from typing import TYPE_CHECKING

from fedsafe.contracts import Updates
from fedsafe.lazy import torch
from fedsafe.seeds import derive
from strategies.kernels.blockwise import WIDE, Visit, sweep
from strategies.kernels.update_matrix import Rows

if TYPE_CHECKING:
    from torch import Generator, Tensor

_LISTED = 2**20


def generator(updates: Updates, name: str, setting: int) -> "Generator":
    """Return the random generator of one plug-in for this round; always on the CPU.

    Args:
        updates: The round's; its ``seed``, if given, decides, so that a client who knows the
            plug-in's settings does not know its draws.
        name: The plug-in's, so that two of them never draw alike.
        setting: Its own setting ``seed``, which alone decides where the round has none.
    """
    if updates.seed is None:
        return stream(setting, updates.round)
    return stream(derive(updates.seed, name, setting, updates.round), 0)


def stream(seed: int, round: int) -> "Generator":
    """Return the random generator of a seed and a round; always on the CPU."""
    # Odd constants spread neighbouring seeds and rounds over all 63 bits.
    mixed = (seed * 0x9E3779B97F4A7C15 + round * 0xBF58476D1CE4E5B9) % 2**63
    return torch.Generator().manual_seed(mixed)


def choose(total: int, count: int, draw: "Generator") -> "Tensor":
    """Return sorted distinct numbers below a total, all of them where there are too few."""
    if count >= total:
        return torch.arange(total)
    if total <= max(_LISTED, 4 * count):
        return torch.randperm(total, generator=draw)[:count].sort().values
    drawn = torch.randint(total, (2 * count + 64,), generator=draw)
    distinct = torch.tensor(list(dict.fromkeys(drawn.tolist()))[:count])
    return distinct.sort().values


def gather(rows: Rows, columns: "Tensor") -> "Tensor":
    """Return some columns of the rows, given in order, float32 (m, b).

    Raises:
        ValueError: A row is not finite there.
    """
    matrix = rows.matrix
    part = torch.empty(len(matrix), len(columns), device=matrix.device)

    def prepare() -> Visit[None]:
        def visit(block: slice) -> None:
            ends = torch.tensor([block.start, block.stop])
            first, last = torch.searchsorted(columns, ends).tolist()
            part[:, first:last] = matrix[:, columns[first:last].to(matrix.device)]

        return visit

    sweep(matrix, WIDE, prepare)
    if not torch.isfinite(part).all():
        rows.require_finite()
    return part if rows.mixing is None else rows.mixing.float().to(part.device) @ part


def sample(rows: Rows, count: int, draw: "Generator") -> "Tensor":
    """Return random columns of the rows, float32 (m, b) on the CPU."""
    return gather(rows, choose(rows.columns, count, draw)).cpu()
