"""AGR-tailored attack: the largest perturbation that a known rule still takes in.

Shejwalkar and Houmansadr, *Manipulating the Byzantine*, NDSS 2021.
"""

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.attacks.distance_bounds import Perturbation, Start, Tolerance, deviation_of
from fedsafe.attacks.known_updates import Knows, crowd_of, rows_known, tried
from fedsafe.attacks.line_search import largest_accepted
from fedsafe.contracts import Knowledge, rules, update_attacks

if TYPE_CHECKING:
    from torch import Tensor


@update_attacks(
    "agr-tailored",
    paper="Shejwalkar and Houmansadr, NDSS 2021",
    badge="variant: against the federation's own rule and filters instead of fixed ones",
    traits={"benign", "colluders", "honest", "rule"},
)
def agr_tailored(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    perturbation: Perturbation = "std",
    accepted: Annotated[
        Literal["auto", "selected", "farther"],
        Field(
            description="A size is accepted if the rule counts every attacker (selected), or if it "
            "moves the result farther than the size before it (farther); auto: by the rule."
        ),
    ] = "auto",
    start: Start = 10.0,
    tolerance: Tolerance = 1e-5,
    knows: Knows = "colluders",
) -> "Tensor":
    """AGR-tailored attack: push the mean away as far as the server's own rule allows.

    Must know: the server's rule with its settings, and the honest clients' updates or
    estimates of them. The authors' code has ``start`` 3 for Multi-Krum, 10 for trimmed mean and
    30 for the median, where it takes the lower of the middle two.
    """
    rows, crowd = rows_known(knowledge, 2), crowd_of(knowledge)
    mean, deviation = rows.mean(dim=0), deviation_of(rows, perturbation)
    selects = accepted == "selected" or (accepted == "auto" and _selects(knowledge.rule))
    before = -1.0

    def accepts(size: float) -> bool:
        nonlocal before
        forged = (mean - size * deviation).expand(knowledge.attackers, -1)
        combined, influence = tried(knowledge, forged, crowd)
        if selects:
            return bool((influence > 0).all())
        moved = float((combined - mean).norm())
        better, before = before < moved, moved
        return better

    return mean - largest_accepted(accepts, start, tolerance) * deviation


def _selects(rule: str | None) -> bool:
    return rule is not None and "selects" in rules[rule].traits
