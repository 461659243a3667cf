"""Sign flip: the update sent backwards, the simplest update attack.

Li et al., *RSA: Byzantine-Robust Stochastic Aggregation Methods*, AAAI 2019.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.attacks.known_updates import rows_known
from fedsafe.contracts import Knowledge, update_attacks

if TYPE_CHECKING:
    from torch import Tensor


@update_attacks(
    "sign-flip",
    paper="Li et al., RSA, AAAI 2019",
    badge="faithful",
    traits={"benign", "colluders", "honest"},
)
def sign_flip(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    scale: Annotated[float, Field(gt=0, description="Length of the flipped update.")] = 1.0,
    knows: Annotated[
        Literal["update", "own", "colluders", "honest", "all"],
        Field(description="Whose mean is flipped; update: the attacker's own update alone."),
    ] = "update",
) -> "Tensor":
    """Send the client's own update, or the mean of the known ones, backwards.

    Must know: nothing but its own update (``knows: update``, as in SignGuard's and FLDetector's
    code); else the updates whose mean it flips (``honest``: ByzFL's SignFlipping).
    """
    return -scale * (update if knows == "update" else rows_known(knowledge).mean(dim=0))
