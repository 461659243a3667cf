"""Aggregators of the reference system (FedLLM-Attack), where they differ from their papers.

Ye et al., *Emerging Safety Attack and Defense in Federated Instruction Tuning of Large
Language Models*, ICLR 2025. They compute what the released ``global_aggregate`` does
(19dx/FedLLM-Attack at bd1c8ee), which is what to compare with; for defense use the rules
without the prefix. The release gets whole weights where these get updates, and is told the
true number of attackers: here ``byzantine`` is an assumption.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from strategies.checks import AtLeast, require
from strategies.kernels.gram_matrix import measure
from strategies.kernels.order_statistics import rank_mean, shares
from strategies.kernels.random_columns import generator, sample
from strategies.kernels.ranking import lowest, without_rounding
from strategies.kernels.update_matrix import Rows, equally, weighted
from strategies.rules.dnc import outlying
from strategies.rules.foolsgold import learning_rates
from strategies.rules.krum import Byzantine
from strategies.rules.residual import Sharpness, Threshold, reweighted

if TYPE_CHECKING:
    from torch import Tensor

_PAPER = "Ye et al., ICLR 2025 (reference implementation)"


@rules(
    "reference-krum",
    paper=_PAPER,
    minimum=AtLeast(1, 2),
    traits={"mixing", "translation", "scale", "selects"},
)
def reference_krum(updates: Updates, state: State, /, *, byzantine: Byzantine = 1) -> Aggregate:
    """Average the update that is nearest to its neighbours, and those n - f - 1 neighbours.

    Differs from Krum as the release does: one neighbour more, distances not squared, and the
    mean of the whole neighbourhood instead of its centre; so f = 0 is the mean. No bound is
    proven.
    (n, d) -> (d,) in n² d.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("reference-krum", n, byzantine=byzantine)
    distances = without_rounding(measure(rows).squared_distances()).sqrt()
    near = distances.sort(dim=1, stable=True)
    centre = int(lowest(near.values[:, : n - byzantine].sum(dim=1), 1))
    return weighted(rows, equally(rows, near.indices[centre, : n - byzantine]))


@rules(
    "reference-median",
    paper=_PAPER,
    traits={"mixing", "translation", "bounded"},
)
def reference_median(updates: Updates, state: State, /) -> Aggregate:
    """Coordinate-wise median; of an even number, the lower of the middle two values.

    Differs from the median for even n, as torch's does. Breakdown point (n - 1) / 2n.
    (n, d) -> (d,) in n d log n.
    """
    rows = Rows.of(updates)
    require("reference-median", len(rows))
    rank = (len(rows) - 1) // 2
    influence = shares(rows, rank, rank).float().to(rows.matrix.device)
    return Aggregate(rank_mean(rows, rank, rank), influence)


@rules(
    "reference-trimmed-mean",
    paper=_PAPER,
    minimum=AtLeast(0, 3),
    traits={"mixing", "translation", "scale"},
)
def reference_trimmed_mean(updates: Updates, state: State, /) -> Aggregate:
    """Coordinate-wise trimmed mean without the smallest and the largest value.

    Differs from the trimmed mean: one value is cut at each end, whatever f; with three
    clients it is the median. Breakdown point 1/n. (n, d) -> (d,) in n d log n.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("reference-trimmed-mean", n)
    influence = shares(rows, 1, n - 2).float().to(rows.matrix.device)
    return Aggregate(rank_mean(rows, 1, n - 2), influence)


@rules("reference-foolsgold", paper=_PAPER, traits={"mixing", "scale"})
def reference_foolsgold(updates: Updates, state: State, /) -> Aggregate:
    """FoolsGold without history: scale each update by how little it resembles another.

    Differs from FoolsGold: no history, and the scaled updates are divided by how many
    count at all, not by their weights. Where all updates are alike it is undefined (NaN
    in the reference); here it is zero. Breakdown point 0. (n, d) -> (d,) in n² d.
    """
    rows = Rows.of(updates)
    require("reference-foolsgold", len(rows))
    rates: Tensor = learning_rates(measure(rows).cosines(), epsilon=1e-8)
    return weighted(rows, rates / (rates > 0).sum().clamp(min=1), read_all=True)


@rules(
    "reference-residual",
    paper=_PAPER,
    minimum=AtLeast(0, 2),
    traits={"mixing", "translation"},
)
def reference_residual(
    updates: Updates,
    state: State,
    /,
    *,
    sharpness: Sharpness = 2.0,
    threshold: Threshold = 0.05,
) -> Aggregate:
    """Residual-based reweighting: average by squared confidence in a repeated-median line.

    Differs from residual reweighting in its threshold, and in that it allows three
    clients, though it then is the plain mean. No bound is proven.
    (n, d) -> (d,) in n² d log n, twice.
    """
    rows = Rows.of(updates)
    require("reference-residual", len(rows))
    return reweighted(rows, sharpness, threshold, power=2)


@rules(
    "reference-dnc",
    paper=_PAPER,
    minimum=AtLeast(1, 1),
    traits={"mixing", "translation", "scale", "random"},
)
def reference_dnc(
    updates: Updates,
    state: State,
    /,
    *,
    byzantine: Byzantine = 1,
    seed: Annotated[int, Field(ge=0, description="Of the coordinates looked at.")] = 0,
) -> Aggregate:
    """Divide-and-conquer (DnC) of one iteration on 10,000 random coordinates.

    Averages all but the f updates with the largest squared projection on the first singular
    vector.

    Differs from DnC in nothing but its settings: one iteration, and f dropped even where
    nobody attacks. Breakdown point f/n at most. (n, d) -> (d,) in n b and one pass.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("reference-dnc", n, byzantine=byzantine)
    scores = outlying(sample(rows, 10_000, generator(updates, "reference-dnc", seed)))
    return weighted(rows, equally(rows, lowest(scores, n - byzantine)), read_all=True)
