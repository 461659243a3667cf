"""Divide-and-conquer (DnC): drop outliers along the first singular vector of random columns.

Shejwalkar and Houmansadr, *Manipulating the Byzantine: Optimizing Model Poisoning
Attacks and Defenses for Federated Learning*, NDSS 2021.
"""

import math
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import require
from strategies.kernels.random_columns import generator, sample
from strategies.kernels.ranking import lowest
from strategies.kernels.update_matrix import Rows, equally, weighted
from strategies.rules.krum import Byzantine

if TYPE_CHECKING:
    from torch import Tensor


def _minimum(*, byzantine: int = 1, filter_factor: float = 1.0, **_: Any) -> int:
    return dropped(byzantine, filter_factor) + 1


def dropped(byzantine: int, filter_factor: float) -> int:
    """Return how many updates each iteration drops."""
    return math.ceil(filter_factor * byzantine)


@rules(
    "dnc",
    paper="Shejwalkar and Houmansadr, NDSS 2021",
    minimum=_minimum,
    traits={"mixing", "translation", "scale", "random"},
)
def dnc(
    updates: Updates,
    state: State,
    /,
    *,
    byzantine: Byzantine = 1,
    iterations: Annotated[int, Field(ge=1, description="Random parts looked at.")] = 1,
    coordinates: Annotated[int, Field(ge=1, description="Size of a random part, b.")] = 10_000,
    filter_factor: Annotated[
        float, Field(gt=0, description="Updates dropped per attacker assumed, c.")
    ] = 1.0,
    seed: Annotated[int, Field(ge=0, description="Of the random parts.")] = 0,
) -> Aggregate:
    """Average the updates that no iteration drops.

    An iteration looks at b random coordinates, less their mean, and drops the c f updates
    with the largest squared projection on the first singular vector. Should nobody pass
    all iterations, those that pass most of them count. The same as public code where b
    covers all coordinates; else they are drawn by this server. Its breakdown point is set by c.
    (n, d) -> (d,) in n b and one pass.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("dnc", n, byzantine=byzantine, filter_factor=filter_factor)
    keep = n - dropped(byzantine, filter_factor)
    draw = generator(updates, "dnc", seed)
    passed = torch.zeros(n, dtype=torch.long)
    for _ in range(iterations):
        part = sample(rows, coordinates, draw)
        passed[lowest(outlying(part), keep)] += 1
    return weighted(rows, equally(rows, passed == passed.max()), read_all=True)


def outlying(part: "Tensor") -> "Tensor":
    """Return each row's squared projection on the first singular vector, float64 (n,)."""
    offsets = part.double() - part.double().mean(dim=0)
    scale = offsets.abs().max().clamp(min=1e-300)
    gram: Tensor = (offsets / scale) @ (offsets / scale).T
    values, vectors = torch.linalg.eigh(gram)
    squared: Tensor = vectors[:, -1].square() * values[-1].clamp(min=0)
    return squared * scale.square()
