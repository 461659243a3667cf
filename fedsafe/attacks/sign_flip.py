"""Sign flip: the update sent backwards, the simplest update attack.

Li et al., *RSA: Byzantine-Robust Stochastic Aggregation Methods*, AAAI 2019.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.contracts import Knowledge, update_attacks

if TYPE_CHECKING:
    from torch import Tensor


@update_attacks("sign-flip", paper="Li et al., RSA, AAAI 2019")
def sign_flip(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    scale: Annotated[float, Field(gt=0, description="Length of the flipped update.")] = 1.0,
) -> "Tensor":
    """Send the client's own update backwards."""
    return -scale * update
