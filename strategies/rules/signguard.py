"""SignGuard: filter updates by norm, then by clusters of their sign statistics (mean shift).

Xu, Huang, Song and Lan, *Byzantine-robust Federated Learning through Collaborative
Malicious Gradient Filtering*, ICDCS 2022. Clusters are found by scikit-learn's MeanShift,
with features and settings of the authors' code (JianXu95/SignGuard).
"""

import warnings
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import AtLeast, require
from strategies.kernels.gram_matrix import norms
from strategies.kernels.random_columns import generator, sample
from strategies.kernels.update_matrix import Rows, equally, middle, weighted

if TYPE_CHECKING:
    from torch import Tensor

_MOST = 2**24
"""Signs counted at most, of all rows together."""
_NO_WIDTH = 1e-12
"""Shares are at most 1: a bandwidth below this is rounding."""


@rules(
    "signguard",
    paper="Xu et al., ICDCS 2022",
    minimum=AtLeast(0, 4),
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
    """Average, clipped to the median norm, the updates with usual norms and sign statistics.

    The norm must be near the median, bounds included, and the shares of positive, zero and
    negative signs in random coordinates must lie in the largest cluster. The bandwidth of
    the clusters is the mean distance to the nearest n / 2 clients, itself included: with
    three clients that is 0, each is a cluster of its own and a lone attacker may be the one
    kept, so it asks for four. Where the bandwidth is 0 all the same (every client has a
    twin), or no two clients are close, the signs tell nobody apart and the norm alone
    decides; where no norm passes, the update is zero.

    Differs from the authors' code: random coordinates instead of a random window, at most
    16 million signs; the true median of the norms where their number is even (the code clips
    to the lower of the middle two); a bandwidth of 0, where the code fails. Of clusters
    equally large the denser counts, as there. Breakdown point 1/2, if attackers' signs
    stand out. (n, d) -> (d,) in nd.
    """
    rows = Rows.of(updates)
    require("signguard", len(rows))
    lengths = norms(rows)
    limit = middle(lengths)
    count = min(max(round(share * rows.columns), 1), max(_MOST // len(rows), 1))
    part = sample(rows, count, generator(updates, "signguard", seed))
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
    """Return which rows lie in the largest cluster, all of them where there is none, (n,) bool.

    The rows are clustered in the order of their values: mean shift starts from them one after the
    other, and of clusters equally large another could win for another order of the clients.
    """
    import numpy as np
    from sklearn.cluster import MeanShift, estimate_bandwidth

    order = np.lexsort(features.numpy().T)
    points = features.numpy()[order]
    width = estimate_bandwidth(points, quantile=0.5)
    everyone = torch.ones(len(points), dtype=torch.bool)
    if width < _NO_WIDTH:
        return everyone
    clusters = MeanShift(bandwidth=width, bin_seeding=True, cluster_all=False)
    with warnings.catch_warnings():  # where no two points share a bin, all are seeds
        warnings.filterwarnings("ignore", "Binning data failed")
        labels = torch.from_numpy(clusters.fit_predict(points))  # -1 is far from every cluster
    sizes = torch.bincount(labels[labels >= 0])
    largest = torch.zeros_like(everyone)
    largest[torch.from_numpy(order)] = labels == sizes.argmax()
    return largest if sizes.max() > 1 else everyone
