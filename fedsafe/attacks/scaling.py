"""Scaling attacks: an update so long that the mean of all clients is the attackers' aim.

Bagdasaryan et al., *How To Backdoor Federated Learning*, AISTATS 2020; Fang et al.,
USENIX Security 2020.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.attacks.known_updates import Knows, row_of_each
from fedsafe.contracts import Knowledge, update_attacks

if TYPE_CHECKING:
    from torch import Tensor


@update_attacks("scaling", paper="Bagdasaryan et al., AISTATS 2020", badge="faithful")
def scaling(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    factor: Annotated[float, Field(gt=0)] | Literal["n/f", "n"] = "n/f",
) -> "Tensor":
    """Model replacement: multiply the attacker's own update so that it survives averaging.

    Must know: nothing but its own update, the number of clients n and, for ``factor: n/f``
    (all attackers together replace the model), of attackers f. ``n``: each alone replaces it,
    as in FLDetector's code of Fang et al.'s setting.
    """
    if factor == "n/f":
        factor = knowledge.cohort / knowledge.attackers
    return (knowledge.cohort if factor == "n" else factor) * update


@update_attacks(
    "reversed-mean",
    paper="Fang et al., USENIX Security 2020",
    badge="faithful",
    traits={"benign", "colluders", "honest"},
)
def reversed_mean(update: "Tensor", knowledge: Knowledge, /, *, knows: Knows = "all") -> "Tensor":
    """Full mean attack: send what turns the mean of all clients backwards.

    Must know: the benign updates of the attackers and of the honest clients (``all``), so that
    the sum of all n updates becomes the negative of what it was; FLDetector's full_mean_attack.
    With less knowledge the honest clients' sum is estimated from the known rows' mean. Where
    every client is malicious each sends its own benign update backwards.
    """
    others = knowledge.cohort - knowledge.attackers
    if others == 0:
        return -update
    rows = row_of_each(knowledge)
    if knows == "all" and knowledge.honest is not None:
        total, honest = rows.sum(dim=0), knowledge.honest.sum(dim=0)
    else:
        total, honest = knowledge.cohort * rows.mean(dim=0), others * rows.mean(dim=0)
    return -(total + honest) / knowledge.attackers
