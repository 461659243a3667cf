"""Norm clipping: static, by the median, or adaptive (ARC).

Sun et al., *Can You Really Backdoor Federated Learning?*, 2019 (clip); Allouah et al.,
*Adaptive Gradient Clipping for Robust Federated Learning*, ICLR 2025 (ARC).
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.contracts import Updates, filters
from fedsafe.lazy import torch
from strategies.checks import AtLeast
from strategies.kernels.gram_matrix import norms
from strategies.kernels.update_matrix import Rows, middle

if TYPE_CHECKING:
    from torch import Tensor


@filters("clip", paper="Sun et al., arXiv 1911.07963", traits={"mixing", "pointwise"})
def clip(
    updates: Updates,
    /,
    *,
    norm: Annotated[
        Annotated[float, Field(gt=0)] | Literal["median"],
        Field(description="Largest norm, or 'median' for the median of the round."),
    ] = "median",
) -> Updates:
    """Shorten every update that is longer than a norm. (n, d) -> (n, d) in nd."""
    rows = Rows.of(updates)
    lengths = norms(rows)
    return _shortened(updates, rows, lengths, middle(lengths) if norm == "median" else norm)


@filters(
    "arc",
    paper="Allouah et al., ICLR 2025",
    minimum=AtLeast(1, 1),
    traits={"mixing", "scale"},
)
def arc(
    updates: Updates,
    /,
    *,
    byzantine: Annotated[int, Field(ge=0, description="Attackers assumed, f.")] = 1,
) -> Updates:
    """Shorten the 2f(n - f)/n longest updates to the next longest. (n, d) -> (n, d) in nd."""
    rows = Rows.of(updates)
    n = len(rows)
    lengths = norms(rows)
    longest = min(int(2 * byzantine / n * (n - byzantine)), n - 1)
    limit = float(lengths.sort().values[max(n - 1 - longest, 0)])
    return _shortened(updates, rows, lengths, limit)


def _shortened(updates: Updates, rows: Rows, lengths: "Tensor", limit: float) -> Updates:
    scale = torch.where(lengths > limit, limit / lengths.clamp(min=1e-300), 1.0)
    return replace(updates, mixing=rows.base_rows(torch.diag(scale)))
