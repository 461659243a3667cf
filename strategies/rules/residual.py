"""Residual-based reweighting (IRLS): a repeated-median line through each coordinate's values.

Fu, Xie, Li and Chen, *Attack-Resistant Federated Learning with Residual-based
Reweighting*, 2019: repeated-median regression (Siegel 1982), then iteratively
reweighted least squares' confidences. Where the authors' code
(fushuhao6/Attack-Resistant-Federated-Learning) says more than the paper, as it does.
"""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, NamedTuple

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import AtLeast, require
from strategies.kernels.blockwise import Visit, sweep, vector
from strategies.kernels.sorting_networks import exchange, network
from strategies.kernels.update_matrix import Rows

if TYPE_CHECKING:
    from torch import Tensor

Sharpness = Annotated[
    float, Field(gt=0, description="Residuals tolerated, lambda; smaller is stricter.")
]
Threshold = Annotated[
    float, Field(ge=0, le=1, description="Confidence below which the line replaces a value.")
]
_WIDTH = 2**14
Trust = Callable[[], Visit["Tensor"]]
"""Makes a function that returns what a block of columns adds to each row's trust, (n,)."""
Combine = Callable[["Tensor"], Callable[[slice, "Tensor"], None]]
"""Makes, for (n,) weights, a function that writes the weighted sum of a block of columns."""


class Fit(NamedTuple):
    """What the robust lines of a block of columns say of each client's values; all (n, c)."""

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
    threshold: Threshold = 0.1,
    power: Annotated[
        int, Field(ge=1, description="Exponent of a client's trust; the authors' code squares it.")
    ] = 2,
) -> Aggregate:
    """Average the updates by how near their values lie to a robust line through the ranks.

    Each coordinate's values are fitted by their rank; a client's confidences, times their
    spread, sum to its trust, which is squared for its weight, as in the authors' code;
    values of hardly any confidence are replaced by the line's. With ``power`` 2 the same as
    the authors' code.
    With three clients it provably is the mean, so it asks for four. Breakdown point 1/2 of
    a line's fit; none is proven for the rule. (n, d) -> (d,) in n² d log n, twice.
    """
    rows = Rows.of(updates)
    require("residual", len(rows))
    return reweighted(rows, sharpness, threshold, power)


def reweighted(rows: Rows, sharpness: float, threshold: float, power: int) -> Aggregate:
    """Return the average by trust, the sum of a client's confidences, raised to a power."""
    from strategies.kernels import numba_line, numba_sort

    large = rows.matrix.device.type == "cpu" and rows.matrix.numel() >= numba_line.LARGE
    if large and numba_sort.available():
        confidence, restricted = _compiled_fits(rows, sharpness, threshold)
    else:
        confidence, restricted = _fits(rows, sharpness, threshold)
    trust = torch.stack(sweep(rows.matrix, _WIDTH, confidence)).sum(dim=0)
    trust = (trust / trust.max()) ** power if trust.max() > 0 else torch.ones_like(trust)
    weights = (trust / trust.sum()).float()
    update = vector(rows.matrix)

    def combine() -> Visit[None]:
        add = restricted(weights)
        return lambda part: add(part, update[part])

    sweep(rows.matrix, _WIDTH, combine)
    return Aggregate(update, weights)


def _fits(rows: Rows, sharpness: float, threshold: float) -> tuple[Trust, Combine]:
    """Return what makes a thread's two functions out of whole-row operations."""

    def confidence() -> Visit["Tensor"]:
        load = rows.loader(_WIDTH)

        def visit(part: slice) -> "Tensor":
            block = load(part)
            if not torch.isfinite(block.sum()):
                rows.require_finite()
            fit = fit_lines(block, sharpness, threshold)
            return torch.mv(fit.confidence, fit.confidence.std(dim=0)).double()

        return visit

    def restricted(weights: "Tensor") -> Callable[[slice, "Tensor"], None]:
        load = rows.loader(_WIDTH)

        def add(part: slice, result: "Tensor") -> None:
            fit = fit_lines(load(part), sharpness, threshold)
            torch.mv(fit.restricted.T, weights, out=result)

        return add

    return confidence, restricted


