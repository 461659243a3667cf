"""MeaMed: coordinate-wise mean around the median.

Xie et al., *Generalized Byzantine-tolerant SGD*, 2018.
"""

from fedsafe.contracts import Aggregate, State, Updates, rules
from strategies.checks import AtLeast, require
from strategies.kernels.order_statistics import nearest_mean, nearest_shares
from strategies.kernels.update_matrix import Rows
from strategies.rules.krum import Byzantine


@rules(
    "meamed",
    paper="Xie et al., arXiv 1802.10116",
    minimum=AtLeast(2, 1),
    traits={"mixing", "translation", "scale", "bounded"},
)
def meamed(updates: Updates, state: State, /, *, byzantine: Byzantine = 1) -> Aggregate:
    """Average, per coordinate, the n - f values nearest to the median.

    Of two values equally near the smaller counts; ByzFL takes the lower row's.
    Breakdown point 1/2: holds while n > 2f. (n, d) -> (d,) in n d log n.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("meamed", n, byzantine=byzantine)
    influence = nearest_shares(rows, n - byzantine).float()
    return Aggregate(nearest_mean(rows, n - byzantine), influence.to(rows.matrix.device))
