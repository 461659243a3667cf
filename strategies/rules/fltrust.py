"""FLTrust: weigh updates by their cosine with the server's own update.

Cao, Fang, Liu and Gong, *FLTrust: Byzantine-robust Federated Learning via Trust
Bootstrapping*, NDSS 2021.
"""

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import need_root, require
from strategies.kernels.gram_matrix import measure
from strategies.kernels.update_matrix import Rows


@rules(
    "fltrust",
    paper="Cao et al., NDSS 2021",
    traits={"mixing", "scale", "bounded", "root"},
)
def fltrust(updates: Updates, state: State, /) -> Aggregate:
    """Average the updates, each as long as the server's own, by their cosine with it.

    The server trains on a few trusted examples (``Updates.root``); updates that point
    away from its own count nothing. The same as public copies of the authors' code. No
    breakdown point in f: the result is never longer than the server's own update, however
    many attack. (n, d) -> (d,) in n² d.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("fltrust", n)
    geometry = measure(rows, need_root("fltrust", updates))
    trust = geometry.cosines()[-1, :n].clamp(min=0)
    lengths = geometry.squared_norms().sqrt()
    total = trust.sum()
    trust = trust / total if total > 0 else trust
    scale = torch.where(lengths[:n] > 0, lengths[n] / lengths[:n], 0.0)
    update = rows.combine(trust * scale, read_all=True)
    return Aggregate(update, trust.float().to(update.device))
