"""Robust learning rate (RLR): flip the sign of coordinates where too few clients agree.

Ozdayi, Kantarcioglu and Gel, *Defending Against Backdoors in Federated Learning with
Robust Learning Rate*, AAAI 2021.
"""

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import require
from strategies.kernels.blockwise import NARROW, Visit, sweep, vector
from strategies.kernels.update_matrix import Rows

if TYPE_CHECKING:
    from torch import Tensor


@rules(
    "robust-learning-rate",
    paper="Ozdayi et al., AAAI 2021",
    traits={"mixing", "weighted", "scale"},
)
def robust_learning_rate(
    updates: Updates,
    state: State,
    /,
    *,
    agreement: Annotated[
        float,
        Field(ge=0, le=1, description="Sum of signs needed, as a share of the clients."),
    ] = 0.4,
) -> Aggregate:
    """Average, but turn coordinates round where the signs of the updates nearly cancel.

    The paper's threshold is ``agreement`` times n, rounded up. Against backdoors; norms
    are not bounded, so its breakdown point is 0: clip first. (n, d) -> (d,) in nd.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("robust-learning-rate", n)
    needed = math.ceil(agreement * n - 1e-9)
    weights = updates.weights.detach().float().to(rows.matrix.device)
    update = vector(rows.matrix)

    def prepare() -> Visit[int]:
        load = rows.loader(NARROW)

        def visit(part: slice) -> int:
            block = load(part)
            result = update[part]
            torch.mv(block.T, weights, out=result)
            if not torch.isfinite(result).all():
                rows.require_finite()
            disputed = block.sign().sum(dim=0).abs() < needed
            torch.where(disputed, -result, result, out=result)
            return int(disputed.sum())

        return visit

    turned: Tensor = torch.tensor(sweep(rows.matrix, NARROW, prepare)).sum()
    share = float(turned) / max(rows.columns, 1)
    return Aggregate(update, weights, metrics={"turned": share})
