"""A little is enough (ALIE, LIE): an update just inside the spread of the benign ones.

Baruch et al., *A Little Is Enough: Circumventing Defenses For Distributed Learning*,
NeurIPS 2019.
"""

import math
from statistics import NormalDist
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.attacks.inner_product import Evaluations, Ratio, Start, Step
from fedsafe.attacks.known_updates import (
    Ddof,
    Knows,
    crowd_of,
    farthest_from_mean,
    mean_and_deviation,
    rows_known,
)
from fedsafe.contracts import Knowledge, update_attacks
from fedsafe.errors import RunError

if TYPE_CHECKING:
    from torch import Tensor

Sign = Annotated[
    Literal["-", "+"], Field(description="Side of the mean: -: Baruch, epfml, SignGuard; +: ByzFL.")
]


@update_attacks(
    "alie",
    paper="Baruch et al., NeurIPS 2019",
    badge="faithful",
    traits={"benign", "colluders", "honest"},
)
def alie(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    z: Annotated[
        float | None, Field(description="Standard deviations; None: the formula's, of n and f.")
    ] = None,
    ddof: Ddof = 1,
    sign: Sign = "-",
    knows: Knows = "colluders",
) -> "Tensor":
    """A little is enough: send the mean of the known updates, z standard deviations aside.

    Must know: n, f and updates to take statistics over: the colluders' benign ones (Baruch),
    the honest clients' (ByzFL, epfml, NDSS 2021) or all (SignGuard). Public codes differ: epfml
    ``sign: "-"``; ByzFL and NDSS 2021 ``sign: "+"`` with z given; SignGuard z = 1; Baruch
    ``ddof: 0`` and z = 1.5. NDSS 2021's table of z (0.70 to 0.74 for n = 50) is not the
    formula's. The formula's z is not positive for f = 1, and 0 for f = 2 of an even n, where the
    attack helps or does nothing: that is reported.
    """
    mean, deviation = mean_and_deviation(rows_known(knowledge, 2), ddof)
    size = z_of(knowledge.cohort, knowledge.attackers) if z is None else z
    if size <= 0 and z is None:
        knowledge.report(
            f"ALIE's z is {size:.3g} for n = {knowledge.cohort} clients and f = "
            f"{knowledge.attackers} attackers: the attack does nothing or helps. Set "
            "attack.update.z, or let more clients be malicious."
        )
    return mean - size * deviation if sign == "-" else mean + size * deviation


@update_attacks(
    "alie-search",
    paper="Baruch et al., NeurIPS 2019; ByzFL",
    badge="faithful",
    traits={"benign", "colluders", "honest", "rule"},
)
def alie_search(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    evaluations: Evaluations = 20,
    start: Start = 0.0,
    step: Step = 10.0,
    ratio: Ratio = 0.8,
    ddof: Ddof = 1,
    sign: Sign = "+",
    knows: Knows = "colluders",
) -> "Tensor":
    """Line-searched ALIE: the z that moves the server's rule farthest from the benign mean.

    Must know: the server's rule with its settings, and the honest clients' updates or
    estimates of them; as ByzFL's Optimal_ALittleIsEnough, on its side of the mean.
    """
    crowd = crowd_of(knowledge)
    mean, deviation = mean_and_deviation(crowd, ddof)
    direction = deviation if sign == "+" else -deviation

    def forged(size: float) -> "Tensor":
        return mean + size * direction

    return farthest_from_mean(knowledge, crowd, forged, (evaluations, start, step, ratio))


def z_of(clients: int, attackers: int) -> float:
    """Return ALIE's largest z for n clients with f attackers.

    The normal quantile of (n - f - s) / (n - f), with s = floor(n / 2 + 1) - f supporters.

    Raises:
        RunError: The attackers are a majority, which needs no supporter.
    """
    honest = clients - attackers
    supporters = math.floor(clients / 2 + 1) - attackers
    if honest <= 0 or not 0 < supporters < honest:
        raise RunError(
            f"ALIE's z has no value for {attackers} attackers among {clients} clients: it needs "
            "between 1 and n - f - 1 honest supporters. Set attack.update.z, or let fewer or more "
            "clients be malicious."
        )
    return NormalDist().inv_cdf((honest - supporters) / honest)
