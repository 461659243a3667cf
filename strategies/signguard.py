"""SignGuard: norms within reason, and signs as most have them.

Xu, Huang, Song and Lan, *Byzantine-robust Federated Learning through Collaborative
Malicious Gradient Filtering*, ICDCS 2022. Clusters are found by scikit-learn's MeanShift.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import require
from strategies.geometry import norms
from strategies.rows import Rows, equally, weighted
from strategies.sampling import sample, stream

if TYPE_CHECKING:
    from torch import Tensor

_MOST = 2**20


@rules(
    "signguard",
    paper="Xu et al., ICDCS 2022",
    traits={"mixing", "scale", "selects", "random"},
)
def signguard(
    updates: Updates,
    state: State,
    /,
    *,
    lowest: Annotated[float, Field(ge=0, description="Smallest norm over the median.")] = 0.1,
    highest: Annotated[float, Field(gt=0, description="Largest norm over the median.")] = 3.0,
    share: Annotated[
        float, Field(gt=0, le=1, description="Coordinates whose signs are counted, of all.")
    ] = 0.1,
    seed: Annotated[int, Field(ge=0, description="Of the coordinates.")] = 0,
) -> Aggregate:
    """Average, clipped to the median norm, the updates that pass two filters.

    The norm must be near the median, and the shares of positive, zero and negative
    signs in a random part must lie in the largest cluster. At most a million coordinates
    are counted. Breakdown point 1/2, if attackers' signs stand out. (n, d) -> (d,) in nd.
    """
    rows = Rows.of(updates)
    require("signguard", len(rows))
    lengths = norms(rows)
    limit = lengths.median()
    count = min(max(round(share * rows.columns), 1), _MOST)
    part = sample(rows, count, stream(seed, updates.round))
    usual = _largest_cluster(_signs(part))
    fit = (lengths >= lowest * limit) & (lengths <= highest * limit)
    kept = fit & usual if bool((fit & usual).any()) else fit
    scale = torch.where(lengths > limit, limit / lengths, 1.0)
    return weighted(rows, equally(rows, kept) * scale, metrics={"limit": float(limit)})


def _signs(part: "Tensor") -> "Tensor":
    """Return the shares of positive, zero and negative values, float64 (n, 3)."""
    counts = [(part > 0).sum(dim=1), (part == 0).sum(dim=1), (part < 0).sum(dim=1)]
    return torch.stack(counts, dim=1).double() / part.shape[1]


def _largest_cluster(features: "Tensor") -> "Tensor":
    """Return which rows lie in the largest cluster, (n,) bool."""
    from sklearn.cluster import MeanShift, estimate_bandwidth

    points = features.numpy()
    width = max(estimate_bandwidth(points, quantile=0.5, random_state=0), 1e-6)
    found = torch.from_numpy(MeanShift(bandwidth=width).fit_predict(points))
    return found == torch.bincount(found).argmax()
