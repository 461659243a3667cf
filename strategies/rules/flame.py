"""FLAME: cluster updates by cosine with HDBSCAN, clip to the median norm, add noise.

Nguyen et al., *FLAME: Taming Backdoors in Federated Learning*, USENIX Security 2022.
Clusters are found by scikit-learn's HDBSCAN, which here agrees with the package hdbscan.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import require
from strategies.kernels.gram_matrix import measure
from strategies.kernels.random_columns import generator
from strategies.kernels.update_matrix import Rows, equally, middle, weighted

if TYPE_CHECKING:
    from torch import Tensor


@rules(
    "flame",
    paper="Nguyen et al., USENIX Security 2022",
    traits={"mixing", "selects", "random"},
)
def flame(
    updates: Updates,
    state: State,
    /,
    *,
    noise: Annotated[
        float, Field(ge=0, description="Noise per coordinate, in units of the median norm.")
    ] = 0.001,
    seed: Annotated[int, Field(ge=0, description="Of the noise.")] = 0,
) -> Aggregate:
    """Average the majority's updates, clipped to the median norm, and add noise.

    The majority is the cluster of more than half of the clients by cosine distance of
    their updates (the paper's: of their models); where there is none, all count.
    The authors published no code. A third party's (zhmzm/FLAME) takes the rows of the
    distance matrix for points, and clips the i-th of the kept clients by the norm of client
    i; here distances are distances, and each client is clipped by its own norm. Breakdown
    point 1/2, if attackers cluster apart. (n, d) -> (d,) in n² d.
    """
    rows = Rows.of(updates)
    require("flame", len(rows))
    geometry = measure(rows)
    lengths = geometry.squared_norms().sqrt()
    limit = middle(lengths)
    scale = torch.where(lengths > limit, limit / lengths, 1.0)
    kept = majority(1 - geometry.cosines())
    combined = weighted(rows, equally(rows, kept) * scale, metrics={"limit": limit})
    if noise > 0:
        draw = torch.randn(rows.columns, generator=generator(updates, "flame", seed))
        combined.update.add_(draw.to(combined.update.device), alpha=noise * limit)
    return combined


def majority(distances: "Tensor") -> "Tensor":
    """Return which clients form the cluster of more than half of them, (n,) bool."""
    n = len(distances)
    everyone = torch.ones(n, dtype=torch.bool)
    if n < 3:
        return everyone
    from sklearn.cluster import HDBSCAN

    clusters = HDBSCAN(
        min_cluster_size=n // 2 + 1,
        min_samples=1,
        metric="precomputed",
        allow_single_cluster=True,
        copy=True,
    )
    labels = torch.from_numpy(clusters.fit_predict(distances.clamp(min=0).numpy()))
    return labels == 0 if bool((labels == 0).any()) else everyone
