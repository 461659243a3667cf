"""The geometric median, also known as RFA.

Pillutla, Kakade and Harchaoui, *Robust Aggregation for Federated Learning*, IEEE TSP
2022; Weiszfeld's method with the test for a median among the rows of Vardi and Zhang,
*The multivariate L1-median and associated data depth*, PNAS 2000.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import require
from strategies.kernels.gram_matrix import Geometry, measure
from strategies.kernels.update_matrix import Rows, weighted

if TYPE_CHECKING:
    from torch import Tensor

_STEPS = 10_000


@rules(
    "geometric-median",
    paper="Pillutla et al., IEEE TSP 2022",
    traits={"mixing", "weighted", "translation", "scale", "bounded"},
)
def geometric_median(
    updates: Updates,
    state: State,
    /,
    *,
    tolerance: Annotated[
        float, Field(gt=0, description="Last step, relative to the median distance.")
    ] = 1e-8,
    smoothing: Annotated[
        float, Field(ge=0, description="Smallest distance counted, relative to the median one.")
    ] = 1e-10,
) -> Aggregate:
    """Find the point whose weighted distances to the updates have the smallest sum.

    Solved to the tolerance among n coefficients, so that its steps cost nothing in d.
    Breakdown point 1/2 of the weight. (n, d) -> (d,) in n² d once.
    """
    rows = Rows.of(updates)
    require("geometric-median", len(rows))
    weights = updates.weights.detach().double().cpu()
    coefficients, steps = solve(measure(rows), weights / weights.sum(), tolerance, smoothing)
    return weighted(rows, coefficients, metrics={"steps": float(steps)})


def solve(
    geometry: Geometry, weights: "Tensor", tolerance: float, smoothing: float
) -> tuple["Tensor", int]:
    """Return the median's coefficients, float64 (n,), and the steps taken."""
    vertex = _vertex(geometry, weights)
    if vertex is not None:
        return vertex, 0
    coefficients, steps = weights, 0
    for _ in range(_STEPS):
        steps += 1
        distances = geometry.squared_distances_to(coefficients).sqrt()
        unit = distances.median()
        pull = weights / distances.clamp(min=max(smoothing * float(unit), 1e-300))
        change = pull / pull.sum() - coefficients
        coefficients = coefficients + change
        if geometry.length(change) <= tolerance * unit:
            break
    return coefficients, steps


def _vertex(geometry: Geometry, weights: "Tensor") -> "Tensor | None":
    """Return the coefficients if a row is the median: nothing pulls it off its place."""
    distances = geometry.squared_distances().sqrt()
    for row in range(len(weights)):
        here = distances[row] == 0
        pull = torch.where(here, 0.0, weights / distances[row].clamp(min=1e-300))
        pull[row] -= pull.sum()
        own = weights[here].sum()
        if geometry.length(pull) < own * (1 - 1e-9):
            return torch.where(here, weights, 0.0) / own
    return None
