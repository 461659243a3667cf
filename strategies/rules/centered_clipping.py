"""Centered clipping: steps from the last aggregate, none of them longer than a radius.

Karimireddy, He and Jaggi, *Learning from History for Byzantine Robust Optimization*,
ICML 2021.
"""

from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import require
from strategies.kernels.gram_matrix import measure
from strategies.kernels.update_matrix import Rows, middle, uniform


@rules(
    "centered-clipping",
    paper="Karimireddy et al., ICML 2021",
    traits={"mixing", "bounded", "memory"},
)
def centered_clipping(
    updates: Updates,
    state: State,
    /,
    *,
    radius: Annotated[
        float | None,
        Field(gt=0, description="Longest step; when not given, the median distance."),
    ] = None,
    iterations: Annotated[int, Field(ge=1, description="Steps a round, L.")] = 3,
) -> Aggregate:
    """Move from the last round's aggregate towards each update, by at most the radius.

    The first round starts at zero. An attacker moves the result by at most
    iterations * radius / n, so its breakdown point is 1/2 with a fitting radius.
    (n, d) -> (d,) in n² d once.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("centered-clipping", n)
    reference = state.get("reference")
    geometry = measure(rows, reference)
    position = torch.zeros(len(geometry.coordinates), dtype=torch.float64)  # at the origin
    position[n:] = 1.0  # or, where there is one, at the reference
    share = uniform(rows)
    for _ in range(iterations):
        distances = geometry.squared_distances_to(position)[:n].sqrt()
        length = middle(distances) if radius is None else radius
        steps = share * (length / distances.clamp(min=1e-300)).clamp(max=1.0)
        position = position * (1 - steps.sum())
        position[:n] += steps
    update = rows.combine(position[:n])
    if reference is not None:
        update.add_(reference, alpha=float(position[n]))
    influence = position[:n].float().to(update.device)
    return Aggregate(update, influence, {"reference": update}, {"radius": length})
