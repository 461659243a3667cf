"""The mean: federated averaging, which any single client can move anywhere.

McMahan et al., *Communication-Efficient Learning of Deep Networks from Decentralized
Data*, AISTATS 2017.
"""

from fedsafe.contracts import Aggregate, State, Updates, rules
from strategies.checks import require
from strategies.kernels.update_matrix import Rows, weighted


@rules(
    "mean",
    paper="McMahan et al., AISTATS 2017",
    traits={"mixing", "weighted", "translation", "scale"},
)
def mean(updates: Updates, state: State, /) -> Aggregate:
    """Average the updates, by the weight the server gives each client (FedAvg).

    Breakdown point 0: one attacker suffices. (n, d) -> (d,) in one pass.
    """
    rows = Rows.of(updates)
    require("mean", len(rows))
    return weighted(rows, updates.weights, read_all=True)
