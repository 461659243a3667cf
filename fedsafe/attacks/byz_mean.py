"""ByzMean: two groups of attackers that make the mean of all clients another attack's update.

Xu et al., *SignGuard: Byzantine-robust Federated Learning through Collaborative Malicious
Gradient Filtering*, ICDCS 2022.
"""

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from fedsafe.attacks.known_updates import Knows, mean_and_deviation, row_of_each, rows_known
from fedsafe.contracts import Knowledge, update_attacks

if TYPE_CHECKING:
    from torch import Tensor


@update_attacks(
    "byz-mean",
    paper="Xu et al., SignGuard, ICDCS 2022",
    badge="faithful",
    traits={"benign", "colluders", "honest"},
)
def byz_mean(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    z: Annotated[float, Field(gt=0, description="Standard deviations of the hidden attack.")] = 0.5,
    knows: Knows = "all",
) -> "Tensor":
    """ByzMean: half the attackers send ALIE, the others what makes it the mean of all.

    Must know: the benign updates of attackers and honest clients (``all``, as in SignGuard's
    code), and each attacker its place among them; with less, the sum of all is estimated. The
    second group's update is that of the public code, which counts the honest clients less the
    first group, (n - f - m) ALIE - sum of all benign updates, over the group's size f - m.
    """
    rows = row_of_each(knowledge, 2) if knows == "all" else rows_known(knowledge, 2)
    mean, deviation = mean_and_deviation(rows)
    hidden = mean - z * deviation
    first = knowledge.attackers // 2
    if knowledge.position < first:
        return hidden
    total = rows.sum(dim=0) if knows == "all" else knowledge.cohort * mean
    others = knowledge.cohort - knowledge.attackers
    return ((others - first) * hidden - total) / (knowledge.attackers - first)