def _compiled_fits(rows: Rows, sharpness: float, threshold: float) -> tuple[Trust, Combine]:
    """Return what makes a thread's two functions out of compiled code."""
    import numpy as np

    from strategies.kernels import numba_line

    n, fit, plan = len(rows), numba_line.fitter(), numba_line.plan(len(rows))
    nothing, nobody = np.empty(0, np.float32), np.zeros(n)
    fit(np.zeros((n, 1), np.float32), plan, sharpness, threshold, nothing, nobody, nothing)

    def confidence() -> Visit["Tensor"]:
        load = rows.loader(_WIDTH)

        def visit(part: slice) -> "Tensor":
            trust, block = np.zeros(n), load(part).numpy()
            if not fit(block, plan, sharpness, threshold, nothing, trust, nothing):
                rows.require_finite()
            return torch.from_numpy(trust)

        return visit

    def restricted(weights: "Tensor") -> Callable[[slice, "Tensor"], None]:
        load = rows.loader(_WIDTH)

        def add(part: slice, result: "Tensor") -> None:
            block, given = load(part).numpy(), weights.numpy()
            fit(block, plan, sharpness, threshold, given, nobody, result.numpy())

        return add

    return confidence, restricted


def fit_lines(block: "Tensor", sharpness: float, threshold: float) -> Fit:
    """Fit a line through the sorted values of every column of an (n, c) block."""
    n = len(block)
    values = torch.stack(_sorted(block, 0, n - 1))
    middle = (values[(n - 1) // 2] + values[n // 2]) / 2
    offsets = _ranks(block) - (n - 1) / 2
    line = middle + _repeated_median(values) * offsets
    errors = (block - line).abs()
    low, high = 1 + (n - 2) // 2, 1 + (n - 1) // 2  # the median of all errors but the smallest
    scale = sum(_sorted(errors, low, high)[:: high - low or 1]) / (high - low + 1)
    scale = 1.4826 * (1 + 5 / (n - 1)) * scale + 1e-7
    leverage = 1 / n + offsets.square_() / (n * (n * n - 1) / 12)
    bound = leverage.neg_().add_(1).clamp_(min=0).sqrt_().mul_(sharpness * math.sqrt(2 / n))
    confidence = bound.mul_(scale).div_(errors).clamp_(max=1).nan_to_num_(nan=1.0)
    return Fit(confidence, torch.where(confidence >= threshold, block, line))


def _ranks(block: "Tensor") -> "Tensor":
    """Return each value's rank in its column, of equal ones the lower row first, (n, c)."""
    n = len(block)
    ranks = torch.arange(n, dtype=torch.int16, device=block.device)[:, None].repeat(
        1, block.shape[1]
    )
    for row in range(n - 1):
        above = (block[row] > block[row + 1 :]).view(torch.uint8).to(torch.int16)
        ranks[row + 1 :] -= above
        for one in above:
            ranks[row] += one
    return ranks.to(block.dtype)


def _sorted(block: "Tensor", first: int, last: int) -> list["Tensor"]:
    """Return the values of rank ``first`` to ``last`` of every column of a copy."""
    copy = torch.empty(len(block) + 1, block.shape[1], device=block.device)
    copy[:-1] = block
    return exchange(list(copy), network(len(block), first, last, ordered=True))[first : last + 1]


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
            slopes[place] *= 1 / (other - point)
        medians[point] = _median(slopes, n - 1)
    return _median(medians, n)


def _median(rows: "Tensor", n: int) -> "Tensor":
    """Return the medians of the first n rows, which are overwritten."""
    low, high = (n - 1) // 2, n // 2
    sorted_rows = exchange(list(rows[: n + 1]), network(n, low, high, ordered=False))
    return (sorted_rows[low] + sorted_rows[high]) / 2
