"""AlignIns: inspect how each update's direction aligns with the model and with the rest.

Xu, Zhang and Hu, *Detecting Backdoor Attacks in Federated Learning via Direction
Alignment Inspection*, CVPR 2025.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Aggregate, State, Updates, rules
from fedsafe.lazy import torch
from strategies.checks import need_model, require
from strategies.kernels.blockwise import NARROW, Visit, stretches, sweep
from strategies.kernels.gram_matrix import measure
from strategies.kernels.update_matrix import Rows, equally, middle, weighted

if TYPE_CHECKING:
    from torch import Tensor

_SAMPLE = 2**24
"""Values that suffice to tell every row's quantile."""


@rules(
    "alignins",
    paper="Xu et al., CVPR 2025",
    minimum=lambda **_: 3,
    traits={"mixing", "selects", "model"},
)
def alignins(
    updates: Updates,
    state: State,
    /,
    *,
    direction: Annotated[
        float, Field(gt=0, description="Largest z-score of the cosine with the model.")
    ] = 1.0,
    signs: Annotated[
        float, Field(gt=0, description="Largest z-score of the sign agreement.")
    ] = 1.0,
    share: Annotated[
        float, Field(gt=0, le=1, description="Largest values of an update that are compared.")
    ] = 0.3,
) -> Aggregate:
    """Average, clipped to their median norm, the updates whose directions are usual.

    Two scores: the cosine with the model the clients were sent (``Updates.model``), and
    the share of an update's largest values that have the sign of the majority. Both must
    lie within so many standard deviations of the median. Where nobody passes, the update
    is zero. Differs from the authors' code in the median norm of an even number (the true
    one; theirs is the lower of the middle two) and in that of values equally large at the
    limit of ``share`` all count. No breakdown point is proven. (n, d) -> (d,) in n² d.
    """
    rows = Rows.of(updates)
    n = len(rows)
    require("alignins", n)
    geometry = measure(rows, need_model("alignins", updates))
    towards = geometry.cosines()[-1, :n]
    agreeing = _agreement(rows, share)
    kept = (_z_scores(towards) < direction) & (_z_scores(agreeing) < signs)
    if not kept.any():
        return weighted(rows, equally(rows, kept))
    lengths = geometry.squared_norms().sqrt()[:n]
    limit = middle(lengths[kept])
    scale = torch.where(lengths > limit, limit / lengths, 1.0)
    return weighted(rows, equally(rows, kept) * scale, metrics={"limit": limit})


def _z_scores(scores: "Tensor") -> "Tensor":
    """Return the distances from the median in standard deviations, (n,)."""
    spread = scores.std(unbiased=False)
    return (scores - middle(scores)).abs() / spread if spread > 1e-12 else torch.zeros_like(scores)


def _agreement(rows: Rows, share: float) -> "Tensor":
    """Return the share of each row's largest values with the majority's sign, (m,)."""
    limits = _thresholds(rows, share).to(rows.matrix.device)

    def prepare() -> Visit["Tensor"]:
        load = rows.loader(NARROW)

        def visit(part: slice) -> "Tensor":
            block = load(part)
            signs = block.sign()
            large = block.abs() >= limits[:, None]
            alike = large & (signs == signs.sum(dim=0).sign())
            return torch.stack([alike.sum(dim=1), large.sum(dim=1)])

        return visit

    counts: Tensor = torch.stack(sweep(rows.matrix, NARROW, prepare)).sum(dim=0).double().cpu()
    return counts[0] / counts[1].clamp(min=1)


def _thresholds(rows: Rows, share: float) -> "Tensor":
    """Return above which size a row's largest values lie, (m,).

    Where there are very many, evenly spread stretches of columns tell.
    """
    width = 2**12
    step = max(1, rows.columns * len(rows) // _SAMPLE) * width
    load = rows.loader(width)
    values = stretches(
        rows.matrix, range(0, rows.columns, step), width, lambda part: load(part).abs()
    )
    smaller = values.shape[1] - max(int(share * values.shape[1]), 1)
    return torch.stack([row.kthvalue(smaller + 1).values for row in values])
