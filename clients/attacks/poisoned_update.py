"""Classic model poisoning: train honestly on malicious data, then forge the update."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from clients.attacks.poisoned_data import poisoned_data
from fedsafe.contracts import Conduct, behaviours

if TYPE_CHECKING:
    from torch import Tensor


@behaviours("sign-flip", paper="Li et al., RSA, AAAI 2019")
def sign_flip(
    conduct: Conduct,
    /,
    *,
    scale: Annotated[float, Field(gt=0, description="Length of the flipped update.")] = 1.0,
) -> Conduct:
    """Train on the client's own benign data, and send the update backwards."""

    def flip(update: "Tensor") -> "Tensor":
        return -scale * update

    return replace(conduct, transform=flip)


@behaviours("boosted", paper="Bagdasaryan et al., AISTATS 2020", traits={"poison"})
def boosted(
    conduct: Conduct,
    /,
    *,
    factor: Annotated[float, Field(gt=1, description="Factor on the update.")] = 10.0,
    share: Annotated[float, Field(gt=0, le=1)] = 1.0,
) -> Conduct:
    """Train on malicious examples, and send a longer update to drown the others."""

    def boost(update: "Tensor") -> "Tensor":
        return factor * update

    return replace(poisoned_data(conduct, share=share), transform=boost)
