"""Minimum-diameter averaging (MDA).

El Mhamdi, Guerraoui, Guirguis, Hoang and Rouault, *Genuinely Distributed Byzantine
Machine Learning*, PODC 2020; the estimator is Rousseeuw's, 1985.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.errors import ConfigError
from fedsafe.lazy import torch
from strategies.checks import AtLeast, require
from strategies.kernels.gram_matrix import measure
from strategies.kernels.ranking import lowest, without_rounding
from strategies.kernels.update_matrix import Rows, equally, weighted
from strategies.rules.krum import Byzantine

if TYPE_CHECKING:
    from torch import Tensor

_BRANCHES = 200_000


@rules(
    "mda",
    paper="El Mhamdi et al., PODC 2020",
    minimum=AtLeast(2, 1),
    traits={"mixing", "translation", "scale", "bounded", "selects"},
)
def mda(updates: Updates, state: State, /, *, byzantine: Byzantine = 1) -> Aggregate:
    """Average the n - f updates whose two farthest are nearest to each other.

    Of several such sets, the one with the smallest sum of squared distances, so that the
    order of the clients does not matter, and then the first; ByzFL takes the first whatever
    the sum. Exact, by
    removing at most f updates that conflict; the work grows with f, not with n.
    Breakdown point 1/2: holds while n > 2f. (n, d) -> (d,) in n² d and the search.

    Raises:
        ConfigError: The search would take too long.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("mda", n, byzantine=byzantine)
    squared = without_rounding(measure(rows).squared_distances())
    return weighted(rows, equally(rows, torch.tensor(_tightest(squared, n - byzantine))))


def _tightest(squared: "Tensor", size: int) -> list[int]:
    """Return the rows of the set of that size with the smallest diameter."""
    lengths = sorted(set(squared.flatten().tolist()))
    low, high = 0, len(lengths) - 1
    while low < high:
        middle = (low + high) // 2
        if next(_sets(squared, lengths[middle], size), None) is None:
            low = middle + 1
        else:
            high = middle
    candidates = sorted(_reduce(squared, rows, size) for rows in _sets(squared, lengths[low], size))
    sums = torch.stack([squared[rows][:, rows].sum() for rows in candidates])
    return candidates[int(lowest(sums, 1))]


def _reduce(squared: "Tensor", rows: list[int], size: int) -> list[int]:
    """Leave out the rows farthest from the rest until few enough are left."""
    while len(rows) > size:
        sums = without_rounding(squared[rows][:, rows].sum(dim=1))
        worst = len(rows) - 1 - int(sums.flip(0).argmax())
        rows = rows[:worst] + rows[worst + 1 :]
    return rows


def _sets(squared: "Tensor", limit: float, size: int) -> Iterator[list[int]]:
    """Yield the largest sets of at least that size with no two rows farther apart."""
    n = len(squared)
    apart = [sum(1 << j for j in row) for row in _farther(squared, limit)]
    stack = [((1 << n) - 1, n - size)]
    for _ in range(_BRANCHES):
        if not stack:
            return
        left, budget = stack.pop()
        degree, row = max(((apart[i] & left).bit_count(), -i) for i in range(n) if left >> i & 1)
        if degree == 0:
            yield [i for i in range(n) if left >> i & 1]
            continue
        if degree <= budget:
            stack.append((left & ~apart[-row], budget - degree))
        if budget > 0:
            stack.append((left & ~(1 << -row), budget - 1))
    raise ConfigError(
        f"Rule 'mda' found no best set of {size} among {n} in {_BRANCHES} steps. "
        "Lower byzantine or sample fewer clients."
    )


def _farther(squared: "Tensor", limit: float) -> list[list[int]]:
    return [torch.nonzero(row > limit).flatten().tolist() for row in squared]
