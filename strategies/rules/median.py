"""The coordinate-wise median.

Yin et al., *Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates*,
ICML 2018.
"""

from fedsafe.contracts import Aggregate, State, Updates, rules
from strategies.checks import require
from strategies.kernels.order_statistics import rank_mean, shares
from strategies.kernels.update_matrix import Rows


@rules(
    "median",
    paper="Yin et al., ICML 2018",
    traits={"mixing", "translation", "scale", "bounded"},
)
def median(updates: Updates, state: State, /) -> Aggregate:
    """Take the median of every coordinate; of an even number, the mean of the middle two.

    Breakdown point 1/2: holds while n > 2f. (n, d) -> (d,) in n d log n.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("median", n)
    influence = shares(rows, (n - 1) // 2, n // 2)
    return Aggregate(
        rank_mean(rows, (n - 1) // 2, n // 2), influence.float().to(rows.matrix.device)
    )
