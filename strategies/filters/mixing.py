"""Nearest-neighbour mixing (NNM) and bucketing: pre-aggregation that averages updates.

Allouah et al., *Fixing by Mixing*, AISTATS 2023 (NNM); Karimireddy, He and Jaggi,
*Byzantine-Robust Learning on Heterogeneous Datasets via Bucketing*, ICLR 2022.
Neither forms the averages: the rules work on them through the Gram matrix.
"""

from dataclasses import replace
from typing import Annotated

from pydantic import Field

from fedsafe.contracts import Updates, filters
from fedsafe.errors import ConfigError
from fedsafe.lazy import torch
from strategies.checks import AtLeast
from strategies.kernels.gram_matrix import measure
from strategies.kernels.random_columns import generator
from strategies.kernels.ranking import without_rounding
from strategies.kernels.update_matrix import Rows


@filters(
    "nnm",
    paper="Allouah et al., AISTATS 2023",
    minimum=AtLeast(1, 1),
    traits={"mixing", "translation", "scale"},
)
def nnm(
    updates: Updates,
    /,
    *,
    byzantine: Annotated[int, Field(ge=0, description="Attackers assumed, f.")] = 1,
) -> Updates:
    """Replace each update by the mean of its n - f nearest, itself included.

    Makes a rule hold under heterogeneity as well as without; breakdown point as the
    rule's. Of equal distances the lower row is nearer. (n, d) -> (n, d) in n² d.

    Raises:
        ConfigError: There are no more clients than attackers assumed.
    """
    rows = Rows.of(updates)
    n = len(rows)
    if n <= byzantine:
        raise ConfigError(f"Filter 'nnm' needs n >= f + 1 clients; got n={n}, f={byzantine}.")
    squared = without_rounding(measure(rows).squared_distances()).fill_diagonal_(-1.0)
    nearest = squared.argsort(dim=1, stable=True)[:, : n - byzantine]
    mixing = torch.zeros(n, n, dtype=torch.float64).scatter_(1, nearest, 1 / (n - byzantine))
    return replace(updates, mixing=rows.base_rows(mixing))


@filters(
    "bucketing",
    paper="Karimireddy et al., ICLR 2022",
    traits={"mixing", "translation", "scale", "merges", "random"},
)
def bucketing(
    updates: Updates,
    /,
    *,
    size: Annotated[int, Field(ge=1, description="Updates in a bucket, s.")] = 2,
    seed: Annotated[int, Field(ge=0, description="Of the shuffle.")] = 0,
) -> Updates:
    """Shuffle the updates into buckets, whose means the rule gets instead.

    A bucket is weighted by the clients in it, each by the server's weight. One attacker
    spoils one bucket, so the rule must bear as many of n / s. (n, d) -> (n / s, d).
    """
    rows = Rows.of(updates)
    n = len(rows)
    order = torch.randperm(n, generator=generator(updates, "bucketing", seed))
    weights = updates.weights.detach().double().cpu()
    mixing = torch.zeros(-(-n // size), n, dtype=torch.float64)
    mixing[torch.arange(n) // size, order] = weights[order]
    totals = mixing.sum(dim=1)
    bare = totals == 0  # a bucket of clients without weight is a plain mean
    mixing[torch.arange(n) // size, order] += bare[torch.arange(n) // size].double()
    mixing /= mixing.sum(dim=1, keepdim=True)
    merged = totals.float().to(updates.weights.device)
    clients = updates.clients if size == 1 and not updates.clients else ()
    return replace(updates, mixing=rows.base_rows(mixing), weights=merged, clients=clients)
