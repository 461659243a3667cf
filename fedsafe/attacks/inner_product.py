"""Inner product manipulation: the benign mean sent backwards.

Xie et al., *Fall of Empires: Breaking Byzantine-tolerant SGD by Inner Product
Manipulation*, UAI 2019.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.attacks.known_updates import Knows, crowd_of, farthest_from_mean, rows_known
from fedsafe.contracts import Knowledge, update_attacks

if TYPE_CHECKING:
    from torch import Tensor

Evaluations = Annotated[int, Field(ge=1, description="Sizes tried against the rule.")]
Start = Annotated[float, Field(ge=0, description="First size.")]
Step = Annotated[float, Field(gt=0, description="First step; doubles while damage grows.")]
Ratio = Annotated[float, Field(gt=0.5, lt=1, description="Of each later step to the last.")]


@update_attacks(
    "ipm",
    paper="Xie et al., UAI 2019",
    badge="faithful",
    traits={"benign", "colluders", "honest"},
)
def ipm(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    epsilon: Annotated[float, Field(gt=0, description="Factor on the reversed mean.")] = 0.5,
    knows: Knows = "colluders",
) -> "Tensor":
    """Inner product manipulation: send the known updates' mean backwards, times epsilon.

    Must know: the honest clients' updates (``honest``, as in the paper, ByzFL and epfml), or
    estimates of them: the colluders' benign updates, or its own.
    """
    return -epsilon * rows_known(knowledge).mean(dim=0)


@update_attacks(
    "ipm-search",
    paper="Xie et al., UAI 2019; ByzFL",
    badge="faithful",
    traits={"benign", "colluders", "honest", "rule"},
)
def ipm_search(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    evaluations: Evaluations = 20,
    start: Start = 0.0,
    step: Step = 10.0,
    ratio: Ratio = 0.8,
    knows: Knows = "colluders",
) -> "Tensor":
    """Line-searched inner product manipulation: the epsilon that moves the rule farthest.

    Must know: the server's rule with its settings, and the honest clients' updates or
    estimates of them. Damage is the distance of the combined update from the honest mean, as
    in ByzFL's Optimal_InnerProductManipulation.
    """
    crowd = crowd_of(knowledge)
    mean = crowd.mean(dim=0)

    def forged(epsilon: float) -> "Tensor":
        return -epsilon * mean

    return farthest_from_mean(knowledge, crowd, forged, (evaluations, start, step, ratio))
