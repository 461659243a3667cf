"""Min-max and min-sum: the farthest update that is no farther from others than they are.

Shejwalkar and Houmansadr, *Manipulating the Byzantine: Optimizing Model Poisoning Attacks
and Defenses for Federated Learning*, NDSS 2021.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.attacks.known_updates import Knows, rows_known
from fedsafe.attacks.line_search import largest_accepted, largest_accepted_signguard
from fedsafe.contracts import Knowledge, update_attacks
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Perturbation = Annotated[
    Literal["unit", "sign", "std"],
    Field(
        description="Direction from the mean: against its unit vector, its sign, or the "
        "standard deviation of each coordinate."
    ),
]
Search = Annotated[
    Literal["ndss21", "signguard"],
    Field(description="Whose line search: halving steps, or SignGuard's from 2 to within 0.02."),
]
Start = Annotated[float, Field(gt=0, description="First size of the search (ndss21).")]
Tolerance = Annotated[float, Field(gt=0, description="Ends the search (ndss21).")]


@update_attacks(
    "min-max",
    paper="Shejwalkar and Houmansadr, NDSS 2021",
    badge="faithful",
    traits={"benign", "colluders", "honest"},
)
def min_max(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    perturbation: Perturbation = "std",
    search: Search = "ndss21",
    start: Start = 10.0,
    tolerance: Tolerance = 1e-5,
    knows: Knows = "colluders",
) -> "Tensor":
    """Min-max: the farthest update with no larger distance to any than two others have.

    Must know: updates to compare with: the honest clients' (the paper), the colluders' benign
    ones (its partial knowledge), or all (SignGuard, with ``perturbation: std`` and its search).
    """
    rows = rows_known(knowledge, 2)
    largest = torch.stack([_squared(rows, row).max() for row in rows]).max()
    return _farthest(
        rows,
        perturbation,
        lambda forged: bool(_squared(rows, forged).max() <= largest),
        _searching(search, start, tolerance),
    )


@update_attacks(
    "min-sum",
    paper="Shejwalkar and Houmansadr, NDSS 2021",
    badge="faithful",
    traits={"benign", "colluders", "honest"},
)
def min_sum(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    bound: Annotated[
        Literal["largest-squares", "smallest-squares", "largest-distances"],
        Field(
            description="Sum that the forged update's must not exceed: the largest sum of squared "
            "distances (the paper), the smallest one (NDSS 2021's code), or the largest sum of "
            "plain distances (SignGuard's code)."
        ),
    ] = "largest-squares",
    perturbation: Perturbation = "std",
    search: Search = "ndss21",
    start: Start = 10.0,
    tolerance: Tolerance = 1e-5,
    knows: Knows = "colluders",
) -> "Tensor":
    """Min-sum: the farthest update whose distances to all others sum to no more than theirs.

    Must know: updates to compare with, as for min-max. The three public meanings of the bound
    are settings; the default is the paper's, which neither public code has.
    """
    rows = rows_known(knowledge, 2)
    plain = bound == "largest-distances"

    def total(point: "Tensor") -> "Tensor":
        squared = _squared(rows, point)
        return (squared.sqrt() if plain else squared).sum()

    sums = torch.stack([total(row) for row in rows])
    limit = sums.min() if bound == "smallest-squares" else sums.max()
    return _farthest(
        rows,
        perturbation,
        lambda forged: bool(total(forged) <= limit),
        _searching(search, start, tolerance),
    )


def deviation_of(rows: "Tensor", perturbation: str) -> "Tensor":
    """Return what a perturbation takes away from the rows' mean, per unit of its size (d,)."""
    mean = rows.mean(dim=0)
    if perturbation == "unit":
        return mean.div(mean.norm().clamp_min(1e-30))
    return mean.sign() if perturbation == "sign" else rows.std(dim=0)


def _farthest(
    rows: "Tensor",
    perturbation: str,
    accepts: "Callable[[Tensor], bool]",
    search: Callable[[Callable[[float], bool]], float],
) -> "Tensor":
    mean, deviation = rows.mean(dim=0), deviation_of(rows, perturbation)
    return mean - search(lambda size: accepts(mean - size * deviation)) * deviation


def _searching(
    search: str, start: float, tolerance: float
) -> Callable[[Callable[[float], bool]], float]:
    if search == "signguard":
        return largest_accepted_signguard
    return lambda accepts: largest_accepted(accepts, start, tolerance)


def _squared(rows: "Tensor", point: "Tensor") -> "Tensor":
    """Return the squared distances of a point to all rows, (m,)."""
    return (rows - point).square().sum(dim=1)
