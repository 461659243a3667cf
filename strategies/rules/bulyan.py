"""Bulyan: repeated Krum selection, then a trimmed mean around the median.

El Mhamdi et al., *The Hidden Vulnerability of Distributed Learning in Byzantium*,
ICML 2018.
"""

from typing import TYPE_CHECKING

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import AtLeast, require
from strategies.kernels.gram_matrix import measure
from strategies.kernels.order_statistics import nearest_mean, nearest_shares
from strategies.kernels.ranking import lowest, without_rounding
from strategies.kernels.update_matrix import Rows
from strategies.rules.krum import Byzantine, krum_scores

if TYPE_CHECKING:
    from torch import Tensor


@rules(
    "bulyan",
    paper="El Mhamdi et al., ICML 2018",
    minimum=AtLeast(4, 3),
    traits={"mixing", "translation", "scale", "bounded", "selects"},
)
def bulyan(updates: Updates, state: State, /, *, byzantine: Byzantine = 1) -> Aggregate:
    """Choose n - 2f updates by repeated Krum, then average those nearest the median.

    Each time the update that Krum takes among those left is moved to the chosen. Of the
    chosen, every coordinate is the mean of the n - 4f values nearest to their median.
    Breakdown point (n - 3) / 4n: holds while n > 4f + 2. (n, d) -> (d,) in n² d.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("bulyan", n, byzantine=byzantine)
    chosen = _choose(measure(rows).squared_distances(), n - 2 * byzantine, byzantine)
    selection = torch.zeros(len(chosen), n, dtype=torch.float64)
    selection[torch.arange(len(chosen)), chosen] = 1.0
    picked = Rows(rows.matrix, rows.base_rows(selection))
    keep = n - 4 * byzantine
    influence = (selection.T @ nearest_shares(picked, keep)).float()
    return Aggregate(nearest_mean(picked, keep), influence.to(rows.matrix.device))


def _choose(squared: "Tensor", count: int, byzantine: int) -> "Tensor":
    """Return the rows that Krum takes one after the other, sorted, (count,).

    The last few have one neighbour each, so that two nearest to each other have the same
    score: of them, the one nearer to all that are left goes first.
    """
    left = torch.arange(len(squared))
    chosen: list[int] = []
    while len(chosen) < count:
        among = squared[left][:, left]
        assumed = max(min(byzantine, len(left) - 3), 0)
        scores = without_rounding(krum_scores(among, assumed))
        nearest = torch.nonzero(scores == scores.min()).flatten()
        best = int(nearest[lowest(among.sum(dim=1)[nearest], 1)])
        chosen.append(int(left[best]))
        left = left[torch.arange(len(left)) != best]
    return torch.tensor(sorted(chosen))
