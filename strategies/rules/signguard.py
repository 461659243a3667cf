"""SignGuard: norms within reason, and signs as most have them.

Xu, Huang, Song and Lan, *Byzantine-robust Federated Learning through Collaborative
Malicious Gradient Filtering*, ICDCS 2022. Clusters are found by scikit-learn's MeanShift,
with features and settings of the authors' code (JianXu95/SignGuard).
"""

import warnings
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import require
from strategies.kernels.gram_matrix import norms
from strategies.kernels.random_columns import sample, stream
from strategies.kernels.update_matrix import Rows, equally, middle, weighted

if TYPE_CHECKING:
    from torch import Tensor

_MOST = 2**24
"""Signs counted at most, of all rows together."""


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
    signs in a random part must lie in the largest cluster. At most 16 million signs are
    counted. Breakdown point 1/2, if attackers' signs stand out. (n, d) -> (d,) in nd.
    """
    rows = Rows.of(updates)
    require("signguard", len(rows))
    lengths = norms(rows)
    limit = middle(lengths)
    count = min(max(round(share * rows.columns), 1), max(_MOST // len(rows), 1))
    part = sample(rows, count, stream(seed, updates.round))
    usual = _largest_cluster(_signs(part))
    fit = (lengths >= lowest * limit) & (lengths <= highest * limit)
    kept = fit & usual if bool((fit & usual).any()) else fit
    scale = torch.where(lengths > limit, limit / lengths, 1.0)
    return weighted(rows, equally(rows, kept) * scale, metrics={"limit": limit})


def _signs(part: "Tensor") -> "Tensor":
    """Return how often values are positive, zero and negative, over the largest, (n, 3)."""
    counts = [(part > 0).sum(dim=1), (part == 0).sum(dim=1), (part < 0).sum(dim=1)]
    shares = torch.stack(counts, dim=1).double() / part.shape[1]
    return shares / (shares.max(dim=0).values + 1e-8)


def _largest_cluster(features: "Tensor") -> "Tensor":
    """Return which rows lie in the largest cluster, (n,) bool."""
    from sklearn.cluster import MeanShift, estimate_bandwidth

    points = features.numpy()
    width = max(estimate_bandwidth(points, quantile=0.5), 1e-6)
    clusters = MeanShift(bandwidth=width, bin_seeding=True, cluster_all=False)
    with warnings.catch_warnings():  # where no two points share a bin, all are seeds
        warnings.filterwarnings("ignore", "Binning data failed")
        found = torch.from_numpy(clusters.fit_predict(points))  # -1 is far from every cluster
    return found == torch.bincount(found[found >= 0]).argmax()
