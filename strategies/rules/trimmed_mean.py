"""The coordinate-wise trimmed mean.

Yin et al., *Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates*,
ICML 2018.
"""

from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from strategies.checks import AtLeast, require
from strategies.kernels.order_statistics import rank_mean, shares
from strategies.kernels.update_matrix import Rows


@rules(
    "trimmed-mean",
    paper="Yin et al., ICML 2018",
    minimum=AtLeast(2, 1),
    traits={"mixing", "translation", "scale", "bounded"},
)
def trimmed_mean(
    updates: Updates,
    state: State,
    /,
    *,
    byzantine: Annotated[
        int, Field(ge=0, description="Attackers assumed, f; values cut at each end.")
    ] = 1,
) -> Aggregate:
    """Average every coordinate without its f smallest and its f largest values.

    Breakdown point f/n: holds while n > 2f. (n, d) -> (d,) in n d log n.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("trimmed-mean", n, byzantine=byzantine)
    influence = shares(rows, byzantine, n - 1 - byzantine)
    return Aggregate(
        rank_mean(rows, byzantine, n - 1 - byzantine), influence.float().to(rows.matrix.device)
    )
