"""Norm thresholding: leave out updates whose L2 norm is above a limit.

Sun, Kairouz, Suresh and McMahan, *Can You Really Backdoor Federated Learning?*, 2019,
speak of ignoring what is too long, as here, and try clipping it (filter ``clip``).
"""

from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import require
from strategies.kernels.gram_matrix import norms
from strategies.kernels.update_matrix import Rows, middle, weighted


@rules(
    "norm-threshold",
    paper="Sun et al., arXiv 1911.07963",
    traits={"mixing", "weighted", "scale", "bounded", "selects"},
)
def norm_threshold(
    updates: Updates,
    state: State,
    /,
    *,
    limit: Annotated[
        float | None, Field(gt=0, description="Largest norm; by the median when not given.")
    ] = None,
    factor: Annotated[
        float, Field(ge=1, description="Largest norm over the median, without a limit.")
    ] = 3.0,
) -> Aggregate:
    """Average, by the server's weights, the updates no longer than a limit.

    Breakdown point 1/2 for the length of the result; within it, any attacker moves it.
    (n, d) -> (d,) in nd.
    """
    rows = Rows.of(updates)
    require("norm-threshold", len(rows))
    lengths = norms(rows)
    largest = factor * middle(lengths) if limit is None else limit
    weights = updates.weights.detach().double().cpu()
    kept = torch.where(lengths <= largest, weights, 0.0)
    total = kept.sum()
    return weighted(rows, kept / total if total > 0 else kept, metrics={"limit": largest})
