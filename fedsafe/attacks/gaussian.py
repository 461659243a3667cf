"""Gaussian attack: an update of random numbers.

Blanchard et al., NeurIPS 2017; Fang et al., *Local Model Poisoning Attacks to
Byzantine-Robust Federated Learning*, USENIX Security 2020.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.attacks.known_updates import normal_draws, rows_known
from fedsafe.contracts import Knowledge, update_attacks

if TYPE_CHECKING:
    from torch import Tensor


@update_attacks(
    "gaussian",
    paper="Blanchard et al., NeurIPS 2017",
    badge="faithful",
    traits={"benign", "colluders", "honest"},
)
def gaussian(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    mean: float = 0.0,
    deviation: Annotated[float, Field(ge=0)] = 1.0,
    knows: Annotated[
        Literal["update", "own", "colluders", "honest", "all"],
        Field(
            description="update: every coordinate has the given mean and deviation; else those "
            "of the known updates, shortened to the own update's length."
        ),
    ] = "update",
) -> "Tensor":
    """Send random numbers in place of an update.

    Must know: nothing (``knows: update``: ByzFL's Gaussian, every coordinate with ``mean`` and
    standard ``deviation``); or the updates of ``own``, ``colluders``, ``honest`` or ``all``
    clients: FLDetector's form, which has Fang et al.'s coordinate means, the root of the summed
    squares over f (not n) as deviation, and keeps the attacker's own norm.
    """
    draws = normal_draws(knowledge, len(update)).to(update)
    if knows == "update":
        return mean + deviation * draws
    return around(rows_known(knowledge), draws, knowledge.attackers, float(update.norm()))


def around(rows: "Tensor", draws: "Tensor", attackers: int, norm: float) -> "Tensor":
    """Return normal draws around the rows' mean, of a given norm (FLDetector's form)."""
    mean = rows.mean(dim=0)
    deviation = ((rows - mean).square().sum(dim=0) / attackers).sqrt()
    drawn = mean + deviation * draws
    return drawn.mul(norm / drawn.norm().clamp_min(1e-30))
