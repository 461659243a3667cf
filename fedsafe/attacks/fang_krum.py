"""Fang et al.'s attack on Krum.

Fang et al., *Local Model Poisoning Attacks to Byzantine-Robust Federated Learning*,
USENIX Security 2020.
"""

import math
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from fedsafe.attacks.known_updates import (
    Knows,
    krum_choice,
    row_of_each,
    rows_known,
    uniform_draws,
)
from fedsafe.contracts import Knowledge, update_attacks
from fedsafe.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@update_attacks(
    "fang-krum",
    paper="Fang et al., USENIX Security 2020",
    badge="faithful",
    traits={"benign", "colluders", "honest"},
)
def fang_krum(
    update: "Tensor",
    knowledge: Knowledge,
    /,
    *,
    form: Annotated[
        Literal["fldetector", "ndss21"],
        Field(
            description="Whose code: fldetector starts at lambda 1 against Krum's choice; ndss21 "
            "at the paper's bound against the mean, its Krum counting one neighbour less."
        ),
    ] = "fldetector",
    epsilon: Annotated[
        float, Field(ge=0, description="Largest distance between the attackers' updates.")
    ] = 0.01,
    knows: Knows = "all",
) -> "Tensor":
    """Fang's Krum attack: the largest step against the benign direction that Krum still picks.

    Must know: the benign updates of attackers and honest clients (``all``; NDSS 2021's code
    ``honest``): full knowledge; ``colluders`` or ``own``: the paper's partial knowledge, which
    tries a growing number of forged updates among the attackers' own. All attackers send one
    update; with full knowledge all but the first add noise of a drawn length below ``epsilon``.
    Of at most two clients, among which Krum takes any, each sends its own backwards.
    """
    if knows in {"own", "colluders"}:
        return partial_krum(rows_known(knowledge, 2))
    rows, f = row_of_each(knowledge), knowledge.attackers
    if form == "ndss21":
        return ndss21_krum(rows, f)
    if knowledge.cohort <= 2:
        return -rows[knowledge.position if knows == "all" else 0]
    forged = full_krum(rows[f:] if knows == "all" else rows, rows, f)
    if knowledge.position == 0:
        return forged
    raw = uniform_draws(knowledge, len(forged) + 1).to(forged)
    return forged + nearby(raw[1:], float(raw[0]), epsilon)


def full_krum(honest: "Tensor", rows: "Tensor", f: int) -> "Tensor":
    """Return FLDetector's attack with full knowledge.

    Args:
        honest: (n - f, d), what Krum will see beside the forged updates.
        rows: (n, d), all benign updates; Krum's choice of them is the direction to go against.
        f: Number of attackers.
    """
    direction = rows[krum_choice(rows, _assumed(len(rows), f))].sign()
    size, n = 1.0, len(honest) + f
    while not _taken(-size * direction, f, honest, _assumed(n, f)) and size > 1e-5:
        size /= 2
    return -size * direction


def partial_krum(rows: "Tensor") -> "Tensor":
    """Return FLDetector's attack of attackers that know their own benign updates, (m, d), only.

    Args:
        rows: At least two.
    """
    m = len(rows)
    direction, size = rows.mean(dim=0).sign(), 1.0
    for forged in range(1, m):
        size = 1.0
        assumed = _assumed(m + forged, forged)
        while not (taken := _taken(-size * direction, forged, rows, assumed, last=True)):
            if size <= 2e-5:
                break
            size /= 2
        if taken:
            break
    return -size * direction


def ndss21_krum(honest: "Tensor", f: int) -> "Tensor":
    """Return NDSS 2021's form of the attack: from the paper's bound on lambda downwards.

    The bound's first term is divided by m - f - 1 of m honest clients, and by 1 where that is less.
    """
    mean = honest.mean(dim=0)
    direction, n, d = mean.sign(), *honest.shape
    distances = torch.stack([(honest - row).norm(dim=1) for row in honest])
    distances[distances == 0] = 10_000
    nearest = distances.sort(dim=1).values[:, : n - 2 - f].sum(dim=1).min()
    size = float(nearest) / (max(n - f - 1, 1) * math.sqrt(d))
    size += float((honest - mean).norm(dim=1).max()) / math.sqrt(d)
    last = None
    while 1e-5 < size < math.inf:  # infinite: distances beyond float32, which halve to no end
        last = -size * direction
        if _taken(last, f, honest, f + 1):
            return last
        size /= 2
    return mean - size * direction if last is None else last


def nearby(raw: "Tensor", length: float, epsilon: float) -> "Tensor":
    """Return noise of length ``length * epsilon`` in the direction of raw - 0.5, all in 0 to 1."""
    centred = raw - 0.5
    return centred.mul(length * epsilon / centred.norm().clamp_min(1e-30))


def _taken(forged: "Tensor", f: int, others: "Tensor", byzantine: int, last: bool = False) -> bool:
    """Whether Krum takes one of f forged updates; of equals the first row wins."""
    copies = forged.expand(f, -1)
    if last:
        return krum_choice(torch.cat([others, copies]), byzantine) >= len(others)
    return krum_choice(torch.cat([copies, others]), byzantine) < f


def _assumed(n: int, f: int) -> int:
    """Return the number of attackers that FLDetector's Krum assumes among n."""
    return f if n - f - 2 > 0 else n - 3
