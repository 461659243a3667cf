"""Residual-based reweighting: a robust line through the sorted values of a coordinate.

Fu, Xie, Li and Chen, *Attack-Resistant Federated Learning with Residual-based
Reweighting*, 2019: repeated-median regression (Siegel 1982), then iteratively
reweighted least squares' confidences.
"""

import math
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import AtLeast, require
from strategies.networks import exchange, network
from strategies.rows import Rows
from strategies.sweep import Visit, sweep

if TYPE_CHECKING:
    from torch import Tensor

Sharpness = Annotated[
    float, Field(gt=0, description="Residuals tolerated, lambda; smaller is stricter.")
]
Threshold = Annotated[
    float, Field(ge=0, le=1, description="Confidence below which the line replaces a value.")
]
_WIDTH = 2**14


class Fit(NamedTuple):
    """The robust lines of a block of columns; all (n, c), by rank of the value."""

    order: "Tensor"
    confidence: "Tensor"
    restricted: "Tensor"


@rules(
    "residual",
    paper="Fu et al., arXiv 1912.11464",
    minimum=AtLeast(0, 4),
    traits={"mixing", "translation"},
)
def residual(
    updates: Updates,
    state: State,
    /,
    *,
    sharpness: Sharpness = 2.0,
    threshold: Threshold = 0.05,
) -> Aggregate:
    """Average the updates by how near their values lie to a robust line through the ranks.

    Each coordinate's values are fitted by their rank; a client's confidences, times their
    spread, sum to its weight; values of hardly any confidence are replaced by the line's.
    With three clients it provably is the mean, so it asks for four. Breakdown point 1/2 of
    a line's fit; none is proven for the rule. (n, d) -> (d,) in n² d log n, twice.
    """
    rows = Rows.of(updates)
    require("residual", len(rows))
    return reweighted(rows, sharpness, threshold, power=1)


def reweighted(rows: Rows, sharpness: float, threshold: float, power: int) -> Aggregate:
    """Return the average by confidence, whose sum a client is raised to a power."""

    def weigh() -> Visit["Tensor"]:
        load = rows.loader(_WIDTH)

        def visit(part: slice) -> "Tensor":
            block = load(part)
            if not torch.isfinite(block.sum()):
                rows.require_finite()
            fit = fit_lines(block, sharpness, threshold)
            spread = fit.confidence * fit.confidence.std(dim=0)
            return torch.zeros_like(block).scatter_(0, fit.order, spread).double().sum(dim=1)

        return visit

    trust = torch.stack(sweep(rows.matrix, _WIDTH, weigh)).sum(dim=0)
    trust = (trust / trust.max()) ** power if trust.max() > 0 else torch.ones_like(trust)
    weights = (trust / trust.sum()).float()
    update = torch.empty(rows.columns, device=rows.matrix.device)

    def combine() -> Visit[None]:
        load = rows.loader(_WIDTH)

        def visit(part: slice) -> None:
            fit = fit_lines(load(part), sharpness, threshold)
            torch.sum(weights[fit.order] * fit.restricted, dim=0, out=update[part])

        return visit

    sweep(rows.matrix, _WIDTH, combine)
    return Aggregate(update, weights)


def fit_lines(block: "Tensor", sharpness: float, threshold: float) -> Fit:
    """Fit a line through the sorted values of every column of an (n, c) block."""
    n = len(block)
    values, order = block.sort(dim=0, stable=True)
    ranks = torch.arange(n, dtype=block.dtype, device=block.device)[:, None]
    slope = _repeated_median(values)
    middle = (values[(n - 1) // 2] + values[n // 2]) / 2
    line = middle + slope * (ranks - (n - 1) / 2)
    errors = (values - line).abs()
    others = errors.sort(dim=0).values[1:]
    scale = (others[(n - 2) // 2] + others[(n - 1) // 2]) / 2
    scale = 1.4826 * (1 + 5 / (n - 1)) * scale + 1e-7
    leverage = 1 / n + (ranks - (n - 1) / 2) ** 2 / (n * (n * n - 1) / 12)
    bound = sharpness * math.sqrt(2 / n) * (1 - leverage).clamp(min=0).sqrt() * scale
    confidence = torch.where(errors > bound, bound / errors, 1.0)
    return Fit(order, confidence, torch.where(confidence >= threshold, values, line))


def _repeated_median(values: "Tensor") -> "Tensor":
    """Return the median over points of the median slope to the others, (c,)."""
    n = len(values)
    wires = list(range(n))
    slopes = torch.empty_like(values)  # n - 1 slopes, and room to swap with
    medians = torch.empty(n + 1, values.shape[1], device=values.device)
    for point in wires:
        others = wires[:point] + wires[point + 1 :]
        for place, other in enumerate(others):
            torch.sub(values[other], values[point], out=slopes[place])
            slopes[place] /= other - point
        medians[point] = _median(slopes, n - 1)
    return _median(medians, n)


def _median(rows: "Tensor", n: int) -> "Tensor":
    """Return the medians of the first n rows, which are overwritten."""
    low, high = (n - 1) // 2, n // 2
    sorted_rows = exchange(list(rows[: n + 1]), network(n, low, high, ordered=False))
    return (sorted_rows[low] + sorted_rows[high]) / 2
