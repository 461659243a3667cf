"""CAF and SMEA: spectral filtering, means whose covariance has no outlying direction.

Allouah et al., *Towards Trustworthy Federated Learning with Untrusted Participants*,
ICML 2025 (CAF); *On the Privacy-Robustness-Utility Trilemma in Distributed Learning*,
ICML 2023 (SMEA). Both ask for eigenvectors of a (d, d) covariance, which are found
exactly among the n rows.
"""

import itertools
import math
from typing import TYPE_CHECKING

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.errors import ConfigError
from fedsafe.lazy import torch
from strategies.checks import AtLeast, require
from strategies.kernels.gram_matrix import Geometry, measure
from strategies.kernels.ranking import lowest
from strategies.kernels.update_matrix import Rows, equally, weighted
from strategies.rules.krum import Byzantine

if TYPE_CHECKING:
    from torch import Tensor

_SUBSETS, _ELEMENTS = 200_000, 2**22


@rules(
    "caf",
    paper="Allouah et al., ICML 2025",
    minimum=AtLeast(2, 1),
    traits={"mixing", "translation", "scale", "bounded"},
)
def caf(updates: Updates, state: State, /, *, byzantine: Byzantine = 1) -> Aggregate:
    """Turn down the updates that lie far out along the direction of largest variance.

    Goes on while more than n - 2f of the weight is left, and returns the weighted mean
    whose largest variance was smallest. Breakdown point 1/2: holds while n > 2f.
    (n, d) -> (d,) in n² d and 2f eigenproblems of n.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("caf", n, byzantine=byzantine)
    geometry = measure(rows)
    weights = torch.ones(n, dtype=torch.float64)
    best, smallest = weights / n, math.inf
    while weights.sum() > n - 2 * byzantine:
        mean = weights / weights.sum()
        variance, squared = _principal(geometry, mean)
        if variance < smallest:
            best, smallest = mean, variance
        farthest = squared[weights > 0].max()  # of those that still count, so that it ends
        if farthest <= 0:
            break
        weights = weights * (1 - squared / farthest).clamp(min=0)
    return weighted(rows, best)


@rules(
    "smea",
    paper="Allouah et al., ICML 2023",
    minimum=AtLeast(2, 1),
    traits={"mixing", "translation", "scale", "bounded", "selects"},
)
def smea(updates: Updates, state: State, /, *, byzantine: Byzantine = 1) -> Aggregate:
    """Average the n - f updates whose largest variance in any direction is smallest.

    Exact, over all subsets: for small cohorts only. Breakdown point 1/2: holds while
    n > 2f. (n, d) -> (d,) in n² d and an eigenproblem for each subset.

    Raises:
        ConfigError: There are too many subsets.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("smea", n, byzantine=byzantine)
    count = math.comb(n, byzantine)
    if count > _SUBSETS:
        raise ConfigError(
            f"Rule 'smea' would look at {count} subsets of {n} clients; at most {_SUBSETS}. "
            "Lower byzantine, sample fewer clients, or take rule 'caf'."
        )
    squared = measure(rows).squared_distances()
    return weighted(rows, equally(rows, _flattest(squared, n - byzantine)))


def _principal(geometry: Geometry, mean: "Tensor") -> tuple[float, "Tensor"]:
    """Return the largest variance about a mean, and the rows' squares along it."""
    offsets = geometry.coordinates - mean @ geometry.coordinates
    gram = offsets @ geometry.basis @ offsets.T
    root = mean.sqrt()
    values, vectors = torch.linalg.eigh(root[:, None] * gram * root)
    variance = max(float(values[-1]), 0.0)
    along = gram @ (root * vectors[:, -1])
    return variance, along.square() / max(variance, 1e-300)


def _flattest(squared: "Tensor", size: int) -> "Tensor":
    """Return the first subset of rows with the smallest largest variance, (size,)."""
    subsets = itertools.combinations(range(len(squared)), size)
    variances = []
    while batch := list(itertools.islice(subsets, max(1, _ELEMENTS // size**2))):
        rows = torch.tensor(batch)
        gram = squared[rows[:, :, None], rows[:, None, :]] / -2
        gram = gram - gram.mean(dim=1, keepdim=True)
        gram = gram - gram.mean(dim=2, keepdim=True)
        variances.append(torch.linalg.eigvalsh(gram)[:, -1])
    first = int(lowest(torch.cat(variances).clamp(min=0), 1))
    subsets = itertools.combinations(range(len(squared)), size)
    return torch.tensor(next(itertools.islice(subsets, first, None)))
