"""Krum and Multi-Krum: keep the updates whose neighbours are closest.

Blanchard et al., *Machine Learning with Adversaries: Byzantine Tolerant Gradient
Descent*, NeurIPS 2017.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.errors import ConfigError
from fedsafe.lazy import torch
from strategies.checks import AtLeast, require
from strategies.kernels.gram_matrix import measure
from strategies.kernels.ranking import lowest
from strategies.kernels.update_matrix import Rows, equally, weighted

if TYPE_CHECKING:
    from torch import Tensor

Byzantine = Annotated[int, Field(ge=0, description="Attackers assumed, f.")]


@rules(
    "krum",
    paper="Blanchard et al., NeurIPS 2017",
    minimum=AtLeast(2, 3),
    traits={"mixing", "translation", "scale", "bounded", "selects"},
)
def krum(updates: Updates, state: State, /, *, byzantine: Byzantine = 1) -> Aggregate:
    """Take the one update with the smallest sum of squared distances to its neighbours.

    The neighbours are the n - f - 2 nearest others, as in the paper; of equal scores the
    lower row wins. ByzFL takes one neighbour more; the NDSS 2021 attacks' code counts a client
    among its own neighbours and so takes one fewer: this rule at f + 1.
    Breakdown point (n - 2) / 2n: holds while n > 2f + 2. (n, d) -> (d,) in n² d.
    """
    rows = Rows.of(updates)
    require("krum", len(rows), byzantine=byzantine)
    scores = krum_scores(measure(rows).squared_distances(), byzantine)
    return weighted(rows, equally(rows, lowest(scores, 1)))


@rules(
    "multi-krum",
    paper="Blanchard et al., NeurIPS 2017",
    minimum=AtLeast(2, 3),
    traits={"mixing", "translation", "scale", "bounded", "selects"},
)
def multi_krum(
    updates: Updates,
    state: State,
    /,
    *,
    byzantine: Byzantine = 1,
    keep: Annotated[
        int | None, Field(ge=1, description="Updates averaged, m; all but f when not given.")
    ] = None,
) -> Aggregate:
    """Average the m updates with the smallest Krum scores.

    Scored once; the NDSS 2021 attacks' code scores again after each choice, as Bulyan does.
    Breakdown point (n - 2) / 2n: holds while n > 2f + 2 and m <= n - f.
    (n, d) -> (d,) in n² d.

    Raises:
        ConfigError: More updates are to be kept than there are.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("multi-krum", n, byzantine=byzantine)
    if keep is not None and keep > n:
        raise ConfigError(f"Rule 'multi-krum' cannot keep {keep} of {n} updates. Lower keep.")
    scores = krum_scores(measure(rows).squared_distances(), byzantine)
    return weighted(rows, equally(rows, lowest(scores, keep or n - byzantine)))


def krum_scores(squared: "Tensor", byzantine: int) -> "Tensor":
    """Return each row's sum of squared distances to its n - f - 2 nearest others, (n,)."""
    others = squared.clone().fill_diagonal_(torch.inf)
    return others.sort(dim=1).values[:, : len(squared) - byzantine - 2].sum(dim=1)
