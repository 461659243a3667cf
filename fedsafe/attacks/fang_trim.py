"""Fang et al.'s attack on the trimmed mean and the median.

Fang et al., *Local Model Poisoning Attacks to Byzantine-Robust Federated Learning*,
USENIX Security 2020.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.attacks.known_updates import Knows, mean_and_deviation, rows_known, uniform_draws
from fedsafe.contracts import Knowledge, update_attacks
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@update_attacks(
    "fang-trim",
    paper="Fang et al., USENIX Security 2020",
    badge="faithful",
    traits={"benign", "colluders", "honest"},
)
def fang_trim(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    draws: Annotated[
        Literal["none", "uniform"],
        Field(
            description="none: FLDetector's code, factor b, or 3.5 deviations; uniform: the "
            "paper's and NDSS 2021's, drawn from 1 to b, or 3 to 4 deviations."
        ),
    ] = "uniform",
    b: Annotated[float, Field(gt=1, description="Largest factor beyond the extremes.")] = 2.0,
    zero_where_negative: Annotated[
        bool,
        Field(
            description="The defect of NDSS 2021's code: coordinates whose mean is not positive "
            "are sent as 0, the others as the sum of both branches."
        ),
    ] = False,
    knows: Knows = "all",
) -> "Tensor":
    """Fang's trim attack: move every coordinate beyond the extremes, against its direction.

    Must know: the benign updates of attackers and honest clients (``all``, or ``honest`` as in
    NDSS 2021's code): full knowledge; ``colluders`` or ``own``: the paper's partial knowledge,
    which takes mean and deviation (over m) of the attackers' own updates instead of extremes.
    """
    rows = rows_known(knowledge)
    known = knows in {"all", "honest"}
    if not known:
        steps = uniform_draws(knowledge, rows.shape[1]).to(rows) + 3 if draws == "uniform" else 3.5
        return partial(rows, steps)
    if draws == "none":
        return beyond_extremes(rows, b)
    drawn = uniform_draws(knowledge, rows.shape[1]).to(rows)
    return beyond_extremes_drawn(rows, drawn, b, zero_where_negative)


def beyond_extremes(rows: "Tensor", b: float) -> "Tensor":
    """Return the extremes against the sum's sign, b times as far from where it points."""
    direction = rows.sum(dim=0).sign()
    extremes = (direction > 0) * rows.amin(dim=0) + (direction < 0) * rows.amax(dim=0)
    agree = direction * extremes
    return extremes * ((agree > 0) / b + (agree < 0) * b)


def beyond_extremes_drawn(
    rows: "Tensor", drawn: "Tensor", b: float, zero_where_negative: bool = False
) -> "Tensor":
    """Return values drawn between the extremes and b times beyond them, against the mean's sign.

    Args:
        rows: The known updates, (m, d).
        drawn: From 0 to 1, (d,).
        b: Largest factor beyond the extremes.
        zero_where_negative: The defect of NDSS 2021's code.
    """
    direction = rows.mean(dim=0).sign()
    top, bottom = rows.amax(dim=0), rows.amin(dim=0)
    highest = top * torch.where(top > 0, b, 1 / b).to(top)
    lowest = bottom * torch.where(bottom < 0, b, 1 / b).to(bottom)
    above = top + drawn * (highest - top)
    below = lowest + drawn * (bottom - lowest)
    if zero_where_negative:
        return (direction > 0) * above + (direction > 0) * below
    return (direction < 0) * above + (direction > 0) * below


def partial(rows: "Tensor", steps: "Tensor | float") -> "Tensor":
    """Return the mean, steps deviations (over m) against its sign."""
    mean, deviation = mean_and_deviation(rows, 0)
    return mean - deviation * mean.sign() * steps
